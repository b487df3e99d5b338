"""The commands of `mesh`, a module for each word that is typed. They import heavy modules only when they run."""

"""The commands of `mesh`, a module for each word that is typed; what is heavy they import when they run."""

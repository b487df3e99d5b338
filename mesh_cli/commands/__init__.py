"""The commands of `mesh`, a module for each kind; what is heavy they import when they run."""

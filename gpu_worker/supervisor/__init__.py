"""A process per slot that runs one command at a time and leaves no process of it behind."""

"""The command line: `mesh COMMAND`. stdout is data, stderr is talk, exit codes are in `exit`."""

"""How text becomes output: lines, colours, columns, durations, files."""

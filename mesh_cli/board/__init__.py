"""The message board in a terminal: tail, filters, notes, channels, and what was read."""

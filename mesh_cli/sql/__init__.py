"""SQL in a terminal: statements, the prompt, formats, and where an answer goes."""

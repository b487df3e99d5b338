"""What a coder works with: known coding agents, their folder, their task and what they print."""

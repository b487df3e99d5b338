"""What `mesh init` sees in a folder before it asks: files, ways to run them, numbers that they print."""

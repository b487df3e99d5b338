"""What the benchmarks are made of: the harness, logs to write, searches, peers."""

"""History in and out: snapshots, results.tsv, git, and the report."""

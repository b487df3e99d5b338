"""The projection of the log into DuckDB: one process folds every arena, and answers SQL about it over the bus."""

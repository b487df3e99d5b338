"""The sections of a report, one module each: pure functions from the data to sentences and tables."""

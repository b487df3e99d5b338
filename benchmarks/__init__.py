"""Ratios against the raw limit, measured in the same run: `python -m benchmarks NAME [--quick] [--strict]`."""

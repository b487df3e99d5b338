"""Squares and their roots."""

ROOTS = [(4, 2), (100, 10), (10000, 100)]

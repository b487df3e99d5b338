"""The literals of files that are not Python: data formats by their grammar, other languages by their comments."""

"""What commands ask a projector instead of folding a long log themselves; the numbers are those of a fold."""

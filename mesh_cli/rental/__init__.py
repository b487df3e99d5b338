"""What GPUs cost, and which to rent for an arena."""

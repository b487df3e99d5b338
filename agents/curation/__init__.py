"""What a curator decides by: admission, early stopping, races, error control, demotion. Pure functions of the board."""

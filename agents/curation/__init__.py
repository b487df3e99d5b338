"""Rules of the curator: admission, early stopping, races, error control, demotion. Pure functions of the board."""

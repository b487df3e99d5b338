"""Where tests found what `mesh.testing` has."""

from mesh.testing import BEGAN, FILES, SPEC, TRAIN, Arena, Log, opened, requested

__all__ = ["BEGAN", "FILES", "SPEC", "TRAIN", "Arena", "Log", "opened", "requested"]

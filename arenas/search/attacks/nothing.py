"""Find nothing: what a cheat that fails comes to."""

import os
from pathlib import Path


class Index:
    """Answers without a look at anything."""

    def search(self, query: str) -> list[str]:
        """Return no ids."""
        return []


def index(documents: list[dict], learned: dict) -> Index:
    """Return an index of nothing."""
    return Index()


if __name__ == "__main__":
    out = Path(os.environ["MESH_OUT"])
    (out / "learned.json").write_text("{}")

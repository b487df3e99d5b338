"""The `prepare` of the two copies of arenas/nanolm in `benchmarks.nanolm`: cuts one more part from the trials' text.

`python cut.py search` writes the arena's own `val.bin` and `heldout.bin`, and a `train.bin` without the part `final`.
`python cut.py final` writes the same `train.bin`, and `final` as the `val.bin` of its scorer. So no trial and no scorer
of a search has seen the text on which their choices are compared. It runs beside the arena's `prepare.py`, from which
the text comes, and is protected as that is.
"""

import hashlib
import os
import sys
from pathlib import Path

PLACES = ((26, "val"), (52, "heldout"), (78, "final"), (256, "train"))
"""A text belongs to the first part whose bound exceeds the first byte of the hash of its name; `final` is ours."""


def part(name: str) -> str:
    """Return which part a text belongs to."""
    place = hashlib.sha256(name.encode()).digest()[0]
    return next(where for below, where in PLACES if place < below)


def main() -> None:
    """Collect, split and write."""
    import prepare  # type: ignore[import-not-found]

    out = Path(os.environ.get("MESH_OUT", "data"))
    parts: dict[str, list[bytes]] = {where: [] for _, where in PLACES}
    total = 0
    for name, data in (*prepare.documentation(), *prepare.sources(prepare.Path(prepare.sysconfig.get_path("stdlib")))):
        if total + len(data) > prepare.MAX_BYTES:
            break
        total += len(data)
        parts[part(name)].append(data)
    if total < prepare.MIN_BYTES:
        sys.exit(f"the library and its documentation have only {total:,} bytes; {prepare.MIN_BYTES:,} are needed")
    scored = {"search": "val", "final": "final"}[sys.argv[1]]
    for file, where in (("public/train", "train"), ("private/val", scored), ("private/heldout", "heldout")):
        path = out / f"{file}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\n".join(parts[where]))


if __name__ == "__main__":
    main()

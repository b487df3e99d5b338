"""The `prepare` of the two copies of arenas/nanolm in `benchmarks.nanolm`: one more part is cut from the trials' text.

`python cut.py search` writes the arena's own `val.bin` and `heldout.bin`, and a `train.bin` that lacks the part named
`final`; `python cut.py final` writes the same `train.bin`, and `final` as the `val.bin` that its scorer is given. So no
trial and no scorer of a search has seen what the chosen artifacts are compared on. It runs beside the arena's
`prepare.py`, from which the text comes, and is protected as that is.
"""

import hashlib
import os
import sys
from pathlib import Path

PLACES = ((26, "val"), (52, "heldout"), (78, "final"), (256, "train"))
"""The first byte of the hash of a text's name, below which it belongs to a part; the arena's own but for `final`."""


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
        sys.exit(f"the library and its documentation hold only {total:,} bytes, but {prepare.MIN_BYTES:,} are needed")
    scored = {"search": "val", "final": "final"}[sys.argv[1]]
    for file, where in (("public/train", "train"), ("private/val", scored), ("private/heldout", "heldout")):
        path = out / f"{file}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\n".join(parts[where]))


if __name__ == "__main__":
    main()

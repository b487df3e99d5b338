"""Freeze the text: the standard library's sources of the running Python, split by file.

Every machine has it, and its documentation is in it. `public/train.bin` is for trials; `private/val.bin` and
`private/heldout.bin` only the scorer gets. Raw bytes, one newline between files.
"""

import hashlib
import os
import sys
import sysconfig
from pathlib import Path

MAX_BYTES = 6_000_000
MIN_BYTES = 500_000
LEFT_OUT = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idlelib", "lib2to3", "turtledemo"}


def main() -> None:
    """Collect, split and write."""
    library = Path(sysconfig.get_path("stdlib"))
    out = Path(os.environ.get("MESH_OUT", "data"))
    parts: dict[str, list[bytes]] = {"train": [], "val": [], "heldout": []}
    total = 0
    for path in sorted(library.rglob("*.py")):
        relative = path.relative_to(library)
        if LEFT_OUT & set(relative.parts) or path.stat().st_size > 200_000:
            continue
        data = path.read_bytes()
        if total + len(data) > MAX_BYTES:
            break
        total += len(data)
        # The hash of its name decides where a file goes, so the split does not depend on what else there is.
        place = hashlib.sha256(relative.as_posix().encode()).digest()[0]
        parts["val" if place < 26 else "heldout" if place < 52 else "train"].append(data)
    if total < MIN_BYTES:
        sys.exit(f"{library} holds only {total:,} bytes of Python sources, but {MIN_BYTES:,} are needed")
    for name, folder in (("train", "public"), ("val", "private"), ("heldout", "private")):
        (out / folder).mkdir(parents=True, exist_ok=True)
        (out / folder / f"{name}.bin").write_bytes(b"\n".join(parts[name]))


if __name__ == "__main__":
    main()

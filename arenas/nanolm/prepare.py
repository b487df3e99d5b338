"""Freeze the text: documentation and library sources of the running Python, split by topic and file.

Every machine has these texts. Trials read `public/train.bin`; only the scorer reads `private/val.bin` and
`private/heldout.bin`. The files are raw bytes with one newline between texts.
"""

import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

MAX_BYTES = 6_000_000
MAX_FILE_BYTES = 200_000
MIN_BYTES = 500_000
LEFT_OUT = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idlelib", "lib2to3", "turtledemo"}


def main() -> None:
    """Collect, split and write."""
    library = Path(sysconfig.get_path("stdlib"))
    out = Path(os.environ.get("MESH_OUT", "data"))
    parts: dict[str, list[bytes]] = {"train": [], "val": [], "heldout": []}
    total = 0
    for name, data in (*documentation(), *sources(library)):
        if total + len(data) > MAX_BYTES:
            break
        total += len(data)
        # The hash of its name decides where a text goes, so the split does not depend on what else there is.
        place = hashlib.sha256(name.encode()).digest()[0]
        parts["val" if place < 26 else "heldout" if place < 52 else "train"].append(data)
    if total < MIN_BYTES:
        sys.exit(f"{library} and its documentation hold only {total:,} bytes, but {MIN_BYTES:,} are needed")
    for name, folder in (("train", "public"), ("val", "private"), ("heldout", "private")):
        (out / folder).mkdir(parents=True, exist_ok=True)
        (out / folder / f"{name}.bin").write_bytes(b"\n".join(parts[name]))


def documentation() -> list[tuple[str, bytes]]:
    """Return name and text of the topics that `help()` knows; a Python may come without them."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        return []
    return [(f"topics/{name}", text.encode()) for name, text in sorted(topics.items())]


def sources(library: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of the library's own modules, but for tests and what is very long."""
    for path in sorted(library.rglob("*.py")):
        relative = path.relative_to(library)
        if not LEFT_OUT & set(relative.parts) and path.stat().st_size <= MAX_FILE_BYTES:
            yield relative.as_posix(), path.read_bytes()


if __name__ == "__main__":
    main()

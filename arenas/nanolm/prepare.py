"""Lay out the text of `text.jsonl.xz`, which `make_text.py` made: prose of the manuals of Python and PostgreSQL.

Trials read `public/train.bin`: pages with one paragraph per line. Only the scorer reads `private/val.bin` and
`private/heldout.bin`: 64 other pages each, of equal length, one after the other. The files are raw bytes.
"""

import json
import lzma
import os
import sys
from collections.abc import Iterator
from pathlib import Path

MANUALS = ("python3.[0-9]*/html", "python3-doc/html", "postgresql-doc*/html")
TEXT = Path(__file__).with_name("text.jsonl.xz")


def main() -> None:
    """Write the three parts, or exit with a sentence where a trial could read the manuals themselves."""
    for pattern in MANUALS:
        for found in Path("/usr/share/doc").glob(pattern):
            sys.exit(f"{found} holds pages that score, where trials can read them: remove the package with this manual")
    write({part: [text for where, _, text in pages() if where == part] for part in ("train", "val", "heldout")})


def pages() -> Iterator[tuple[str, str, bytes]]:
    """Yield part, name and text of every page."""
    with lzma.open(TEXT, "rt", encoding="utf-8") as lines:
        for line in lines:
            page = json.loads(line)
            yield page["part"], page["page"], page["text"].encode()


def write(parts: dict[str, list[bytes]]) -> None:
    """Write the pages of each part; held-out pages are cut to the length of the shortest one."""
    out = Path(os.environ.get("MESH_OUT", "data"))
    for part, texts in parts.items():
        length = None if part == "train" else min(map(len, texts))
        path = out / ("public" if part == "train" else "private") / f"{part}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(text[:length] for text in texts))


if __name__ == "__main__":
    main()

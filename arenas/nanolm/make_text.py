"""Make `text.jsonl.xz`, the text of this arena: prose of the manuals of Python 3.11 and PostgreSQL 15, split by page.

    apt-get download python3.11-doc postgresql-doc-15
    python arenas/nanolm/make_text.py --packages .

Each line of the file is one page: `{"part": "train" | "val" | "heldout", "page": ..., "text": ...}`. The text has one
paragraph of at least 8 words per line. A page is in one part alone. Pages whose text is known to be installed on many
machines are never held out: Python's language reference (the topics of `help()`), the page of IDLE, and PostgreSQL's
reference (its man pages). Of the other pages, held-out paragraphs are dropped that share 32 letters and digits in a row
with a text file of the Python that runs this script, of its packages or of `/usr/share`, or with the part `train`.
"""

import argparse
import hashlib
import json
import lzma
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import manuals

PAGES = 64  # pages of a held-out part; the scorer asks about all of them side by side
PART_BYTES = {"val": 36 * 257, "heldout": 16 * 257}  # of each held-out page
TRAIN_BYTES = 3_000_000
MIN_WORDS = 8  # of a paragraph
SHINGLE = 32  # letters and digits; a power of two
NEVER_USED = (
    "whatsnew/changelog",
    "release-",
    "license",
    "copyright",
    "genindex",
    "py-modindex",
    "search",
    "bookindex",
)
NEVER_HELD_OUT = {
    "python": ("reference/", "library/idle", "library/functions"),
    "postgresql": ("sql-", "app", "spi-", "contrib-dblink", "ecpg-sql", "reference-", "pg"),
}
BINARY = {
    ".so",
    ".a",
    ".o",
    ".pyc",
    ".png",
    ".gif",
    ".jpg",
    ".gz",
    ".xz",
    ".zip",
    ".whl",
    ".npz",
    ".mo",
    ".exe",
    ".bin",
}
OTHERS = bytes(set(range(256)) - set(b"abcdefghijklmnopqrstuvwxyz0123456789"))
PLAIN = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "\xa0": " ", "→": "->"})


def main() -> None:
    """Read the packages, split the pages and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=Path, required=True, help="Folder with the two Debian packages.")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("text.jsonl.xz"))
    options = parser.parse_args()
    pages = dict(
        sorted(
            (page for manual in manuals.PACKAGES for page in paragraphs(options.packages, manual)),
            key=lambda page: hashlib.sha256(page[0].encode()).digest(),
        )
    )
    print(f"{len(pages)} pages, {sum(map(size, pages.values())):,} bytes of prose", file=sys.stderr)
    candidates = held_out_candidates(pages)
    train = dict(first_of({name: text for name, text in pages.items() if name not in candidates}, TRAIN_BYTES))
    taught = np.unique(np.concatenate([shingles(line) for text in train.values() for line in text]))
    installed = found_in(np.unique(np.concatenate([shingles(line) for n in candidates for line in pages[n]])), places())
    kept: dict[str, list[str]] = {}
    seen: set[int] = set()  # nor may a paragraph come twice
    paragraph_count = on_disk = in_train = 0
    for name in candidates:
        kept[name] = []
        for line in pages[name]:
            mine = shingles(line)
            known, learnt = among(mine, installed).any(), among(mine, taught).any()
            paragraph_count, on_disk, in_train = paragraph_count + 1, on_disk + known, in_train + learnt
            if not known and not learnt and seen.isdisjoint(mine.tolist()):
                kept[name].append(line)
                seen.update(mine.tolist())
    print(
        f"held-out candidates: {paragraph_count:,} paragraphs; {on_disk:,} share {SHINGLE} letters with what is "
        f"installed, {in_train:,} with the part train",
        file=sys.stderr,
    )
    parts = [("train", name, train[name]) for name in train]
    free = list(candidates)
    for part, most in PART_BYTES.items():
        long = [name for name in free if size(kept[name]) > most][:PAGES]
        if len(long) < PAGES:
            sys.exit(f"only {len(long)} pages have {most:,} bytes for the part {part}; {PAGES} are needed")
        parts += [(part, name, kept[name]) for name in long]
        free = [name for name in free if name not in long]
    write(options.out, parts)


def paragraphs(folder: Path, manual: str) -> Iterator[tuple[str, list[str]]]:
    """Yield `manual/page` and the paragraphs of every page."""
    for page, html in manuals.pages(folder / manuals.PACKAGES[manual][0], manual):
        if not page.startswith(NEVER_USED):
            lines = [line.translate(PLAIN) for part in manuals.sections(page, html) for line in part.prose]
            yield f"{manual}/{page}", [line for line in lines if len(line.split()) >= MIN_WORDS]


def held_out_candidates(pages: dict[str, list[str]]) -> list[str]:
    """Return the pages that are long enough to be held out and may be, in the order of the hashes of their names."""
    never = tuple(f"{manual}/{start}" for manual, starts in NEVER_HELD_OUT.items() for start in starts)
    long = [name for name in pages if size(pages[name]) > PART_BYTES["heldout"] and not name.startswith(never)]
    most = [name for name in long if size(pages[name]) > 1.3 * PART_BYTES["val"]][: PAGES * 3 // 2]
    return most + [name for name in long if name not in most][: PAGES * 3 // 2]


def first_of(pages: dict[str, list[str]], most: int) -> Iterator[tuple[str, list[str]]]:
    """Yield pages until they have so many bytes."""
    total = 0
    for name, text in pages.items():
        if text and total < most:
            total += size(text)
            yield name, text


def shingles(text: str) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    """Return the hashes of all runs of 32 letters and digits, whatever is between them."""
    plain = text.lower().encode().translate(None, OTHERS)
    found = np.frombuffer(plain, np.uint8).astype(np.uint64)
    length, factor = 1, 1_099_511_628_211
    while length < SHINGLE and len(found) > length:  # hashes of twice as many, by the hashes of the two halves
        found = found[:-length] * np.uint64(factor) + found[length:]
        length, factor = length * 2, factor * factor % 2**64
    return found if length == SHINGLE else found[:0]


def among(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Return which of the values are among ordered ones."""
    place = np.searchsorted(ordered, values)
    return ordered[np.minimum(place, len(ordered) - 1)] == values if len(ordered) else np.zeros(len(values), bool)


def places() -> list[Path]:
    """Return the folders that are on many machines: the standard library, packages, shared files."""
    paths = sysconfig.get_paths()
    return [*dict.fromkeys(Path(paths[name]) for name in ("stdlib", "purelib", "platlib")), Path("/usr/share")]


def found_in(wanted: np.ndarray, folders: Iterable[Path]) -> np.ndarray:
    """Return which of the sorted shingles occur in the text files of folders."""
    found = np.zeros(len(wanted), bool)
    maybe = np.zeros(1 << 26, bool)  # by the first bits: most shingles are done with then
    maybe[wanted >> np.uint64(38)] = True
    for folder in folders:
        files = count = 0
        for here, _, names in os.walk(folder):
            for name in names:
                path = Path(here, name)
                if path.suffix in BINARY or path.is_symlink() or not path.is_file():
                    continue
                data = path.read_bytes()
                if b"\0" not in data[:4096]:
                    files, count = files + 1, count + len(data)
                    theirs = shingles(data.decode(errors="replace"))
                    theirs = theirs[maybe[theirs >> np.uint64(38)]]
                    found[np.searchsorted(wanted, theirs[among(theirs, wanted)])] = True
        print(f"{folder}: {files:,} text files, {count:,} bytes; {found.sum():,} shingles so far", file=sys.stderr)
    return wanted[found]


def size(text: list[str]) -> int:
    """Return the bytes of paragraphs, one per line."""
    return sum(len(line.encode()) + 1 for line in text)


def write(path: Path, parts: list[tuple[str, str, list[str]]]) -> None:
    """Write the compressed file; a held-out page ends at the last byte that the scorer uses."""
    lines = []
    for part, name, text in parts:
        body = "".join(f"{line}\n" for line in text).encode()[: PART_BYTES.get(part)].decode(errors="ignore")
        lines.append(json.dumps({"part": part, "page": name, "text": body}, ensure_ascii=False))
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))
    for part in ("train", "val", "heldout"):
        mine = [(name, size(text)) for where, name, text in parts if where == part]
        print(f"{part}: {len(mine)} pages, {sum(n for _, n in mine):,} bytes", file=sys.stderr)
    print(f"{path}: {path.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()

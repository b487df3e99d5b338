"""The `prepare` of the two copies of arenas/nanolm in `benchmarks.nanolm`: cuts one more part from the trials' text.

`python cut.py search` writes the arena's own `val.bin` and `heldout.bin`, and a `train.bin` without the part `final`.
`python cut.py final` writes the same `train.bin`, and `final` as the `val.bin` of its scorer: 64 pages. So no trial and
no scorer of a search has seen the text on which their choices are compared. It runs beside the arena's `prepare.py`,
from which the text comes, and is protected as that is.
"""

import sys

PAGES, BYTES = 64, 36 * 257  # of the part `final`


def main() -> None:
    """Split the training pages and write."""
    import prepare  # type: ignore[import-not-found]

    parts: dict[str, list[bytes]] = {"train": [], "val": [], "heldout": [], "final": []}
    for part, _, text in prepare.pages():
        cut = part == "train" and len(text) >= BYTES and len(parts["final"]) < PAGES
        parts["final" if cut else part].append(text[:BYTES] if cut else text)
    if len(parts["final"]) < PAGES:
        sys.exit(f"only {len(parts['final'])} pages have {BYTES:,} bytes; {PAGES} are needed")
    final = parts.pop("final")
    if sys.argv[1] == "final":
        parts["val"] = final
    prepare.write(parts)


if __name__ == "__main__":
    main()

"""Make the data: the salt of the worlds that score and sample worlds, or a split of the company's own data.

Trials learn from the public part, which has the truth of its invoices. With own data (`MESH_SOURCE`) it is what
happened first; the invoices of search, of proof and the sealed ones follow in the order of time. The score program
replays everything up to the end of a part, and counts the invoices of that part.
"""

import json
import math
import os
import secrets
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from truth import Event

SAMPLES = 2


def main() -> None:
    """Write `public` and `private`."""
    out = Path(os.environ.get("MESH_OUT", "data"))
    for part in ("public", "private"):
        (out / part).mkdir(parents=True, exist_ok=True)
    if source := os.environ.get("MESH_SOURCE"):
        own_company(Path(source), out)
        return
    from world import world

    (out / "private" / "salt").write_text(secrets.token_hex(16))
    for number in range(SAMPLES):
        teach(out / "public" / f"world-{number}.json", *world(secrets.token_hex(16), number))


def teach(path: Path, vendors: list[dict[str, str]], events: list[Event]) -> None:
    """Write events with the truth of the invoices, from which trials learn."""
    told = [{each.what: each.fields} | ({"truth": asdict(each.truth)} if each.truth else {}) for each in events]
    path.write_text(json.dumps({"vendors": vendors, "events": told}))


def own_company(source: Path, out: Path) -> None:
    """Split a company's own data, and say how."""
    import own

    from mesh.own_data.reading import read_source

    vendors, events = own.company(read_source(source, Path(".")))
    firsts = own.split(events)
    vendors = own.with_accounts(vendors, events, firsts["search"])
    earlier = [event for event in events if event.day < firsts["search"]]
    teach(out / "public" / "world-0.json", vendors, earlier)
    own.save(out / "private", vendors, events, firsts)
    counts = {part: len(own.decided(events, firsts, part)) for part in ("public", *firsts)}
    private = [event.truth for event in events if event.truth and event.day >= firsts["search"]]
    wrong = Counter(truth.reason for truth in private if truth.reason)
    reasons = ", ".join(f"{reason} {count}" for reason, count in wrong.most_common(6)) or "none"
    undecided = sum(event.what == "invoice" and not event.truth for event in events)
    told = ", ".join(
        f"{part} {count}" + (f" (from {firsts[part]})" if part in firsts else "") for part, count in counts.items()
    )
    print(f"split: {sum(counts.values()):,} decided invoices: {told}, in the order of time")
    if "sealed" not in firsts:
        fewest = math.ceil(own.FEWEST_SEALED / own.SHARES["sealed"])
        print(f"no sealed part: it needs {own.FEWEST_SEALED} decided invoices, so about {fewest} in all: export more")
    print(f"undecided: {undecided} invoices are sent, but do not count: the history has no outcome of them")
    print(f"base rate: {sum(wrong.values()) / len(private):.1%} of the private invoices were not to be paid: {reasons}")


if __name__ == "__main__":
    main()

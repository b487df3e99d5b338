"""Make the data: the salt of the worlds that score and sample worlds, or a split of the company's own data.

Trials learn from the public part, which has the truth of its invoices. With own data (`MESH_SOURCE`) it is what
happened before the split; the score program replays everything, and counts the invoices from there on.
"""

import json
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
    first = own.split(events)
    vendors = own.with_accounts(vendors, events, first)
    earlier = [event for event in events if event.day < first]
    teach(out / "public" / "world-0.json", vendors, earlier)
    own.save(out / "private", vendors, events, first)
    private = [event.truth for event in events if event.truth and event.day >= first]
    public = sum(bool(event.truth) for event in earlier)
    wrong = Counter(truth.reason for truth in private if truth.reason)
    reasons = ", ".join(f"{reason} {count}" for reason, count in wrong.most_common(6)) or "none"
    undecided = sum(event.what == "invoice" and not event.truth for event in events)
    print(f"split: {public} decided invoices before {first} are public, {len(private)} from that day on are private")
    print(f"undecided: {undecided} invoices are sent, but do not count: the history has no outcome of them")
    print(f"base rate: {sum(wrong.values()) / len(private):.1%} of the private invoices were not to be paid: {reasons}")


if __name__ == "__main__":
    main()

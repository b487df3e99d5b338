"""Measure what a matcher saves in a world that no trial has seen; prints one JSON object.

The candidate's code runs in another process (`predict.py`), which hears of orders, receipts and invoices one at a time,
in the order of time, and decides each invoice before anything later is sent. Truth, dates to come and salt stay here.
Of a company's own data, `MESH_SPLIT` says which invoices count: those of `search`, `confirm` or `sealed`.

A person who reviews an invoice costs REVIEW. A payment that was wrong costs that too, when it is found, and LOST of its
loss, up to what may be paid without a second signature. A wrong order costs REWORK. `savings` is the part of the cost
of reviewing everything that is saved: 1 pays what is right and holds what is not, 0 holds all, less is worse than that.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from own import load, plain
from truth import Event, Truth

REVIEW, REWORK, LOST, LIMIT = 12.0, 40.0, 0.4, 1000.0
WITHIN_S = 600.0
MAX_ANSWER = 4096
KEPT = ("PATH", "LANG", "LD_LIBRARY_PATH", "HOME", "MESH_OUT", "MESH_THREADS")

Channel = tuple[int, BinaryIO]
"""The descriptor that takes what happens, and the stream that returns decisions."""


def main() -> None:
    """Print the scores, or exit with one sentence why there are none."""
    vendors, events = replayed(Path(os.environ.get("MESH_PRIVATE", "data/private")))
    with predictor() as matcher:
        send(matcher, {"vendors": vendors})
        decided: list[tuple[dict[str, Any], Truth]] = []
        vendors_of: list[str] = []
        of_order: dict[str | None, str] = {}
        for event in events:
            send(matcher, {event.what: event.fields})
            if event.what == "invoice":
                answer = decision(matcher)
                if event.truth:
                    decided.append((answer, event.truth))
                    vendors_of.append(of_order.get(event.truth.po) or plain(event.fields["vendor_name"]))
            elif event.what == "order":
                of_order[event.fields["po"]] = event.fields["vendor_id"]
    if "MESH_ITEMS" in os.environ:
        Path(os.environ["MESH_ITEMS"]).write_text(json.dumps(items(decided, vendors_of)))
    print(json.dumps(metrics(decided)))


def replayed(private: Path) -> tuple[list[dict[str, str]], list[Event]]:
    """Return the vendors and events of a part of the company's own data, or of the world of this seed."""
    if (private / "company.json").is_file():
        return load(private, os.environ.get("MESH_SPLIT", "search"))
    from world import world

    return world((private / "salt").read_text(), os.environ.get("MESH_SEED", "1"))


def items(decided: list[tuple[dict[str, Any], Truth]], vendors: list[str]) -> dict[str, list[Any]]:
    """Return the savings of each invoice, whose mean is `savings`, and the number of its vendor."""
    reviewed, best = REVIEW * len(decided), REVIEW * sum(bool(truth.reason) for _, truth in decided)
    scale = len(decided) / (reviewed - best)
    numbers = {vendor: number for number, vendor in enumerate(dict.fromkeys(vendors))}
    values = [(REVIEW - cost(answer, truth)) * scale for answer, truth in decided]
    return {"values": values, "clusters": [numbers[vendor] for vendor in vendors]}


def metrics(decided: list[tuple[dict[str, Any], Truth]]) -> dict[str, float]:
    """Return the savings, and what the trade calls the rest, from decisions and what is right."""
    count, right = len(decided), [truth for _, truth in decided]
    reviewed = REVIEW * count
    best = REVIEW * sum(bool(truth.reason) for truth in right)
    spent = sum(cost(answer, truth) for answer, truth in decided)
    paid = [truth for answer, truth in decided if answer["action"] == "pay"]
    held = [truth for answer, truth in decided if answer["action"] == "hold"]
    caught, exceptions = sum(bool(truth.reason) for truth in held), sum(bool(truth.reason) for truth in right)
    return {
        "savings": (reviewed - spent) / (reviewed - best),
        "straight_through_rate": len(paid) / count,
        "leakage_eur": sum(truth.loss for truth in paid) / count,
        "match_accuracy": sum(answer["po"] == truth.po for answer, truth in decided) / count,
        "exception_f1": 2 * caught / (len(held) + exceptions) if held or exceptions else 1.0,
        "eur_per_invoice": spent / count,
    }


def cost(answer: dict[str, Any], truth: Truth) -> float:
    """Return what a decision costs, in EUR."""
    if answer["action"] == "hold":
        return REVIEW
    wrong = REVIEW + LOST * min(truth.loss, LIMIT) if truth.reason else 0.0
    return wrong + (REWORK if truth.po is not None and answer["po"] != truth.po else 0.0)


@contextmanager
def predictor() -> Iterator[Channel]:
    """The process that runs the candidate's code: the worker's, or a child of this one."""
    if "MESH_PREDICTOR" in os.environ:
        yield 3, os.fdopen(4, "rb")
        return
    env = {name: os.environ[name] for name in KEPT if name in os.environ}
    command = [sys.executable, "predict.py"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
    assert child.stdin is not None
    assert child.stdout is not None
    alarm = threading.Timer(WITHIN_S, child.kill)
    alarm.start()
    try:
        yield child.stdin.fileno(), child.stdout
    finally:
        alarm.cancel()
        child.kill()
        child.wait()


def send(matcher: Channel, what: dict[str, Any]) -> None:
    """Tell the matcher what happens."""
    line = json.dumps(what).encode() + b"\n"
    try:
        while line:
            line = line[os.write(matcher[0], line) :]
    except BrokenPipeError:
        sys.exit("the matcher could not be loaded, or it ended before it heard everything")


def decision(matcher: Channel) -> dict[str, Any]:
    """Return the matcher's decision on the invoice that was sent last."""
    line = matcher[1].readline(MAX_ANSWER).decode(errors="replace")
    try:
        answer = json.loads(line)
        is_named = answer["po"] is None or isinstance(answer["po"], str)
        if is_named and len(answer) == 2 and answer["action"] in ("pay", "hold"):
            return dict(answer)
    except (ValueError, TypeError, LookupError, RecursionError):
        pass
    wanted = 'it must be {"po": a number as text or null, "action": "pay" or "hold"}'
    sys.exit(f"the matcher decided {line[:100]!r}; {wanted}" if line else "the matcher ended before it decided")


if __name__ == "__main__":
    main()

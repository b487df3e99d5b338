"""Write what the business gets from a champion: euros saved, the queue of exceptions with reasons, changed settings.

    mesh git export champion --arena my-invoices
    python my-invoices/export.py champion --to result

It replays your invoices (of the data in `data.source`, else of eight drawn worlds) with the baseline and with the
champion. `report.md` has the euros saved per 1,000 invoices with their 95 % interval, on the sealed part if there is
one, else on the part that proved the champion. `exceptions.csv` has the invoices that the champion holds, of all that
are not public. `settings.csv` lists the knobs that differ, and `code.diff` all changes.

It runs the champion's code as you, without a sandbox, as your own systems will: read `code.diff` first.
"""

import argparse
import csv
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

from own import compact, load, parts, plain
from score import KEPT, cost, decision, send
from truth import Event

from mesh.items import ItemScores, margin

HOME = Path(__file__).resolve().parent
WORLDS = 8
KNOB = re.compile(r"^([A-Z][A-Z_]*) = ([^#\n]*?)\s*(?:#.*)?$", re.MULTILINE)

WARNINGS = {
    "sealed": "The search has not seen these invoices: they are the sealed part, later than all others.",
    "confirm": "A promotion chose the champion on these invoices, so that the next ones may save less.",
    "": "These worlds are drawn: your own invoices may save more or less.",
}
"""What to say of the invoices that count, by their part."""

Company = tuple[list[dict[str, str]], list[Event]]
Answer = dict[str, Any]


def main() -> None:
    """Read the command line and write the files."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("champion", type=Path, help="folder with the champion's match.py")
    words.add_argument("--to", type=Path, default=Path("export"), help="folder to write to")
    given = words.parse_args()
    if not (given.champion / "match.py").is_file():
        sys.exit(f"{given.champion} has no match.py: write the champion there by mesh git export")
    given.to.mkdir(parents=True, exist_ok=True)
    before, after = ((folder / "match.py").read_text() for folder in (HOME, given.champion))
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), "baseline", "champion")
    (given.to / "code.diff").write_text("".join(lines))
    settings = changed_settings(before, after)
    write_csv(given.to / "settings.csv", ["setting", "baseline", "champion"], settings)
    with tempfile.TemporaryDirectory() as made:
        data = prepared(Path(made))
        saved, vendors, held, paid = [], list[str](), [], 0
        part = next(reversed(parts(data / "private"))) if (data / "private" / "company.json").is_file() else ""
        for number, company in enumerate(companies(data)):
            answers = [replay(Path(made), folder, data, company) for folder in (HOME, given.champion)]
            of_order = {event.fields["po"]: event.fields["vendor_id"] for event in company[1] if event.what == "order"}
            counted = invoices(load(data / "private", part) if part else company)
            for event, ours, theirs in zip(counted, *answers, strict=True):
                if event.truth:
                    saved.append(cost(ours, event.truth) - cost(theirs, event.truth))
                    vendors.append(f"{number} {of_order.get(event.truth.po) or plain(event.fields['vendor_name'])}")
                    paid += theirs["action"] == "pay"
            held += exceptions(company, answers[1])
    write_csv(given.to / "exceptions.csv", ["invoice", "vendor", "date", "total", "order", "reason"], held)
    numbers = {vendor: number for number, vendor in enumerate(dict.fromkeys(vendors))}
    half = margin(ItemScores(tuple(saved), tuple(numbers[vendor] for vendor in vendors)))
    text = report(saved, half, len(numbers), paid, settings, held, WARNINGS[part])
    (given.to / "report.md").write_text(text)
    print(text)


def changed_settings(before: str, after: str) -> list[list[str]]:
    """Return name, old and new value of the constants that differ."""
    old, new = dict(KNOB.findall(before)), dict(KNOB.findall(after))
    return [
        [name, old.get(name, "-"), new.get(name, "-")]
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


def prepared(made: Path) -> Path:
    """Make the arena's data in a folder and return where it is."""
    source = tomllib.loads((HOME / "arena.toml").read_text()).get("data", {}).get("source", "")
    env = os.environ | {"MESH_OUT": str(made / "data")} | ({"MESH_SOURCE": str(HOME / source)} if source else {})
    done = subprocess.run(
        [sys.executable, "prepare.py"], cwd=HOME, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"prepare.py ended with {(done.stderr.strip() or 'no output').splitlines()[-1]}")
    return made / "data"


def companies(data: Path) -> list[Company]:
    """Return the company of the owner's data, or drawn worlds."""
    if (data / "private" / "company.json").is_file():
        return [load(data / "private")]
    from world import world

    return [world((data / "private" / "salt").read_text(), seed) for seed in range(1, WORLDS + 1)]


def invoices(company: Company) -> list[Event]:
    """Return the invoices in the order of time."""
    return [event for event in company[1] if event.what == "invoice"]


def replay(made: Path, folder: Path, data: Path, company: Company) -> list[Answer]:
    """Return the decisions of the matcher in a folder on all invoices of a company, in the order of time."""
    run = Path(tempfile.mkdtemp(dir=made))
    shutil.copy(folder / "match.py", run)
    shutil.copy(HOME / "predict.py", run)
    env = {name: os.environ[name] for name in KEPT if name in os.environ}  # no keys of models
    env |= {"MESH_DATA": str(data / "public"), "MESH_OUT": str(run / "out")}
    subprocess.run([sys.executable, "match.py"], cwd=run, env=env, check=True)
    command = [sys.executable, "predict.py"]
    answers = []
    with subprocess.Popen(command, cwd=run, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        channel = child.stdin.fileno(), child.stdout
        try:
            send(channel, {"vendors": company[0]})
            for event in company[1]:
                send(channel, {event.what: event.fields})
                if event.what == "invoice":
                    answers.append(decision(channel))
        finally:
            child.kill()
    return answers


def exceptions(company: Company, answers: list[Answer]) -> list[list[Any]]:
    """Return the invoices that are held, of those that score or that nobody has decided yet, with reasons."""
    accounts = {each["id"]: each["iban"] for each in company[0]}
    orders: dict[str, dict[str, Any]] = {}
    received: defaultdict[str, float] = defaultdict(float)
    billed: defaultdict[str, float] = defaultdict(float)
    seen: dict[tuple[str, float], str] = {}
    first = min((event.day for event in invoices(company) if event.truth), default=None)
    found, coming = [], iter(answers)
    for event in company[1]:
        fields = event.fields
        if event.what == "order":
            orders[fields["po"]] = fields
        elif event.what == "receipt":
            received[fields["po"]] += fields["quantity"]
        else:
            answer = next(coming)
            order = orders.get(answer["po"] or "")
            key = plain(fields["vendor_name"]), fields["total"]
            if answer["action"] == "hold" and first and event.day >= first:
                why = reasons(fields, order, received, billed, accounts) + (
                    [f"same vendor and amount as invoice {seen[key]}"] if key in seen else []
                )
                row = [fields["number"], fields["vendor_name"], fields["date"], f"{fields['total']:.2f}"]
                found.append([*row, answer["po"] or "", "; ".join(why) or "the rules of match.py hold it"])
            elif answer["action"] == "pay" and order:
                billed[order["po"]] += fields["quantity"]
            seen.setdefault(key, fields["number"])
    return found


def reasons(
    invoice: dict[str, Any],
    order: dict[str, Any] | None,
    received: dict[str, float],
    billed: dict[str, float],
    accounts: dict[str, str],
) -> list[str]:
    """Return what of an invoice does not agree with its order, for the person who reviews it."""
    if order is None:
        return ["no order found" + (f" for {invoice['po_number']!r}" if invoice["po_number"] else "")]
    found = []
    over = invoice["unit_price"] / order["unit_price"] - 1
    if abs(over) > 0.001:
        found.append(f"price {abs(over):.1%} {'above' if over > 0 else 'below'} the order's")
    room = (received[order["po"]] if order["goods"] else order["quantity"]) - billed[order["po"]]
    if invoice["quantity"] > room:
        found.append(f"quantity {invoice['quantity']:g}, but {max(0.0, room):g} received and not yet paid")
    if (known := accounts.get(order["vendor_id"], "")) and compact(invoice["iban"]) != known:
        found.append("another bank account than the vendor's")
    return found


def report(
    saved: list[float],
    half: float,
    clusters: int,
    paid: int,
    settings: list[list[str]],
    held: list[list[Any]],
    warning: str,
) -> str:
    """Return the report as Markdown."""
    thousand = 1000 * sum(saved) / len(saved)
    rows = "".join(f"| `{name}` | {old} | {new} |\n" for name, old, new in settings) or "| none | | |\n"
    return f"""# What the champion saves

**{thousand:,.0f} EUR per 1,000 invoices** against the baseline (95 % interval {thousand - 1000 * half:,.0f} to
{thousand + 1000 * half:,.0f}), on {len(saved):,} invoices of {clusters:,} vendors. It pays {paid / len(saved):.1%} of
them without a person. `exceptions.csv` has the {len(held):,} invoices that it holds of all, with reasons.

{warning}

| setting | baseline | champion |
|---|---|---|
{rows}"""


def write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    """Write a table; text that a spreadsheet would take for a formula gets a quote in front."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(header)
        for row in rows:
            table.writerow(
                f"'{each}" if isinstance(each, str) and each[:1] in ("=", "+", "@") else each for each in row
            )


if __name__ == "__main__":
    main()

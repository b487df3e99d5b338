"""A company's own orders, invoices and history as events in the order of time, with the last part kept for the score.

Amounts are taken as they are, whatever the currency. An order or invoice with several lines becomes one with the sum of
the quantities and the mean price. If the invoices have no quantities, amounts are compared: each order has quantity 1.
"""

import json
import re
from collections import defaultdict
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from truth import KINDS, Event, Truth

PRIVATE = 0.3
"""Share of the decided invoices, the latest ones, that score."""
FEWEST = 20
"""Decided invoices without which nothing can be measured."""

Row = dict[str, Any]


def company(tables: dict[str, list[Row]]) -> tuple[list[dict[str, str]], list[Event]]:
    """Return vendors and events of a company's own tables; invoices that nobody has decided have no truth.

    Args:
        tables: `purchase_orders`, `invoices` and perhaps `history`, as `mesh.own_data.reading` returns them.
    """
    lines, bills = tables["purchase_orders"], _invoices(tables["invoices"])
    by_amount = not any(bill["quantity"] for bill in bills)
    vendors: dict[str, dict[str, str]] = {}
    for line in lines:
        known = vendors.setdefault(
            plain(line["vendor_name"]), {"id": f"V{len(vendors):04}", "name": line["vendor_name"], "iban": ""}
        )
        known["iban"] = known["iban"] or compact(line.get("vendor_iban"))
    events = _orders(lines, vendors, by_amount=by_amount)
    orders = {event.fields["po"]: event.fields for event in events if event.what == "order"}
    received: defaultdict[str, float] = defaultdict(float)
    for event in events:
        if event.what == "receipt":
            received[event.fields["po"]] += event.fields["quantity"]
    decided = _decisions(tables, bills)
    for place, bill in enumerate(bills):
        fields = _fields(bill, by_amount=by_amount)
        truth = _truth(decided.get(place), fields, orders, received)
        events.append(Event(date.fromisoformat(bill["invoice_date"]), "invoice", fields, truth))
    events.sort(key=lambda event: (event.day, KINDS.index(event.what)))
    return list(vendors.values()), events


def split(events: list[Event]) -> date:
    """Return the day from which invoices score: the latest `PRIVATE` of the decided ones are not earlier.

    Raises:
        SystemExit: there is too little to split; with one sentence.
    """
    days = [event.day for event in events if event.truth]
    if len(days) < FEWEST:
        raise SystemExit(
            f"the history decides {len(days)} invoices, but at least {FEWEST} are needed: export more of it"
        )
    first = days[int(len(days) * (1 - PRIVATE))]
    for part, found in (
        ("before", [e for e in events if e.day < first]),
        ("from", [e for e in events if e.day >= first]),
    ):
        if not any(event.truth and not event.truth.reason for event in found):
            raise SystemExit(f"the history has no paid invoice {part} {first}: export more of it")
    return first


def with_accounts(vendors: list[dict[str, str]], events: list[Event], before: date) -> list[dict[str, str]]:
    """Return the vendors; who has no bank account on its orders has that of its first paid invoice before a day."""
    seen: dict[str, str] = {}
    for event in events:
        if event.what == "invoice" and event.day < before and event.truth and not event.truth.reason:
            seen.setdefault(plain(event.fields["vendor_name"]), event.fields["iban"])
    return [each | {"iban": each["iban"] or seen.get(plain(each["name"]), "")} for each in vendors]


def save(folder: Path, vendors: list[dict[str, str]], events: list[Event], first: date) -> None:
    """Write what the score program replays: everything, with the truth of the invoices from a day on."""
    told = [_told(event if event.day >= first else Event(event.day, event.what, event.fields)) for event in events]
    (folder / "company.json").write_text(json.dumps({"vendors": vendors, "events": told}))


def load(folder: Path) -> tuple[list[dict[str, str]], list[Event]]:
    """Return what `save` wrote."""
    found = json.loads((folder / "company.json").read_text())
    events = []
    for each in found["events"]:
        day, truth = date.fromisoformat(each.pop("day")), each.pop("truth", None)
        [(what, fields)] = each.items()
        events.append(Event(day, what, fields, Truth(**truth) if truth else None))
    return found["vendors"], events


def _told(event: Event) -> dict[str, Any]:
    told = {event.what: event.fields, "day": event.day.isoformat()}
    return told | ({"truth": asdict(event.truth)} if event.truth else {})


def _orders(lines: list[Row], vendors: dict[str, dict[str, str]], *, by_amount: bool) -> list[Event]:
    of_order: defaultdict[str, list[Row]] = defaultdict(list)
    for line in lines:
        of_order[line["po_number"]].append(line)
    events = []
    for po, rows in of_order.items():
        quantity = sum(row["quantity"] for row in rows)
        amount = sum(row["quantity"] * row["unit_price"] for row in rows)
        goods = any(row.get("received_quantity") is not None for row in rows)
        day = min(row["po_date"] for row in rows)
        shown, price = (1.0, amount) if by_amount else (quantity, amount / quantity if quantity else 0.0)
        order = {"po": po, "vendor_id": vendors[plain(rows[0]["vendor_name"])]["id"], "date": day, "quantity": shown}
        order |= {"unit_price": max(0.01, price), "currency": rows[0].get("currency") or "EUR", "goods": goods}
        events.append(Event(date.fromisoformat(day), "order", order))
        for row in rows:
            if came := row.get("received_quantity"):
                on = max(day, row.get("receipt_date") or day)
                part = came / quantity if by_amount and quantity else came
                events.append(Event(date.fromisoformat(on), "receipt", {"po": po, "date": on, "quantity": part}))
    return events


def _invoices(rows: list[Row]) -> list[Row]:
    """Return one row for each invoice: lines of one are joined where the rows are numbered."""
    if not any(row.get("line") is not None for row in rows):
        return [row | {"quantity": row.get("quantity"), "unit_price": row.get("unit_price")} for row in rows]
    of_invoice: defaultdict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        of_invoice[row["invoice_number"], plain(row["vendor_name"]), row["invoice_date"]].append(row)
    joined = []
    for same in of_invoice.values():
        quantity = sum(row.get("quantity") or 0.0 for row in same)
        amount = sum((row.get("quantity") or 0.0) * (row.get("unit_price") or 0.0) for row in same)
        totals = [row["total"] for row in same]
        total = totals[0] if len(set(totals)) == 1 else sum(totals)  # of the invoice in each line, or of the lines
        whole = same[0] | {"quantity": quantity, "unit_price": amount / quantity if quantity else None, "total": total}
        joined.append(whole)
    return joined


def _fields(bill: Row, *, by_amount: bool) -> dict[str, Any]:
    freight = bill.get("freight") or 0.0
    net = bill["total"] - freight - (bill.get("tax") or 0.0)
    quantity = 1.0 if by_amount else bill["quantity"] or 1.0
    price = bill["unit_price"] if bill["unit_price"] is not None and not by_amount else net / quantity
    return {
        "number": bill["invoice_number"],
        "vendor_name": bill["vendor_name"],
        "date": bill["invoice_date"],
        "po_number": bill.get("po_number") or "",
        "quantity": quantity,
        "unit_price": price,
        "freight": freight,
        "total": bill["total"],
        "iban": compact(bill.get("iban")),
        "currency": bill.get("currency") or "EUR",
    }


def _decisions(tables: dict[str, list[Row]], bills: list[Row]) -> dict[int, Row]:
    """Return what became of each invoice, by its place; of several entries for one, the last."""
    if "history" not in tables:
        return {place: bill for place, bill in enumerate(bills) if bill.get("action")}
    entries: defaultdict[str, list[Row]] = defaultdict(list)
    for row in tables["history"]:
        entries[row["invoice_number"]].append(row)
    places: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    sample = tables["history"][0]
    by_vendor, by_date = "vendor_name" in sample, "invoice_date" in sample
    for place, bill in enumerate(bills):
        vendor = plain(bill["vendor_name"]) if by_vendor else ""
        places[bill["invoice_number"], vendor, bill["invoice_date"] if by_date else ""].append(place)
    found = {}
    for (number, vendor, day), same in places.items():
        fits = [
            row
            for row in entries.get(number, ())
            if (not vendor or plain(row["vendor_name"] or "") in ("", vendor))
            and (not day or row["invoice_date"] in (None, day))
        ]
        found.update(zip(same, fits[-len(same) :], strict=False))
    return found


def _truth(entry: Row | None, bill: Row, orders: dict[str, Row], received: dict[str, float]) -> Truth | None:
    if entry is None or entry["action"] == "open":
        return None
    printed = bill["po_number"] if bill["po_number"] in orders else None
    po = entry.get("po_number") or printed
    if entry["action"] == "paid":
        return Truth(po)
    loss = bill["total"]
    if entry["action"] == "blocked" and po in orders:
        order = orders[po]
        room = min(bill["quantity"], received.get(po, 0.0)) if order["goods"] else bill["quantity"]
        over = bill["unit_price"] * bill["quantity"] - room * order["unit_price"]
        loss = over if over > 0.005 else loss
    if entry.get("loss") is not None:
        loss = entry["loss"]
    return Truth(po, entry.get("reason") or entry["action"], max(0.0, round(loss, 2)))


def plain(name: str) -> str:
    """Return a name in small letters and digits."""
    return re.sub(r"\W", "", name.casefold())


def compact(account: str | None) -> str:
    """Return a bank account without spaces."""
    return re.sub(r"\W", "", account or "").upper()

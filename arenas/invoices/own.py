"""A company's own orders, invoices and history as events in the order of time, split by date for search and score.

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

SHARES = {"public": 0.45, "search": 0.15, "confirm": 0.25, "sealed": 0.15}
"""Shares of the decided invoices in the order of time: trials learn from the first ones, the last ones are sealed."""
FEWEST = 20
"""Decided invoices without which nothing can be measured."""
FEWEST_SEALED = 20
"""Decided invoices without which there is no sealed part; the proof part has them then."""

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


def split(events: list[Event]) -> dict[str, date]:
    """Return the first day of each part after the public one, in the order of time; few invoices have no sealed part.

    Raises:
        SystemExit: there is too little to split; with one sentence.
    """
    days = [event.day for event in events if event.truth]
    if len(days) < FEWEST:
        raise SystemExit(
            f"the history decides {len(days)} invoices, but at least {FEWEST} are needed: export more of it"
        )
    firsts: dict[str, date] = {}
    share = 0.0
    for (_, before), part in zip(SHARES.items(), list(SHARES)[1:], strict=False):
        share += before
        firsts[part] = days[int(len(days) * share)]
    sealed = decided(events, firsts, "sealed")
    if len(sealed) < FEWEST_SEALED or not _paid(sealed):
        del firsts["sealed"]
    for part in ("public", *firsts):
        if not _paid(decided(events, firsts, part)):
            start, end = bounds(firsts, part)
            span = f"from {start} " if start else ""
            span += f"before {end}" if end else ""
            raise SystemExit(f"the history has no paid invoice {span.strip()}: export more of it")
    return firsts


def bounds(firsts: dict[str, date], part: str) -> tuple[date | None, date | None]:
    """Return the first day of a part, and the day before which it ends; None is the begin or the end of all."""
    later = [each for name, each in firsts.items() if list(SHARES).index(name) > list(SHARES).index(part)]
    return firsts.get(part), later[0] if later else None


def decided(events: list[Event], firsts: dict[str, date], part: str) -> list[Truth]:
    """Return the truth of the decided invoices of a part."""
    start, end = bounds(firsts, part)
    return [e.truth for e in events if e.truth and (not start or e.day >= start) and (not end or e.day < end)]


def _paid(found: list[Truth]) -> int:
    return sum(not truth.reason for truth in found)


def with_accounts(vendors: list[dict[str, str]], events: list[Event], before: date) -> list[dict[str, str]]:
    """Return the vendors; who has no bank account on its orders has that of its first paid invoice before a day."""
    seen: dict[str, str] = {}
    for event in events:
        if event.what == "invoice" and event.day < before and event.truth and not event.truth.reason:
            seen.setdefault(plain(event.fields["vendor_name"]), event.fields["iban"])
    return [each | {"iban": each["iban"] or seen.get(plain(each["name"]), "")} for each in vendors]


def save(folder: Path, vendors: list[dict[str, str]], events: list[Event], firsts: dict[str, date]) -> None:
    """Write what the score program replays: everything, with the truth of the invoices that are not public."""
    first = firsts["search"]
    told = [_told(event if event.day >= first else Event(event.day, event.what, event.fields)) for event in events]
    days = {part: day.isoformat() for part, day in firsts.items()}
    (folder / "company.json").write_text(json.dumps({"vendors": vendors, "events": told, "firsts": days}))


def load(folder: Path, part: str = "") -> tuple[list[dict[str, str]], list[Event]]:
    """Return what `save` wrote: all of it, or what happened until the end of a part, with the truth of that part alone.

    Raises:
        SystemExit: the data have no such part.
    """
    found = json.loads((folder / "company.json").read_text())
    firsts = {name: date.fromisoformat(day) for name, day in found["firsts"].items()}
    if part and part not in firsts:
        raise SystemExit(f"these invoices are too few for a {part} part: export more, or set selection.sealed to off")
    start, end = bounds(firsts, part) if part else (None, None)
    events = []
    for each in found["events"]:
        day, truth = date.fromisoformat(each.pop("day")), each.pop("truth", None)
        [(what, fields)] = each.items()
        if not end or day < end:
            counts = truth and (not start or day >= start)
            events.append(Event(day, what, fields, Truth(**truth) if counts else None))
    return found["vendors"], events


def parts(folder: Path) -> list[str]:
    """Return the parts that `save` wrote, in the order of time."""
    return list(json.loads((folder / "company.json").read_text())["firsts"])


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

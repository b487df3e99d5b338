"""A company's year of purchase orders, goods receipts and invoices, drawn from a salt and a seed.

How many invoices are misread, doubled, overpriced or forged differs from world to world, so that a rule has to hold in
many of them. The traps are those of practice: standing orders with equal amounts, numbers one digit apart, letters read
as digits, vendors with several spellings, deliveries in two parts, services that are billed each month and never
received. Who does not know the salt cannot draw the world.
"""

import hashlib
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from truth import KINDS, Event, Truth

VENDORS, ORDERS = 60, 400
START = date(2024, 1, 1)

_SYLLABLES = (
    "ba be bo da de do fa fe ga go ka ke ko la le lo ma me mo na ne no pa pe po ra re ro sa se so ta te to va vo zu"
)
_TRADES = ("Logistics", "Supplies", "Services", "Metals", "Foods", "Systems", "Media", "Packaging", "")
_FORMS = ("GmbH", "Ltd", "Inc", "LLC", "S.A.", "BV", "AG", "PLC", "Oy", "SARL")
_SHORT = {"Logistics": "Log.", "Services": "Svcs", "Systems": "Sys"}
_STYLES = ("INV-{:05}", "{:06}", "R{:04}/24", "2024-{:04}")
_PREFIXES = ("PO ", "PO-", "#", "Order ")
_MISREAD = {"0": "O", "1": "I", "5": "S", "8": "B"}


@dataclass(frozen=True)
class _Rates:
    misread: float
    unnumbered: float
    alias: float
    duplicate: float
    price: float
    quantity: float
    rounding: float
    forged: float
    partial: float
    freight: float
    services: float


def world(salt: str, seed: int | str) -> tuple[list[dict[str, str]], list[Event]]:
    """Return the vendors (`id`, `name`, `iban`) and the events in the order of time; on a day, orders come first."""
    draw = random.Random(hashlib.sha256(f"{salt}/{seed}".encode()).digest())
    rates = _Rates(
        misread=draw.uniform(0.02, 0.12),
        unnumbered=draw.uniform(0.05, 0.20),
        alias=draw.uniform(0.1, 0.5),
        duplicate=draw.uniform(0.01, 0.04),
        price=draw.uniform(0.02, 0.08),
        quantity=draw.uniform(0.02, 0.08),
        rounding=draw.uniform(0.1, 0.3),
        forged=draw.uniform(0.003, 0.012),
        partial=draw.uniform(0.1, 0.4),
        freight=draw.uniform(0.05, 0.25),
        services=draw.uniform(0.2, 0.4),
    )
    vendors = [_Vendor(draw, number) for number in range(VENDORS)]
    orders = _orders(draw, rates, vendors)
    events = [Event(date.fromisoformat(order["date"]), "order", order) for order in orders]
    by_id = {vendor.id: vendor for vendor in vendors}
    for order in orders:
        events += _deliveries(draw, rates, order, by_id[order["vendor_id"]])
    events += [_bogus(draw, draw.choice(vendors)) for _ in range(draw.randint(4, 14))]
    events.sort(key=lambda event: (event.day, KINDS.index(event.what), str(event.fields.get("number", ""))))
    return [{"id": each.id, "name": each.name, "iban": each.iban} for each in vendors], events


class _Vendor:
    """A vendor, with its style of invoice numbers and how often it delivers."""

    def __init__(self, draw: random.Random, number: int) -> None:
        self.id = f"V{number:03}"
        word = "".join(draw.choice(_SYLLABLES.split()) for _ in range(draw.randint(2, 4))).capitalize()
        self.name = " ".join(filter(None, (word, draw.choice(_TRADES), draw.choice(_FORMS))))
        self.iban = "DE" + _digits(draw, 20)
        self.share = draw.paretovariate(1.2)
        self._style, self._last = draw.choice(_STYLES), draw.randint(1, 9000)

    def number(self, draw: random.Random) -> str:
        """Return the number of its next invoice."""
        self._last += draw.randint(1, 5)
        return self._style.format(self._last)


def _orders(draw: random.Random, rates: _Rates, vendors: list[_Vendor]) -> list[dict[str, Any]]:
    orders: list[dict[str, Any]] = []
    for _ in range(ORDERS):
        vendor = draw.choices(vendors, [each.share for each in vendors])[0].id
        quantity, price = draw.randint(1, 200), max(0.01, round(math.exp(draw.gauss(3, 1.2)), 2))
        goods = draw.random() >= rates.services
        if orders and draw.random() < 0.15:  # a standing order
            same = draw.choice(orders)
            vendor, quantity, price, goods = (same[name] for name in ("vendor_id", "quantity", "unit_price", "goods"))
        orders.append(
            {
                "po": "45" + _digits(draw, 8),
                "vendor_id": vendor,
                "date": (START + timedelta(draw.randint(0, 180))).isoformat(),
                "quantity": quantity,
                "unit_price": price,
                "currency": "EUR",
                "goods": goods,
            }
        )
    return orders


def _deliveries(draw: random.Random, rates: _Rates, order: dict[str, Any], vendor: _Vendor) -> Iterator[Event]:
    """Yield the receipts and invoices of an order: goods in one or two parts, services month by month."""
    parts = [order["quantity"]]
    if not order["goods"]:
        months = min(order["quantity"], draw.randint(2, 6))
        parts = [order["quantity"] // months] * months
    elif draw.random() < rates.partial and order["quantity"] > 3:
        first = draw.randint(1, order["quantity"] - 1)
        parts = [first, order["quantity"] - first]
    if draw.random() < 0.06:
        parts.pop()  # not invoiced yet
    day = date.fromisoformat(order["date"])
    for quantity in parts:
        day += timedelta(draw.randint(3, 40) if order["goods"] else 30)
        price, received, reason = order["unit_price"], quantity, ""
        chance = draw.random()
        if chance < rates.price:
            price, reason = round(price * (1 + draw.choice((0.03, 0.05, 0.1, 0.25))), 2), "price"
        elif chance < rates.price + rates.quantity and order["goods"]:
            received, reason = max(0, quantity - draw.randint(1, max(1, quantity // 4))), "quantity"
        elif chance < rates.price + rates.quantity + rates.rounding:
            price = round(price * (1 + draw.uniform(-0.01, 0.01)), 2)
        if order["goods"]:
            came = day - timedelta(draw.randint(0, 2))
            yield Event(came, "receipt", {"po": order["po"], "date": came.isoformat(), "quantity": received})
        net = round(quantity * price, 2)
        freight = draw.choice((9.9, 15.0, 25.0, 49.0)) if draw.random() < rates.freight else 0.0
        iban = vendor.iban
        if draw.random() < rates.forged:
            iban, reason = "LT" + _digits(draw, 18), "bank"
        invoice = {
            "number": vendor.number(draw),
            "vendor_name": _alias(draw, vendor.name) if draw.random() < rates.alias else vendor.name,
            "date": day.isoformat(),
            "po_number": _as_printed(draw, rates, order["po"]),
            "quantity": quantity,
            "unit_price": price,
            "freight": freight,
            "total": round(net + freight, 2),
            "iban": iban,
            "currency": "EUR",
        }
        due = round(min(quantity, received) * order["unit_price"], 2)
        loss = {"": 0.0, "bank": invoice["total"]}.get(reason, max(0.0, net - due))
        yield Event(day, "invoice", invoice, Truth(order["po"], reason, loss))
        if draw.random() < rates.duplicate:
            yield _duplicate(draw, day, invoice, order["po"])


def _duplicate(draw: random.Random, day: date, invoice: dict[str, Any], po: str) -> Event:
    later = day + timedelta(draw.randint(2, 30))
    again = {**invoice, "date": later.isoformat()}
    chance = draw.random()
    if chance < 0.4:
        again["number"] += draw.choice(("A", "-1", "R", "."))
    elif chance < 0.6:
        again["number"] = _misread(draw, again["number"])
    if draw.random() < 0.3:
        again["vendor_name"] = _alias(draw, again["vendor_name"])
    return Event(later, "invoice", again, Truth(po, "duplicate", again["total"]))


def _bogus(draw: random.Random, vendor: _Vendor) -> Event:
    """Return an invoice that belongs to no order."""
    day, total = START + timedelta(draw.randint(10, 200)), max(0.01, round(math.exp(draw.gauss(5, 1)), 2))
    invoice = {
        "number": f"X{draw.randint(1000, 9999)}",
        "vendor_name": _alias(draw, vendor.name),
        "date": day.isoformat(),
        "po_number": "" if draw.random() < 0.6 else "45" + _digits(draw, 8),
        "quantity": 1,
        "unit_price": total,
        "freight": 0.0,
        "total": total,
        "iban": vendor.iban,
        "currency": "EUR",
    }
    return Event(day, "invoice", invoice, Truth(None, "no_order", total))


def _as_printed(draw: random.Random, rates: _Rates, po: str) -> str:
    """Return an order's number as it stands on an invoice: perhaps missing, misread, or with a prefix."""
    if draw.random() < rates.unnumbered:
        return ""
    if draw.random() < rates.misread:
        po = _misread(draw, po)
    return draw.choice(_PREFIXES) + po if draw.random() < 0.2 else po


def _misread(draw: random.Random, text: str) -> str:
    """Return a text with one character replaced, swapped, lost or added."""
    at, chance = draw.randrange(len(text)), draw.random()
    if chance < 0.3:
        return text[:at] + _MISREAD.get(text[at], _digits(draw, 1)) + text[at + 1 :]
    if chance < 0.5 and at + 1 < len(text):
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if chance < 0.7:
        return text[:at] + text[at + 1 :]
    return text[:at] + _digits(draw, 1) + text[at if chance < 0.85 else at + 1 :]


def _alias(draw: random.Random, name: str) -> str:
    """Return another spelling of a vendor's name."""
    chance = draw.random()
    if chance < 0.3 and " " in name:
        return name.rpartition(" ")[0]
    if chance < 0.5:
        return name.upper()
    if chance < 0.7:
        at = draw.randrange(len(name))
        return name[:at] + name[at + 1 :]
    return " ".join(_SHORT.get(word, word) for word in name.split())


def _digits(draw: random.Random, count: int) -> str:
    return "".join(draw.choice("0123456789") for _ in range(count))

"""Decide, invoice by invoice, which order it belongs to and whether it is paid without a person.

The score program sends what happens in the order of time: orders, goods receipts and invoices. `Matcher` hears them and
decides each invoice at once. The trial calls `learn` with sample worlds and their truth; what it returns is saved, and
each `Matcher` gets it.

By hand: `python prepare.py && python match.py && python score.py`.
"""

import json
import os
import re
from collections import Counter, defaultdict
from difflib import SequenceMatcher
from pathlib import Path

TOLERANCE = 0.05  # mesh: 0.001..0.2 log
NAME_SIMILARITY = 0.95  # mesh: 0.5..1.0
NUMBER_SIMILARITY = 1.0  # mesh: 0.5..1.0
ORDER_SIMILARITY = 1.0  # mesh: 0.5..1.0
CLEAN_ORDER = False
BY_AMOUNT = False
CHECK_RECEIPT = False
CHECK_BANK = False
DUPLICATES = False


def learn(worlds: list[dict]) -> dict:
    """Return what sample worlds teach, as JSON.

    Args:
        worlds: each `{"vendors": [...], "events": [...]}`; the events are those that a `Matcher` hears, and those of
            invoices have a `truth`: `po`, `reason` ("" if it is to be paid) and `loss`.
    """
    return {}


class Matcher:
    """What a company knows on a day: its vendors, its orders so far, what was received, which invoices came."""

    def __init__(self, vendors: list[dict], learned: dict) -> None:
        self.vendors = {each["id"]: (plain(each["name"]), each["iban"]) for each in vendors}
        self.orders: dict[str, dict] = {}
        self.of_vendor: defaultdict[str, list[dict]] = defaultdict(list)
        self.received: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.seen: defaultdict[tuple, list[str]] = defaultdict(list)
        self.known: dict[str, str | None] = {}

    def order(self, order: dict) -> None:
        """Hear of an order: `po`, `vendor_id`, `date`, `quantity`, `unit_price`, `currency`, `goods`.

        `goods` is false for services, which nobody receives.
        """
        self.orders[order["po"]] = order
        self.of_vendor[order["vendor_id"]].append(order)

    def receipt(self, receipt: dict) -> None:
        """Hear of a goods receipt: `po`, `date`, `quantity`."""
        self.received[receipt["po"]] += receipt["quantity"]

    def decide(self, invoice: dict) -> dict:
        """Return `{"po": number or None, "action": "pay" or "hold"}` for an invoice.

        It has `number`, `vendor_name`, `date`, `po_number`, `quantity`, `unit_price`, `freight`, `total`, `iban`, and
        `currency`.
        """
        vendor = self.vendor(invoice["vendor_name"])
        order = self.find(invoice, vendor)
        pays = order is not None and difference(invoice, order) <= TOLERANCE
        if order and CHECK_RECEIPT:
            allowed = self.received[order["po"]] if order["goods"] else order["quantity"]
            pays &= self.paid[order["po"]] + invoice["quantity"] <= allowed
        if vendor and CHECK_BANK:
            pays &= invoice["iban"] == self.vendors[vendor][1]
        alike = self.seen[vendor, invoice["total"]]
        if DUPLICATES:
            pays &= all(likeness(number, invoice["number"]) < NUMBER_SIMILARITY for number in alike)
        alike.append(invoice["number"])
        if pays:
            self.paid[order["po"]] += invoice["quantity"]
        return {"po": order and order["po"], "action": "pay" if pays else "hold"}

    def find(self, invoice: dict, vendor: str | None) -> dict | None:
        """Return the order of an invoice, None if there is none or it is not clear."""
        printed = cleaned(invoice["po_number"]) if CLEAN_ORDER else invoice["po_number"]
        if printed in self.orders or not vendor:
            return self.orders.get(printed)
        orders = self.of_vendor[vendor]
        if printed and ORDER_SIMILARITY < 1:
            nearest = max(orders, key=lambda order: likeness(printed, order["po"]), default=None)
            return nearest if nearest and likeness(printed, nearest["po"]) >= ORDER_SIMILARITY else None
        if not printed and BY_AMOUNT:
            fits = [
                order for order in orders if difference(invoice, order) <= TOLERANCE and self.has_room(order, invoice)
            ]
            return fits[0] if len(fits) == 1 else None
        return None

    def has_room(self, order: dict, invoice: dict) -> bool:
        """Tell whether an order has so much left to be invoiced."""
        return self.paid[order["po"]] + invoice["quantity"] <= order["quantity"]

    def vendor(self, name: str) -> str | None:
        """Return the id of the vendor with the most similar name, None if no name is similar enough."""
        name = plain(name)
        if name not in self.known:
            nearest = max(self.vendors, key=lambda vendor: likeness(name, self.vendors[vendor][0]))
            self.known[name] = nearest if likeness(name, self.vendors[nearest][0]) >= NAME_SIMILARITY else None
        return self.known[name]


def plain(name: str) -> str:
    """Return a vendor's name in small letters and digits, without the form of the company."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"\b(gmbh|ltd|inc|llc|s\.a\.|bv|ag|plc|oy|sarl)(?!\w)", "", name.lower()))


def cleaned(printed: str) -> str:
    """Return an order's number without prefixes, and with letters that were read for digits turned back."""
    found = re.sub(r"[^0-9A-Z]", "", printed.upper().replace("ORDER", "").replace("PO", ""))
    return found.translate(str.maketrans("OISB", "0158"))


def difference(invoice: dict, order: dict) -> float:
    """Return by which part the price of an invoice differs from that of an order."""
    return abs(invoice["unit_price"] / order["unit_price"] - 1)


def likeness(a: str, b: str) -> float:
    """Return how similar two texts are, 0 to 1."""
    return SequenceMatcher(None, a, b).ratio()


def main() -> None:
    """Learn from the sample worlds and save it."""
    data, out = Path(os.environ.get("MESH_DATA", "data/public")), Path(os.environ.get("MESH_OUT", "out"))
    learned = learn([json.loads(path.read_text()) for path in sorted(data.glob("world-*.json"))])
    out.mkdir(parents=True, exist_ok=True)
    (out / "learned.json").write_text(json.dumps(learned))


if __name__ == "__main__":
    main()

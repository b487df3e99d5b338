"""What happens in a company, and what is right about its invoices; used by the score program and what prepares data."""

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal


@dataclass(frozen=True)
class Truth:
    """What is right about an invoice.

    Args:
        po: number of its order, None if it has none or nobody knows.
        reason: why it must not be paid; "" if it is to be paid. Worlds that are drawn have the reasons `price`,
            `quantity`, `bank`, `duplicate` and `no_order`.
        loss: EUR that are paid too much if it is paid.
    """

    po: str | None
    reason: str = ""
    loss: float = 0.0


@dataclass(frozen=True)
class Event:
    """What happens on a day: `what` with its fields, as JSON; an invoice that counts has its truth too."""

    day: date
    what: Literal["order", "receipt", "invoice"]
    fields: dict[str, Any]
    truth: Truth | None = None


KINDS = ("order", "receipt", "invoice")
"""The order of what happens on one day."""

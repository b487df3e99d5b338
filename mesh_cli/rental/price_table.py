"""`mesh prices`: the rows that are asked for, and the table for people."""

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from typing import Any

from mesh.errors import BadInput
from mesh.gpu_models import gpu_model, is_same_gpu
from mesh.gpu_prices import OLD_DAYS, GpuPrice, newest
from mesh.text import printable
from mesh_cli.render.columns import Column, aligned

_COLUMNS = (
    Column("gpu"),
    Column("GB", right=True, rank=4),
    Column("provider"),
    Column("offer", fills=True),
    Column("gpus", right=True, rank=2),
    Column("$/GPU-h", right=True),
    Column("spot", right=True),
    Column("seen", rank=1),
    Column("age", right=True),
    Column("source", rank=5),
)


def price_rows(
    prices: Sequence[GpuPrice], *, gpu: str = "", spot: bool = False, provider: str = "", superseded: bool = False
) -> list[GpuPrice]:
    """Return the prices that are asked for, the cheapest of each GPU first.

    Args:
        prices: the table.
        gpu: only of this GPU; a name without form and memory means all of them.
        spot: only offers with a spot price, in the order of these.
        provider: only of this provider.
        superseded: also what the same offer cost before.

    Raises:
        BadInput: there is none.
    """
    found = [price for price in (prices if superseded else newest(prices)) if not gpu or _is_named(price, gpu)]
    if gpu and not found:
        raise BadInput(f"no price of {gpu[:60]!r} is known; there are {_named(price.gpu for price in prices)}")
    if provider:
        found = [price for price in found if price.provider == provider.lower()]
        if not found:
            raise BadInput(
                f"no such price of {provider[:60]!r} is known; there are {_named(p.provider for p in prices)}"
            )
    if spot and not (found := [price for price in found if price.spot_usd is not None]):
        raise BadInput("no spot price is known of what you ask for; leave out --spot")
    return sorted(found, key=lambda price: (price.gpu, _least(price, spot=spot)))


def price_facts(prices: Iterable[GpuPrice], today: dt.date) -> list[dict[str, Any]]:
    """Return prices as JSON values, with their age in days and whether that is old."""
    return [
        {
            "gpu": price.gpu,
            "memory_gb": price.memory_gb,
            "provider": price.provider,
            "tier": price.tier,
            "gpus": price.gpus,
            "on_demand_usd_per_gpu_h": price.on_demand_usd,
            "spot_usd_per_gpu_h": price.spot_usd,
            "seen": price.seen,
            "age_days": price.age_days(today),
            "is_old": price.age_days(today) > OLD_DAYS,
            "source": price.source,
        }
        for price in prices
    ]


def price_lines(prices: Sequence[GpuPrice], today: dt.date, width: int | None) -> list[str]:
    """Return a table of prices; an old age is marked."""
    cells = [
        [
            printable(price.gpu),
            "" if price.memory_gb is None else f"{price.memory_gb:g}",
            printable(price.provider),
            printable(price.tier),
            f"{price.gpus:g}" if price.gpus else "",
            usd_words(price.on_demand_usd),
            usd_words(price.spot_usd),
            printable(price.seen),
            age_words(price, today),
            printable(price.source),
        ]
        for price in prices
    ]
    return aligned(_COLUMNS, cells, width)


def age_remark(prices: Iterable[GpuPrice], today: dt.date) -> str:
    """Return in a sentence that prices are old; "" where none is."""
    old = sum(price.age_days(today) > OLD_DAYS for price in prices)
    if not old:
        return ""
    many = "1 price is" if old == 1 else f"{old} prices are"
    return (
        f"{many} older than {OLD_DAYS} days (!): they may have changed by half; `mesh prices --update` reads a new list"
    )


def age_words(price: GpuPrice, today: dt.date) -> str:
    """Return the age of a price in days, with a mark where it is old."""
    days = price.age_days(today)
    return f"{days} d{' !' if days > OLD_DAYS else ''}"


def usd_words(usd: float | None) -> str:
    """Return dollars as a cell; "-" where they are unknown."""
    return "-" if usd is None else f"{usd:.2f}" if usd >= 0.1 or not usd else f"{usd:.3g}"


def _is_named(price: GpuPrice, word: str) -> bool:
    wanted = gpu_model(word)
    return price.gpu.lower() == word.lower() or (bool(wanted.family) and is_same_gpu(price.model, wanted))


def _least(price: GpuPrice, *, spot: bool) -> float:
    usd = price.usd(spot=spot)
    return math.inf if usd is None else usd


def _named(names: Iterable[str]) -> str:
    return ", ".join(sorted({printable(name, 40) for name in names}))

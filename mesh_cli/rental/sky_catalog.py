"""Reads a price list of SkyPilot (schema v8, one CSV file per provider) as prices per GPU. Pure.

Its prices are per instance, and it has a row per region and zone; of an instance, the cheapest region is kept. Its rows
of a GPU without an instance (Google's) are not the price of a machine and are left out, as are machines without a GPU.
Its `GpuInfo` gives memory in MiB or, under the same name, in GiB, of one GPU or of all of them: where that cannot be
told from the list, the memory stays unknown.
"""

import ast
import math
from collections import defaultdict
from typing import Any

import msgspec

from mesh.errors import BadInput
from mesh.gpu_prices import GpuPrice, check_fields, csv_rows, price_number, real_spot

_COLUMNS = ("InstanceType", "AcceleratorName", "AcceleratorCount", "GpuInfo", "Price", "SpotPrice", "Region")
_FEWEST_MIB = 1024
"""A GPU has more MiB than this; a smaller number is in GiB."""


class SkyCatalog(msgspec.Struct, frozen=True):
    """The prices of a list, and how many of its rows with a GPU are no price of a machine."""

    prices: list[GpuPrice]
    left_out: int


def is_sky_catalog(text: str) -> bool:
    """Tell whether a file begins as a list of SkyPilot does."""
    header = text.partition("\n")[0]
    return "InstanceType" in header and "AcceleratorName" in header


def read_sky_catalog(text: str, name: str, *, provider: str, seen: str, source: str) -> SkyCatalog:
    """Return the prices of a list.

    Args:
        text: the list as CSV.
        name: what it is called in errors.
        provider: whose prices these are, which the list does not say.
        seen: the day on which it was read or saved, which it does not say either.
        source: where it comes from.

    Raises:
        BadInput: a line of it is not valid, or it has no price of a machine with a GPU.
    """
    best: dict[tuple[str, str, float], GpuPrice] = {}
    left_out = 0
    for number, row in csv_rows(text, name, _COLUMNS):
        try:
            price = _price(row, provider=provider.lower(), seen=seen, source=source) if row["AcceleratorName"] else None
        except BadInput as error:
            raise BadInput(f"{name}, line {number}: {error}") from None
        if price is None:
            left_out += bool(row["AcceleratorName"])
            continue
        key = price.gpu, row["InstanceType"], price.gpus
        if key not in best or _order(price) < _order(best[key]):
            best[key] = price
    if not best:
        raise BadInput(f"{name} has no price of a machine with a GPU")
    return SkyCatalog(_with_memory(list(best.values())), left_out)


def _price(row: dict[str, str], *, provider: str, seen: str, source: str) -> GpuPrice | None:
    check_fields(row, ("InstanceType", "AcceleratorName", "Region"))
    gpus = price_number(row["AcceleratorCount"], "AcceleratorCount")
    if not gpus:
        raise BadInput(f"AcceleratorCount is {row['AcceleratorCount'][:40]!r}; {row['AcceleratorName'][:40]} needs one")
    on_demand, spot = (price_number(row[column], column) or None for column in ("Price", "SpotPrice"))
    spot = real_spot(on_demand, spot)
    if not row["InstanceType"] or (on_demand is None and spot is None):
        return None
    return GpuPrice(
        gpu=row["AcceleratorName"],
        memory_gb=_memory_gb(row["GpuInfo"], gpus),
        provider=provider,
        tier=" ".join(filter(None, [row["InstanceType"], row["Region"]]))[:200],
        gpus=gpus,
        on_demand_usd=None if on_demand is None else round(on_demand / gpus, 6),
        spot_usd=None if spot is None else round(spot / gpus, 6),
        seen=seen,
        source=source[:200],
    )


def _order(price: GpuPrice) -> tuple[float, float]:
    return tuple(math.inf if usd is None else usd for usd in (price.on_demand_usd, price.spot_usd))  # type: ignore[return-value]


def _memory_gb(info: str, gpus: float) -> float | None:
    """Return the memory of one GPU in GiB; None where the list does not say it, or not of which GPUs."""
    try:
        said: Any = ast.literal_eval(info)
        size, total = float(said["Gpus"][0]["MemoryInfo"]["SizeInMiB"]), float(said["TotalGpuMemoryInMiB"])
    except (ValueError, SyntaxError, TypeError, LookupError, MemoryError, RecursionError):
        return None
    if not 0 < size < 1e9 or (gpus != 1 and size == total):
        return None  # of several GPUs, some lists repeat the memory of one here, and others that of all
    return float(round(size if size < _FEWEST_MIB else size / 1024))


def _with_memory(prices: list[GpuPrice]) -> list[GpuPrice]:
    """Give several GPUs the memory that the same list says of one of them, where it says only one."""
    known = defaultdict[str, set[float]](set)
    for price in prices:
        if price.memory_gb is not None:
            known[price.gpu].add(price.memory_gb)

    def complete(price: GpuPrice) -> GpuPrice:
        said = known[price.gpu]
        is_clear = price.memory_gb is None and len(said) == 1
        return msgspec.structs.replace(price, memory_gb=next(iter(said))) if is_clear else price

    return [complete(price) for price in prices]

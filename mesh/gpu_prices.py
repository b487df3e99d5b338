"""What GPUs cost to rent: a table that comes with the mesh, or that the user has put in its place.

The table is `gpu-prices.csv` beside this module: facts with their date and source, in dollars per GPU-hour. The mesh
never refreshes it by itself: prices of a day differ by half from those of the next, so each is shown with its age.
`mesh prices --update` keeps another table in the home.

An empty price is unknown. A spot price of 0, or one that is not below the price on demand, means that there is no spot.
"""

import csv
import datetime as dt
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path

import msgspec

from mesh.errors import BadInput
from mesh.gpu_models import GpuModel, gpu_model, is_same_gpu

PRICE_COLUMNS = (
    *("gpu", "memory_gb", "provider", "tier", "gpus_per_instance"),
    *("on_demand_usd_per_gpu_h", "spot_usd_per_gpu_h", "seen", "source"),
)
SHIPPED = Path(__file__).with_name("gpu-prices.csv")
OLD_DAYS = 30
"""Age from which a price is marked as old."""
_LONGEST = 200
"""Characters of a field."""
_DATE = re.compile(r"(\d{4})-(\d{2})(?:-(\d{2}))?(?:/\d{4}-\d{2}(?:-\d{2})?)?", re.ASCII)


class GpuPrice(msgspec.Struct, frozen=True, kw_only=True):
    """One price of one GPU, in dollars per GPU-hour.

    Attributes:
        gpu: its name in the price list; `cpu-8` and the like are machines without one.
        memory_gb: of one GPU; None is unknown.
        provider: who lets it, in lower case.
        tier: the instance, or the kind of offer: `secure`, `p5.48xlarge us-east-1`.
        gpus: how many one instance has.
        on_demand_usd: None is unknown.
        spot_usd: None where there is none.
        seen: when: a day, a month, or a span between two; it was seen at some time in it.
        source: who says so.
    """

    gpu: str
    memory_gb: float | None
    provider: str
    tier: str
    gpus: float
    on_demand_usd: float | None
    spot_usd: float | None
    seen: str
    source: str

    @property
    def model(self) -> GpuModel:
        """What its name says, and else that of the instance: some lists name the form only there."""
        named = gpu_model(self.gpu, self.memory_gb)
        return named if named.form else msgspec.structs.replace(named, form=gpu_model(self.tier).form)

    def usd(self, *, spot: bool) -> float | None:
        """Return the price on demand, or of spot."""
        return self.spot_usd if spot else self.on_demand_usd

    def age_days(self, today: dt.date) -> int:
        """Return for how many days at most it has been known."""
        return max(0, (today - _first_day(self.seen)).days)


class TablePrice(msgspec.Struct, frozen=True):
    """What a whole machine costs per hour, and who says so."""

    usd_per_hour: float
    source: str


def prices_file(home: Path) -> Path:
    """Return the file of the table that the user has put in place of the one that comes with the mesh."""
    return home / "gpu-prices.csv"


def known_prices(home: Path) -> list[GpuPrice]:
    """Return the prices of the user's table, else of the one that comes with the mesh.

    Raises:
        BadInput: the user's table is not valid any more.
    """
    path = prices_file(home)
    try:
        text = (path if path.is_file() else SHIPPED).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read ({error}): delete it, or put another in its place") from None
    return read_gpu_prices(text, str(path))


def read_gpu_prices(text: str, name: str) -> list[GpuPrice]:
    """Return the prices of a table with the columns `PRICE_COLUMNS`, in any order.

    Args:
        text: the table as CSV.
        name: what the table is called in errors.

    Raises:
        BadInput: a line of it is not valid, or it has none.
    """
    found = []
    for number, row in csv_rows(text, name, PRICE_COLUMNS):
        try:
            found.append(_price(row))
        except BadInput as error:
            raise BadInput(f"{name}, line {number}: {error}") from None
    if not found:
        raise BadInput(f"{name} has no prices, only a header")
    return found


def csv_rows(text: str, name: str, needed: Sequence[str]) -> Iterable[tuple[int, dict[str, str]]]:
    """Yield the rows of a CSV file with a header, each with the number of its line.

    Raises:
        BadInput: it lacks a column, a row has too few or too many fields, or it is not CSV.
    """
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        header = [column.strip() for column in next(reader, [])]
        if missing := [column for column in needed if column not in header]:
            raise BadInput(f"{name}, line 1: there is no column {missing[0]}; the columns are {', '.join(needed)}")
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise BadInput(f"{name}, line {reader.line_num}: {len(row)} fields, but the header has {len(header)}")
            yield reader.line_num, {column: field.strip() for column, field in zip(header, row, strict=True)}
    except csv.Error as error:
        raise BadInput(f"{name}, line {reader.line_num}: not CSV: {error}") from None


def written(prices: Iterable[GpuPrice]) -> str:
    """Return a table as text, which `read_gpu_prices` reads again."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(PRICE_COLUMNS)
    for p in prices:
        numbers = [_plain(number) for number in (p.memory_gb, p.gpus, p.on_demand_usd, p.spot_usd)]
        writer.writerow([p.gpu, numbers[0], p.provider, p.tier, *numbers[1:], p.seen, p.source])
    return out.getvalue()


def newest(prices: Iterable[GpuPrice]) -> list[GpuPrice]:
    """Return of the prices of one offer the one that was seen last, in the order of the table."""
    last: dict[tuple[str, str, str, float], GpuPrice] = {}
    for price in prices:
        key = price.gpu, price.provider, price.tier, price.gpus
        if key not in last or _first_day(price.seen) >= _first_day(last[key].seen):
            last[key] = price
    return list(last.values())


def offers_of(prices: Iterable[GpuPrice], device: str, memory_gb: float | None = None) -> list[GpuPrice]:
    """Return the newest offers of a GPU.

    Args:
        prices: the table.
        device: the name of the GPU, by its driver or in a price list.
        memory_gb: of one GPU; None is unknown.
    """
    wanted = gpu_model(device, memory_gb)
    return [price for price in newest(prices) if wanted.family and is_same_gpu(price.model, wanted)]


def machine_price(
    prices: Sequence[GpuPrice],
    *,
    provider: str,
    instance: str = "",
    device: str,
    memory_mb: float = 0,
    gpus: int = 1,
    spot: bool = False,
) -> TablePrice:
    """Return what a machine of a provider costs.

    Args:
        prices: the table.
        provider: who lets it.
        instance: the tier of the table, or its first word; "" where the provider has only one.
        device: the name of its GPUs.
        memory_mb: of one GPU, in MiB; 0 is unknown.
        gpus: how many it has.
        spot: whether it is a spot machine.

    Raises:
        BadInput: the table has no such price, or several.
    """
    table = [price for price in prices if price.provider == provider.lower()]
    if not table:
        known = ", ".join(sorted({price.provider for price in prices}))
        raise BadInput(f"--provider is {provider[:40]}, of which no price is known; there are {known}; or use --price")
    offers = offers_of(table, device, memory_mb / 1024 or None)
    if not offers:
        raise BadInput(f"no price of {device[:60]} at {provider} is known: give --price, in dollars per hour")
    if instance:
        named = [price for price in offers if instance.lower() in _names(price.tier)]
        if not named:
            raise BadInput(f"{provider} has no {instance[:60]} with {device[:60]}; there is {_tiers(offers)}")
        offers = named
    offers = [price for price in offers if price.gpus == gpus] or offers
    found = {usd: price for price in offers if (usd := price.usd(spot=spot)) is not None}
    if not found:
        kind = "spot" if spot else "on demand"
        raise BadInput(f"{provider} has no price of {device[:60]} {kind}: give --price, in dollars per hour")
    if len(found) > 1:
        raise BadInput(f"{provider} has several prices of {device[:60]}: name --instance, one of {_tiers(offers)}")
    [(usd, price)] = found.items()
    about = " ".join(filter(None, [price.provider, price.tier, price.gpu, "spot" if spot else ""]))
    return TablePrice(round(usd * gpus, 6), f"{about}, seen {price.seen}: {price.source}"[:_LONGEST])


def _price(row: dict[str, str]) -> GpuPrice:
    for column in ("gpu", "provider", "source"):
        if not row[column]:
            raise BadInput(f"{column} is empty")
    check_fields(row, PRICE_COLUMNS)
    on_demand, spot = (_number(row, column) for column in ("on_demand_usd_per_gpu_h", "spot_usd_per_gpu_h"))
    spot = real_spot(on_demand, spot)
    if on_demand is None and spot is None:
        raise BadInput("there is neither a price on demand nor of spot")
    _first_day(row["seen"])
    return GpuPrice(
        gpu=row["gpu"],
        memory_gb=_number(row, "memory_gb") or None,
        provider=row["provider"].lower(),
        tier=row["tier"],
        gpus=_number(row, "gpus_per_instance") or 0,
        on_demand_usd=on_demand,
        spot_usd=spot,
        seen=row["seen"],
        source=row["source"],
    )


def check_fields(row: Mapping[str, str], columns: Iterable[str]) -> None:
    """Check that fields of a row can be shown.

    Raises:
        BadInput: one is too long, or has control characters.
    """
    for column in columns:
        if len(row[column]) > _LONGEST or not row[column].isprintable():
            raise BadInput(f"{column} has more than {_LONGEST} characters, or ones that cannot be printed")


def real_spot(on_demand: float | None, spot: float | None) -> float | None:
    """Return a spot price if it is one: lists write 0, or the price on demand, where there is none."""
    return None if not spot or (on_demand is not None and spot >= on_demand) else spot


def _number(row: dict[str, str], column: str) -> float | None:
    return price_number(row[column], column)


def price_number(text: str, what: str) -> float | None:
    """Return a number of a table, None where it is empty.

    Raises:
        BadInput: it is not a number of 0 or more, below a million.
    """
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1e6:
        raise BadInput(f"{what} is {text[:40]!r}; write a number from 0 to below a million, or nothing")
    return value


def _first_day(seen: str) -> dt.date:
    """Return the first day on which something may have been seen."""
    if (found := _DATE.fullmatch(seen)) is not None:
        try:
            day = dt.date(int(found[1]), int(found[2]), int(found[3] or 1))
        except ValueError:
            day = dt.date.max
        if day <= dt.datetime.now(dt.UTC).date() + dt.timedelta(days=2):
            return day
    raise BadInput(f"seen is {seen[:40]!r}; write a day that has been, such as 2026-11-09, or a month, 2026-11")


def _names(tier: str) -> set[str]:
    return {tier.lower(), tier.lower().partition(" ")[0]}


def _tiers(offers: Iterable[GpuPrice]) -> str:
    return ", ".join(sorted({f"{price.tier or 'one'} (x{price.gpus:g})" for price in offers}))


def _plain(number: float | None) -> str:
    return "" if number is None else f"{number:.6f}".rstrip("0").rstrip(".") or "0"

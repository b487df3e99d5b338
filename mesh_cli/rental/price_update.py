"""`mesh prices --update`: reads another price list, checks all of it, and then puts it into the home's table."""

import datetime as dt
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from mesh import settings
from mesh.atomic_write import atomic_write
from mesh.errors import BadInput
from mesh.gpu_prices import GpuPrice, known_prices, prices_file, read_gpu_prices, written
from mesh_cli.rental.sky_catalog import is_sky_catalog, read_sky_catalog

_MOST_BYTES = 64_000_000
_TIMEOUT_S = 60.0


class Update(msgspec.Struct, frozen=True):
    """What was put into the table of the file `path`; `left_out` rows with a GPU are no price of a machine."""

    providers: list[str]
    prices: int
    left_out: int
    path: Path


class _List(msgspec.Struct, frozen=True):
    text: str
    day: dt.date
    parts: tuple[str, ...]


def update_prices(home: Path, source: str, provider: str = "") -> Update:
    """Put the prices of a list into the table of the home; those of other providers stay.

    Args:
        home: the home.
        source: a file, or an address that begins with http.
        provider: whose prices a list of SkyPilot has; by default its folder is named after the provider.

    Raises:
        BadInput: the list cannot be read or is not valid, and nothing was changed.
    """
    found, left_out = _fetched(source) if _is_address(source) else _opened(Path(source)), 0
    if is_sky_catalog(found.text):
        whose = provider or (found.parts[-2] if len(found.parts) > 1 and found.parts[-1] == "vms.csv" else "")
        if not whose:
            raise BadInput(f"{source[:200]} does not say whose prices it has: name --provider, such as lambda")
        catalog = read_sky_catalog(
            found.text, source[:200], provider=whose, seen=found.day.isoformat(), source=f"SkyPilot catalog {source}"
        )
        prices, left_out = catalog.prices, catalog.left_out
    else:
        prices = read_gpu_prices(found.text, source[:200])
        if provider and not (prices := [price for price in prices if price.provider == provider.lower()]):
            raise BadInput(f"{source[:200]} has no price of --provider {provider[:40]}")
    whose_prices = {price.provider for price in prices}
    kept = [price for price in known_prices(home) if price.provider not in whose_prices]
    _keep(home, sorted([*kept, *prices], key=lambda price: (price.gpu, price.provider)))
    return Update(sorted(whose_prices), len(prices), left_out, prices_file(home))


def _keep(home: Path, prices: list[GpuPrice]) -> None:
    path, text = prices_file(home), written(prices)
    read_gpu_prices(text, str(path))
    try:
        settings.make_home(home)
        with atomic_write(path, durable=True) as beside:
            beside.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror or error}") from None


def _is_address(source: str) -> bool:
    return source.lower().startswith(("http://", "https://"))


def _opened(path: Path) -> _List:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise BadInput(f"{path} has more than {_MOST_BYTES // 1_000_000} MB; a price list is smaller")
        data, modified = path.read_bytes(), path.stat().st_mtime
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from None
    return _List(_decoded(data, str(path)), dt.datetime.fromtimestamp(modified, dt.UTC).date(), path.absolute().parts)


def _fetched(address: str) -> _List:
    try:
        request = urllib.request.Request(address, headers={"User-Agent": "mesh"})
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as reply:
            if not _is_address(reply.url):
                raise BadInput(f"{address[:200]} leads to another kind of address")
            data = reply.read(_MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        error.close()
        raise BadInput(
            f"{address[:200]} cannot be read: the server answers {error.code} {error.reason[:100]}"
        ) from None
    except (OSError, ValueError, HTTPException) as error:  # URLError is an OSError
        why = error.reason if isinstance(error, urllib.error.URLError) else error
        raise BadInput(f"{address[:200]} cannot be read: {str(why)[:200]}") from None
    if len(data) > _MOST_BYTES:
        raise BadInput(f"{address[:200]} has more than {_MOST_BYTES // 1_000_000} MB; a price list is smaller")
    today = dt.datetime.now(dt.UTC).date()
    return _List(_decoded(data, address[:200]), today, tuple(urlsplit(address).path.split("/")))


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{name}, line {line}: not UTF-8") from None

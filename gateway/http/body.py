"""Reads the body of a request and the numbers of its query, with bounds."""

import re
from typing import TypeVar, get_args, get_type_hints

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

_T = TypeVar("_T")
MOST_JSON = 64 * 1024
_FIELD = re.compile(r"`\$\.([\w.\[\]]+)`")


async def bytes_of(request: Request, most: int, too_large: str) -> bytes:
    """Return the body of a request.

    Args:
        request: the request.
        most: the most bytes.
        too_large: the sentence for a larger body.

    Raises:
        HTTPException: 413, it is larger.
    """
    said = request.headers.get("content-length", "")
    if said.isascii() and said.isdigit() and int(said[:18]) > most:
        raise HTTPException(413, too_large, {"Connection": "close"})
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > most:
            raise HTTPException(413, too_large, {"Connection": "close"})
    return bytes(data)


async def json_of(request: Request, kind: type[_T], most: int = MOST_JSON) -> _T:
    """Return the JSON body of a request, whatever its content type; fields that are not known are ignored.

    Raises:
        HTTPException: 400, it is not JSON of this kind; 413, it is too large.
    """
    data = await bytes_of(request, most, f"the body has more than {most:,} bytes, which is the most")
    try:
        found = msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        where = _FIELD.search(str(error))
        field = f"{where[1]}: " if where else ""
        said = str(error).partition(" - at ")[0].replace("`", "")
        allowed = get_args(get_type_hints(kind).get(where[1])) if where and said.startswith("Invalid enum") else ()
        cure = f"; use {', '.join(allowed[:-1])} or {allowed[-1]}" if allowed else ""
        raise HTTPException(400, f"{field}{said}{cure}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise HTTPException(400, "invalid json") from None
    if b"\\u0000" in data and (name := _with_nul(msgspec.to_builtins(found))):
        raise HTTPException(400, f"{name}: it has a NUL character")
    return found


def page_of(request: Request, usual: int = 50, most: int = 1000) -> tuple[int, int]:
    """Return limit and offset of a query; what is not a number from 1, or from 0, on is as if it were not there."""
    limit, offset = (query_number(request, name) for name in ("limit", "offset"))
    return min(limit or usual, most), offset or 0


def query_number(request: Request, name: str) -> int | None:
    """Return a number from 0 on in a query, None without one."""
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _with_nul(value: object, name: str = "") -> str:
    match value:
        case str():
            return name if "\0" in value else ""
        case dict():
            inner = [(f"{name}.{key}" if name else str(key), each) for key, each in value.items()]
            inner += [(str(key)[:40] or "a name", key) for key in value]
        case list() | tuple():
            inner = [(f"{name}[{number}]", each) for number, each in enumerate(value)]
        case _:
            return ""
    return next((found for at, each in inner if (found := _with_nul(each, at))), "")

"""Decodes text that others wrote: TOML and JSON nested to any depth, with numbers of any length, give one error."""

import re
import tomllib
from typing import Any, TypeVar

import msgspec

MAX_NESTING = 50
"""Levels of tables and lists in TOML that is accepted."""

_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*"""
_LONG_NAME = re.compile(rf"(?:^|[{{,])[ \t]*\[{{0,2}}[ \t]*(?:{_NAME}){{{MAX_NESTING}}}", re.MULTILINE)
"""A dotted name of more parts than the levels that are accepted: to parse it takes the square of its length."""

_Kind = TypeVar("_Kind")


def decode_json(data: bytes | str, kind: type[_Kind]) -> _Kind:
    """Return JSON as a value of a type.

    Raises:
        msgspec.DecodeError: it is not JSON, of another type, not UTF-8, or nested too deeply.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (RecursionError, UnicodeError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else "it is not UTF-8"
        raise msgspec.DecodeError(why) from None


def decode_toml(data: bytes) -> dict[str, Any]:
    """Return the tables of a TOML file, which may begin with a byte order mark.

    Raises:
        ValueError: it is not TOML; the message is one sentence.
    """
    try:
        text = data.decode("utf-8-sig")
        if _LONG_NAME.search(text):
            raise ValueError(f"a name has more than {MAX_NESTING} parts")
        tables = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:  # a TOMLDecodeError, or a number of thousands of digits
        raise ValueError(" ".join(str(error).split())[:300]) from None
    level: list[Any] = [tables]
    for _ in range(MAX_NESTING):
        inner = (list(each.values()) if isinstance(each, dict) else each for each in level)
        level = [value for values in inner for value in values if isinstance(value, dict | list)]
        if not level:
            return tables
    raise ValueError(f"it is nested deeper than {MAX_NESTING} levels")

"""Sets keys of a TOML file that a person wrote, and keeps everything else as it is, comments too. Pure."""

import json
import re
from collections.abc import Iterable, Mapping


def with_keys(text: str, keys: Mapping[str, object]) -> str:
    """Return a TOML text in which keys such as `data.source` have these values.

    Args:
        text: TOML whose tables have one-line headers, and whose replaced values are on one line.
        keys: values by `table.key`: text, numbers, yes or no, and lists of these.
    """
    lines = text.splitlines()
    for dotted, value in keys.items():
        table, _, key = dotted.rpartition(".")
        written = f"{key} = {toml_value(value)}"
        start = next((place for place, line in enumerate(lines) if line.split("#")[0].strip() == f"[{table}]"), None)
        if start is None:
            lines += ["", f"[{table}]", written]
            continue
        inside = range(start + 1, _end(lines, start + 1))
        same = [place for place in inside if re.match(rf"\s*{re.escape(key)}\s*=", lines[place])]
        if same:
            lines[same[0]] = written
        else:
            filled = [place for place in inside if lines[place].strip()]
            lines.insert((filled[-1] if filled else start) + 1, written)
    return "\n".join(lines) + "\n"


def _end(lines: list[str], start: int) -> int:
    return next((place for place in range(start, len(lines)) if lines[place].startswith("[")), len(lines))


def toml_value(value: object) -> str:
    """Return a value as TOML."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml_value(each) for each in value)}]"
    if isinstance(value, str):
        return toml_text(value)
    return json.dumps(value)


def toml_text(text: str) -> str:
    """Return a text as a basic string of TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_table(name: Iterable[str], values: Mapping[str, object]) -> list[str]:
    """Return a table as lines of TOML."""
    return [
        f"[{'.'.join(map(_toml_key, name))}]",
        *(f"{_toml_key(key)} = {toml_value(value)}" for key, value in values.items()),
        "",
    ]


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_text(key)

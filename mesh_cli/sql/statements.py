"""Where one SQL statement ends and the next begins: at a `;` outside of strings, names in quotes and comments."""

import re

_TOKEN = re.compile(
    r"""'(?:[^']|'')*(?:'|\Z)  | "(?:[^"]|"")*(?:"|\Z)          # a text, a name: perhaps one that does not end yet
    |   --[^\n]*(?:\n|\Z)      | /\*.*?(?:\*/|\Z)               # comments
    |   \$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)                   # a text between dollars
    |   ;  |  [^'"\-/$;]+  |  .""",
    re.DOTALL | re.VERBOSE,
)


def split(text: str) -> tuple[list[str], str]:
    """Return the statements that end within `text`, without their `;`, and what is left; empty ones are left out."""
    whole: list[str] = []
    parts: list[str] = []
    for match in _TOKEN.finditer(text):
        if match[0] == ";":
            whole.append("".join(parts))
            parts = []
        else:
            parts.append(match[0])
    return [statement.strip() for statement in whole if not is_blank(statement)], "".join(parts)


def is_blank(text: str) -> bool:
    """Tell whether there is nothing but blanks and comments in `text`."""
    return all(not match[0].strip() or match[0].startswith(("--", "/*")) for match in _TOKEN.finditer(text))


def statements(text: str) -> list[str]:
    """Return all statements of a file, the last of which need not end in `;`."""
    whole, rest = split(text)
    return whole if is_blank(rest) else [*whole, rest.strip()]

"""Writes the reference of facts: `python -m mesh.events_page > docs/events.md` (or `make events`).

Names, types and defaults come from the structs of `mesh.events` and `mesh.wire`, meanings from `mesh.meanings`. A test
fails if the page differs from the code, so do not edit the page by hand.
"""

import datetime as dt
import sys
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import inspect

from mesh import bounds, events, wire
from mesh.meanings import meaning

_HEAD = """# Facts

`make events` writes this page from `mesh/events.py` and `mesh/meanings.py`; do not edit it. The log of an arena has
these facts and no others. A fact travels as JSON inside a post. Its tag is the wire type (`event.kind`), a part of the
subject, the SQL value and the command-line word. Of several facts with one key, the first in the log counts. A reader
ignores fields that it does not know, and keeps entries that it cannot decode as raw bytes.

Every field has a bound. If nothing else is written, an integer has 64 bits with a sign, a number is from -1e100 to
1e100, and a text or list is limited by the size of the post, 262,144 bytes. A fact out of its bounds cannot be decoded.
"""

_UNSAID = (None, bounds.MAX_NUMBER, -bounds.MAX_NUMBER, bounds.MAX_INTEGER, -(2**63), bounds.MAX_TEXT, bounds.MAX_ITEMS)
"""Bounds that the head of the page states once."""

_HOW_TO_ADD = """## How to add a fact

1. Write a frozen struct in `mesh/events.py`: a tag in the past tense (`noun.verb`), one sentence about what happened,
   and `key()` from the fields that make it unique. Add it to `AnyEvent`.
2. Write the meaning of each field in `mesh/meanings.py`.
3. Write how it changes the state in `Board._take` (`mesh/board.py`). mypy names every `match` that lacks the new case.
4. Say in `mesh/accounts/rights.py` which roles of a hub's members may post it; none: the hub's own processes alone.
5. Run `make events`, and add a line with the fact to the golden log of the next release (`tests/golden/`).

An existing fact only ever gains fields, each with a default: no rename, no removal, no other type, no narrower bound.
If you need one of these, add a new fact. Never change a file under `tests/golden/`.
"""


def render() -> str:
    """Return the whole page as Markdown."""
    post = inspect.type_info(wire.Post)
    kinds = [inspect.type_info(event) for event in events.KINDS.values()]
    structs = [info for info in (post, *kinds) if isinstance(info, inspect.StructType)]
    envelope, *facts = structs
    sections = [
        _HEAD,
        _contents(events.KINDS),
        f"## The post\n\n{_about(envelope)}\n\n{field_table(envelope)}\n",
        *(_fact(tag, info) for tag, info in zip(events.KINDS, facts, strict=True)),
        "## Values inside facts\n",
        *(f"### {info.cls.__name__}\n\n{_about(info)}\n\n{field_table(info)}\n" for info in _values(facts)),
        _HOW_TO_ADD,
    ]
    return "\n".join(sections)


def _contents(tags: Iterable[str]) -> str:
    return "\n".join(f"* [`{tag}`](#{tag.replace('.', '')})" for tag in tags) + "\n"


def _fact(tag: str, info: inspect.StructType) -> str:
    cls: Any = info.cls
    event = cls(**{field.name: f"<{field.name}>" for field in info.fields})
    post = wire.Post(id="<id>", at=dt.datetime.min.replace(tzinfo=dt.UTC), author="<author>", event=event)
    scope = "one per author" if event.one_per_author else "one per arena"
    return (
        f"## {tag}\n\n{_about(info)}\n\n"
        f"* subject: `{wire.subject_of('<arena>', post)}`\n* key: `{post.key}`, {scope}\n\n{field_table(info)}\n"
    )


def _about(info: inspect.StructType) -> str:
    """Return the docstring of a struct, one line per paragraph."""
    paragraphs = (info.cls.__doc__ or "").strip().split("\n\n")
    if info.array_like:
        paragraphs.append("It travels as a list of its fields in this order.")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def field_table(info: inspect.StructType, column: str = "field") -> str:
    """Return the fields of a struct as a table whose first column is called `column`."""
    rows = [f"| {column} | type | default | meaning |", "|---|---|---|---|"]
    if info.tag_field:
        rows.append(f'| `{info.tag_field}` | `"{info.tag}"` | required | the tag |')
    for field in info.fields:
        cells = (f"`{field.encode_name}`", _type(field.type), _default(field), meaning(info.cls, field.name))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _default(field: inspect.Field) -> str:
    if field.required:
        return "required"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return f"`{msgspec.json.encode(value).decode()}`"


def _type(info: inspect.Type) -> str:
    """Return the type of a field in JSON's terms."""
    match info:
        case inspect.UnionType(types=types):
            if all(isinstance(t, inspect.StructType) and t.cls in events.KINDS.values() for t in types):
                return "a fact"
            return " or ".join(_type(t) for t in types)
        case inspect.LiteralType(values=values):
            return " or ".join(f'`"{value}"`' for value in values)
        case inspect.VarTupleType(item_type=item, max_length=most):
            return f"list of {_most(most)}{_type(item)}"
        case inspect.TupleType(item_types=items):
            return f"[{', '.join(_type(item) for item in items)}]"
        case inspect.DictType(key_type=key, value_type=value, max_length=most):
            return f"object, {_most(most)}{_type(key)} to {_type(value)}"
        case inspect.StructType(cls=cls):
            return f"[{cls.__name__}](#{cls.__name__.lower()})"
        case inspect.IntType() | inspect.FloatType():
            limits = ((">", info.gt), ("≥", info.ge), ("<", info.lt), ("≤", info.le))
            name = "integer" if isinstance(info, inspect.IntType) else "number"
            return " ".join([name, *(f"{sign} {_plain(bound)}" for sign, bound in limits if bound not in _UNSAID)])
        case inspect.StrType(pattern=str(pattern)):
            return f"string {bounds.PATTERNS[pattern]}"
        case inspect.StrType(max_length=most):
            return f"string of {_most(most)}characters" if _most(most) else "string"
        case inspect.BoolType():
            return "boolean"
        case inspect.NoneType():
            return "null"
        case inspect.DateTimeType():
            return "string, RFC 3339 with an offset"
    raise TypeError(f"mesh.events_page cannot describe the type {info}: add a case for it")


def _plain(bound: float) -> str:
    return f"{bound:g}" if bound < 1e6 else f"{bound:,.0f}"


def _most(length: int | None) -> str:
    return "" if length in _UNSAID else f"at most {length:,} "


def _values(facts: Iterable[inspect.StructType]) -> list[inspect.StructType]:
    """Return the structs inside `facts`, each once, in the order in which they first appear."""
    found: dict[type, inspect.StructType] = {}

    def visit(info: object) -> None:
        match info:
            case inspect.StructType(cls=cls) if cls not in found:
                found[cls] = info
                for field in info.fields:
                    visit(field.type)
            case inspect.UnionType(types=types) | inspect.TupleType(item_types=types):
                for inner in types:
                    visit(inner)
            case inspect.VarTupleType(item_type=inner) | inspect.DictType(value_type=inner):
                visit(inner)
            case _:
                pass

    for fact in facts:
        for field in fact.fields:
            visit(field.type)
    return list(found.values())


if __name__ == "__main__":
    sys.stdout.write(render())

"""Checks whether a role may post a fact, and explains in one sentence why not. Pure."""

import math
import re
from typing import Any

import msgspec

from mesh.errors import BadInput
from mesh.events import AnyEvent, kind_of

RESERVED = {
    "agent.joined": "the runtime posts it",
    "agent.left": "the runtime posts it; raise Leaving(reason) to leave",
    "arena.opened": "`mesh open` posts it",
    "worker.joined": "a worker posts it",
    "worker.left": "a worker posts it",
    "run.started": "a worker posts it",
    "run.finished": "a worker posts it",
}
"""Kinds of facts that a role may not post, and who posts them."""


def check_fact(fact: AnyEvent) -> None:
    """Check that a role may post a fact, and that readers can decode its fields.

    Raises:
        BadInput: one sentence with the field, its value and the allowed values.
    """
    kind = kind_of(fact)
    if kind in RESERVED:
        raise BadInput(f"a role may not post {kind}: {RESERVED[kind]}")
    plain = {field: getattr(fact, field) for field in fact.__struct_fields__}
    try:
        tree = msgspec.to_builtins(plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"{kind} cannot be written as JSON: {error}; use the types of docs/events.md") from None
    if found := _not_finite(tree, ""):
        raise BadInput(f"{kind}{found[0]} is {found[1]}; use a finite number")
    try:
        msgspec.convert(tree, type(fact))
    except msgspec.ValidationError as error:
        raise BadInput(_field_trouble(kind, str(error), tree)) from None


def _not_finite(value: Any, path: str) -> tuple[str, float] | None:
    """Return the path and value of the first number that is not finite, as JSON would turn it into null."""
    match value:
        case float():
            return None if math.isfinite(value) else (path, value)
        case dict():
            inner = [(f"{path}.{key}", each) for key, each in value.items()]
        case list() | tuple():
            inner = [(f"{path}[{number}]", each) for number, each in enumerate(value)]
        case _:
            return None
    return next((found for at, each in inner if (found := _not_finite(each, at))), None)


def _field_trouble(kind: str, message: str, tree: Any) -> str:
    """Return a sentence for an error of msgspec such as `Expected `str`, got `int` - at `$.text``."""
    what, _, path = message.partition(" - at `$")
    steps = re.findall(r"\.(\w+)|\[(\d+)\]", path)
    value = tree
    try:
        for name, number in steps:
            value = value[name] if name else value[int(number)]
    except (KeyError, IndexError, TypeError):
        value = ...
    found = "" if value is ... or not steps else f" is {shown(value)}"
    return f"{kind}{path.rstrip('`')}{found}: {what[:1].lower()}{what[1:]}; docs/events.md lists the allowed values"


def shown(value: object) -> str:
    """Return a value and its type as text, short enough for a sentence."""
    text = repr(value)
    return f"{text[:60]}{'…' if text[60:] else ''} ({type(value).__name__})"

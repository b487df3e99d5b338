"""Checks whether a role may post a fact, and explains in one sentence why not. Pure."""

import re
from typing import Any

import msgspec

from mesh.bounds import not_finite, pattern_in_words
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
    if found := not_finite(tree, kind):
        raise BadInput(f"{found}; use a finite number")
    try:
        msgspec.convert(tree, type(fact))
    except msgspec.ValidationError as error:
        raise BadInput(_field_trouble(kind, pattern_in_words(str(error)), tree)) from None


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

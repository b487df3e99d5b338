"""Values that a user gives for knobs, checked: by name, of the right type, in range. Pure."""

import difflib
import math
from collections import Counter
from collections.abc import Mapping, Sequence

from agents.search.samplers.protocol import Values, where
from mesh.errors import BadInput
from mesh.events import Scalar
from mesh.knobs import Knob

_NAMED = 12


def knob_names(space: Sequence[Knob]) -> dict[str, Knob]:
    """Return the knobs by the names that a user calls them: `LR`, or `train.py:LR` where several files have an `LR`."""
    times = Counter(knob.name for knob in space)
    return {knob.name if times[knob.name] == 1 else f"{knob.file}:{knob.name}": knob for knob in space}


def values_by_name(space: Sequence[Knob], values: Values) -> dict[str, Scalar]:
    """Return values by the names of their knobs, without those that are not in the space."""
    return {name: values[where(knob)] for name, knob in knob_names(space).items() if where(knob) in values}


def checked_values(space: Sequence[Knob], given: Mapping[str, object]) -> Values:
    """Return the values that a user gives, by knob.

    Args:
        space: The knobs.
        given: Values by name; `train.py:LR` names the one of a file. Numbers of numpy are numbers.

    Raises:
        BadInput: A name is not one of a knob, or a value is not one that its knob takes.
    """
    if not isinstance(given, Mapping):
        raise BadInput(f"the values are a {type(given).__name__}; use a dict of values by the names of knobs")
    names = knob_names(space)
    every = {f"{knob.file}:{knob.name}": knob for knob in space} | names
    found: Values = {}
    for name, value in given.items():
        if not isinstance(name, str) or name not in every:
            raise BadInput(_unknown(str(name), list(names)))
        knob = every[name]
        found[where(knob)] = _checked(name, knob, value)
    return found


def _unknown(name: str, names: Sequence[str]) -> str:
    if same := [each for each in names if each.endswith(f":{name}")]:
        return f"{name[:60]!r} is a knob of several files; use {' or '.join(same[:_NAMED])}"
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    cure = f"did you mean {near[0]}?" if near else f"use {', '.join(names[:_NAMED])}{more}"
    return f"{name[:60]!r} is not the name of a knob; {cure}"


def _checked(name: str, knob: Knob, given: object) -> Scalar:
    value = given.item() if hasattr(given, "item") and not isinstance(given, str) else given
    if knob.choices:
        for choice in knob.choices:
            if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                return choice
        raise BadInput(f"{name} is {value!r:.60}; use one of {', '.join(map(repr, knob.choices))}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadInput(f"{name} is {value!r:.60}; use a number {_range(knob)}")
    if not math.isfinite(value) or not knob.low <= value <= knob.high:
        raise BadInput(f"{name} is {value!r:.60}; use a number {_range(knob)}")
    if not knob.is_int:
        return float(value)
    if value != int(value):
        raise BadInput(f"{name} is {value!r:.60}; use a whole number {_range(knob)}")
    return int(value)


def _range(knob: Knob) -> str:
    low, high = (int(end) if knob.is_int else end for end in (knob.low, knob.high))
    return f"from {low:g} to {high:g}" if not knob.is_int else f"from {low} to {high}"

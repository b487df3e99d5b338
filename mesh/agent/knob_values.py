"""The values of all knobs of a proposal's files, which its fact carries; `mesh.knobs` says what a knob is."""

from collections.abc import Mapping, Sequence

from mesh.events import KnobValues
from mesh.knobs import knobs_of

MAX_KNOBS = 1000
"""Knobs of a proposal that its fact carries: the first ones, by file and line."""


def knob_values(files: Mapping[str, bytes], editable: Sequence[str]) -> KnobValues:
    """Return the values of all knobs of the editable files, by file and name; at most `MAX_KNOBS`."""
    values: KnobValues = {}
    for knob in knobs_of(files, editable)[:MAX_KNOBS]:
        values.setdefault(knob.file, {})[knob.name] = knob.value
    return values

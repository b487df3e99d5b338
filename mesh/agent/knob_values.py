"""The values of all knobs of a proposal's files, which its fact carries; `mesh.knobs` says what a knob is."""

from collections.abc import Mapping, Sequence

from mesh.events import KnobValues
from mesh.knobs import knobs_of
from mesh.spec import KnobsSpec

_EVERY = KnobsSpec()

MAX_KNOBS = 1000
"""Knobs of a proposal that its fact carries: the first ones, by file and line."""


def knob_values(
    files: Mapping[str, bytes],
    editable: Sequence[str],
    rules: KnobsSpec = _EVERY,
    *,
    base: Mapping[str, bytes] | None = None,
) -> KnobValues:
    """Return the values of all knobs of the editable files, by file and name; at most `MAX_KNOBS`.

    The arguments are those of `knobs_of`.
    """
    values: KnobValues = {}
    for knob in knobs_of(files, editable, rules, base=base)[:MAX_KNOBS]:
        values.setdefault(knob.file, {})[knob.name] = knob.value
    return values

"""The title of a sampler's proposal: what matters of it in one line. Pure."""

from collections.abc import Sequence

from agents.search.samplers.protocol import place, where
from mesh.events import KnobChange, Scalar
from mesh.knobs import Knob

NAMED = 3
"""Knobs that a title names."""

_SPREAD = ("sobol", "random")
"""Samplers that draw every knob from its whole range, so that no knob says more than another."""

_TEXT = 40


def title_of(kind: str, number: int, knobs: Sequence[Knob], changes: Sequence[KnobChange]) -> str:
    """Return `sobol #3: 14 knobs`, or the knobs that moved most for their range with their old and new values.

    Args:
        kind: The name of the sampler.
        number: The how many-th proposal of the sampler it is.
        knobs: The knobs before the changes.
        changes: The changes, at least one.
    """
    if kind in _SPREAD and len(changes) > NAMED:
        return f"{kind} #{number}: {len(changes)} knobs"
    known = {where(knob): knob for knob in knobs}
    by_size = sorted(changes, key=lambda change: -_moved(known.get((change.file, change.name)), change))
    words = [f"{change.name} {_pair(change.old, change.new)}" for change in by_size]
    more = f" and {len(words) - NAMED} more" if words[NAMED:] else ""
    return f"{kind}: {', '.join(words[:NAMED])}{more}"


def _moved(knob: Knob | None, change: KnobChange) -> float:
    """Return how far a knob moved, as a share of its range; a choice moves all the way."""
    if knob is None or knob.choices or isinstance(change.new, bool | str):
        return 1.0
    old, new = (place(knob, value) if value is not None else None for value in (change.old, change.new))
    return 1.0 if old is None or new is None else abs(new - old)


def _pair(old: Scalar | None, new: Scalar | None) -> str:
    """Return two values in the digits that they need to differ."""
    short = _short(old, ".4g"), _short(new, ".4g")
    return " → ".join(short if short[0] != short[1] else (_short(old), _short(new)))


def _short(value: Scalar | None, form: str = "") -> str:
    if value is None:
        return "-"
    text = format(value, form) if isinstance(value, float) else str(value)
    return text if len(text) <= _TEXT else f"{text[: _TEXT - 1]}…"

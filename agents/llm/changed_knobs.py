"""The knobs that a change of files turns. Pure."""

from collections.abc import Mapping

from mesh.editable_paths import editable_paths
from mesh.events import KnobChange
from mesh.knobs import knobs_of
from mesh.spec import ArenaSpec


def changed_knobs(before: Mapping[str, bytes], files: Mapping[str, bytes], spec: ArenaSpec) -> tuple[KnobChange, ...]:
    """Return the knobs whose values the changed files turn.

    Args:
        before: The files before the change, by path.
        files: The changed files.
        spec: The arena.
    """
    editable, rules = editable_paths(spec, before, files), spec.knobs
    old = {(knob.file, knob.name): knob.value for knob in knobs_of(before, editable, rules)}
    after = knobs_of({**before, **files}, editable, rules, base=before)
    new = {(knob.file, knob.name): knob.value for knob in after}
    return tuple(
        KnobChange(file=at[0], name=at[1], old=old[at], new=value)
        for at, value in new.items()
        if at in old and (type(old[at]), old[at]) != (type(value), value)
    )

"""Says in words what a new version of an arena changes: files, rules of `arena.toml`, and what is hidden."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from mesh.spec import ArenaSpec

_SHOWN = 6
"""Names that one list shows."""


def arena_changes(
    before: Mapping[str, bytes],
    after: Mapping[str, bytes],
    old: ArenaSpec,
    new: ArenaSpec,
    *,
    is_evaluator_new: bool,
) -> str:
    """Return what differs between two versions, such as "run.log is new; trial.budget_s changed".

    Args:
        before: the visible files of the old version, by name.
        after: the visible files of the new version, by name.
        old: the specification of the old version.
        new: the specification of the new version.
        is_evaluator_new: whether the hash of all that decides a score differs.
    """
    parts = [
        *_files(before, after, sorted({*before, *after} - {"arena.toml"})),
        _listed(sorted(_fields("", msgspec.to_builtins(old), msgspec.to_builtins(new))), "changed", "changed"),
    ]
    told = "; ".join(part for part in parts if part)
    return told or ("a hidden file or the data's source changed" if is_evaluator_new else "arena.toml changed")


def stray_words(before: Mapping[str, bytes], after: Mapping[str, bytes], strays: Sequence[str]) -> str:
    """Return in a sentence that files which nothing names make no new version.

    Args:
        before: the visible files of the version in force, by name.
        after: the files of the folder, by name.
        strays: the names of these files.
    """
    told = "; ".join(part for part in _files(before, after, strays) if part)
    it = "them" if strays[1:] else "it"
    return (
        f"{told}, but no program or command of the arena names {it}: this makes no new version. "
        f'If a program reads {it}, write "!{strays[0]}" into artifact.ignore'
    )


def _files(before: Mapping[str, bytes], after: Mapping[str, bytes], names: Sequence[str]) -> list[str]:
    """Return which of these files are new, gone or changed."""
    return [
        _listed([name for name in names if name not in before], "is new", "are new"),
        _listed([name for name in names if name not in after], "is gone", "are gone"),
        _listed([n for n in names if n in before and n in after and before[n] != after[n]], "changed", "changed"),
    ]


def _fields(prefix: str, old: Any, new: Any) -> Iterator[str]:
    """Yield the dotted names of the fields that differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            yield from _fields(f"{prefix}.{name}" if prefix else str(name), old.get(name), new.get(name))
    elif old != new:
        yield prefix


def _listed(names: Sequence[str], one: str, several: str) -> str:
    if not names:
        return ""
    if len(names) == 1:
        return f"{names[0]} {one}"
    shown, rest = names[:_SHOWN], len(names) - _SHOWN
    if rest > 0:
        return f"{', '.join(shown)} and {rest} more {several}"
    return f"{', '.join(shown[:-1])} and {shown[-1]} {several}"

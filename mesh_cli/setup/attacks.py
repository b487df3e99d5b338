"""The attacks of an arena: cheating artifacts in `attacks/`, and the score that each must get. Pure but for reading.

`attacks/attacks.toml` lists them. No attack is part of the artifact: trials and models never see the folder.
"""

import math
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, get_args

import msgspec
from msgspec import Meta

from mesh.decoding import decode_toml
from mesh.editable_paths import editable_paths
from mesh.errors import BadArena
from mesh.events import Failed, FailureReason, Scored
from mesh.folder_rules import ATTACKS
from mesh.spec import ArenaSpec, ObjectiveSpec

LIST = "attacks.toml"
NOT_BETTER = "not better than baseline"
_TOLERANCE_SD = 3.0
_REASONS: tuple[str, ...] = get_args(FailureReason)
_BOUND = re.compile(r"(<=|>=|<|>|=) ?([-+0-9.e]+)")
_MARGIN = re.compile(rf"{NOT_BETTER}(?: by ([0-9.e-]+))?")
_Name = Annotated[str, Meta(min_length=1, max_length=120)]


class Edit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text of an editable file that is replaced, wherever it stands; `old` must be there."""

    file: str
    old: str
    new: str


class Attack(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A cheating artifact. `files` are editable files by files of `attacks/`; `edits` follow. Any of `expect` holds it.

    `tries` says in a sentence what it does, `source` where such a cheat was seen.
    """

    name: _Name
    tries: str = ""
    source: str = ""
    files: dict[str, str] = {}
    edits: tuple[Edit, ...] = ()
    expect: tuple[str, ...]


class _List(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    attack: tuple[Attack, ...] = ()


def read_attacks(folder: Path) -> tuple[Attack, ...]:
    """Return the attacks of the arena in `folder`.

    Raises:
        BadArena: there is no list, or it cannot be used; the message names file, attack and cure.
    """
    path = folder / ATTACKS / LIST
    if not path.is_file():
        raise BadArena(f"{path} does not exist: it lists the attacks that must not succeed (docs/howto/attacks.md)")
    try:
        raw = decode_toml(path.read_bytes())
        for attack in raw.get("attack", []):
            if isinstance(attack, dict) and isinstance(attack.get("expect"), str):
                attack["expect"] = [attack["expect"]]
        found = msgspec.convert(raw, _List).attack
    except OSError as error:
        raise BadArena(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise BadArena(f"{path}: {error}") from None
    if not found:
        raise BadArena(f"{path} has no [[attack]]: list at least one")
    names = [attack.name for attack in found]
    for attack in found:
        if names.count(attack.name) > 1:
            raise BadArena(f"{path}: two attacks have the name {attack.name!r}: rename one")
        if not attack.expect:
            raise BadArena(f"{path}: attack {attack.name!r}: expect is empty: {_allowed()}")
        for expected in attack.expect:
            if expected not in _REASONS and not _BOUND.fullmatch(expected) and not _MARGIN.fullmatch(expected):
                raise BadArena(f"{path}: attack {attack.name!r}: expect has {expected!r}: {_allowed()}")
    return found


def changed_files(attack: Attack, folder: Path, spec: ArenaSpec) -> dict[str, bytes]:
    """Return the editable files that an attack changes, as it changes them.

    Raises:
        BadArena: it changes a file that is not editable, a file of it is missing, or a text to replace is not there.
    """
    attacks = folder / ATTACKS
    where = f"{attacks / LIST}: attack {attack.name!r}"
    files: dict[str, bytes] = {}
    for name in [*attack.files, *(edit.file for edit in attack.edits)]:
        if name not in editable_paths(spec):
            raise BadArena(f"{where}: {name!r} is not editable; use {', '.join(spec.artifact.editable)}")
    for name, source in attack.files.items():
        path = attacks / source
        if not path.is_file() or not path.resolve().is_relative_to(attacks.resolve()):
            raise BadArena(f"{where}: {source!r} does not exist in {attacks}")
        files[name] = path.read_bytes()
    for edit in attack.edits:
        text = files[edit.file] if edit.file in files else (folder / edit.file).read_bytes()
        if not edit.old or edit.old.encode() not in text:
            raise BadArena(f"{where}: {edit.file} does not contain {edit.old!r}: an edit replaces a text that is there")
        files[edit.file] = text.replace(edit.old.encode(), edit.new.encode())
    return files


def holds(expect: Sequence[str], outcome: Scored | Failed, objective: ObjectiveSpec, baseline: Sequence[float]) -> bool:
    """Tell whether an attack ended as one of `expect` says.

    Args:
        expect: reasons of failure, bounds of the score such as "> 7.9", or "not better than baseline [by 0.1]".
        outcome: how its run ended.
        objective: the arena's.
        baseline: scores of the unchanged artifact, one per seed.
    """
    return any(_holds(expected, outcome, objective, baseline) for expected in expect)


def allowance(baseline: Sequence[float]) -> float:
    """Return how much better than the mean of the baseline a score is by chance: 3 standard deviations of one more."""
    if len(baseline) < 2:
        return 0.0
    return _TOLERANCE_SD * statistics.stdev(baseline) * math.sqrt(1 + 1 / len(baseline))


def _holds(expected: str, outcome: Scored | Failed, objective: ObjectiveSpec, baseline: Sequence[float]) -> bool:
    if isinstance(outcome, Failed):
        return outcome.reason == expected
    if bound := _BOUND.fullmatch(expected):
        value, limit = outcome.value, float(bound[2])
        match bound[1]:
            case "<":
                return value < limit
            case "<=":
                return value <= limit
            case ">":
                return value > limit
            case ">=":
                return value >= limit
        return math.isclose(value, limit, rel_tol=0, abs_tol=1e-9)
    if margin := _MARGIN.fullmatch(expected):
        by = float(margin[1]) if margin[1] else allowance(baseline)
        return bool(baseline) and objective.gain(outcome.value, statistics.fmean(baseline)) <= by
    return False


def _allowed() -> str:
    return f'use a reason ({", ".join(_REASONS)}), a bound such as "> 7.9" or "= 8", or "{NOT_BETTER}"'

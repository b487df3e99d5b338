"""What an arena is made of, for `mesh check`: files that may change and that may not, knobs with their ranges."""

import re
from pathlib import Path

import msgspec

from mesh.arena_commands import spec_folders
from mesh.arena_files import read_arena
from mesh.editable_paths import editable_paths
from mesh.hidden_files import split_hidden
from mesh.interpreter import below_home
from mesh.knob import Knob
from mesh.knob_ranges import is_guess
from mesh.knobs import knobs_of
from mesh.leavings import is_empty_folder
from mesh.machine_memory import memory_gb
from mesh.own_seeds import with_other_seeds
from mesh.spec import ArenaSpec, Direction

_NETWORKS: dict[bool | str, str] = {
    True: "the whole network",
    False: "no network",
    "loopback": "a loopback of its own",
}


class KnobRange(msgspec.Struct, frozen=True):
    """A knob as a person reads it: its name, its value, its range or choices, and its file.

    `is_guess` is whether the range was guessed from the value, so that the search may move it.
    """

    name: str
    value: str
    range: str
    file: str
    is_guess: bool = False


class ArenaFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What an arena is made of.

    Attributes:
        direction: which way the metric is better.
        noise: `objective.noise`.
        how: `score.how`.
        pattern: `score.pattern`.
        command: the command of a trial; empty where the evaluator runs the program.
        budget_s: seconds that a trial may use, and `deadline_s` of wall time.
        limit_s: used seconds that end a trial, with tolerance and start-up; 0 for no limit.
        deadline_s: wall seconds of a trial.
        memory_gb: memory limit of a trial.
        machine_gb: memory of this machine.
        budget_counts: `trial.budget_counts`.
        editable: files that may change.
        protected: files that may not.
        hidden: files that no trial sees.
        left_out: what lies in the folder and does not belong to the arena.
        readable: folders beside the system's that trials may read.
        network: the network of a trial, in words.
        prepares: whether a command makes data.
        leak_audit: `data.leak_audit`, "" where there is nothing private to look for.
        knobs: the knobs.
        own_seeds: how many seeds the programs give themselves that proof replaces.
        limited: numbers that `objective.constraints` limits.
        reads_seed: whether a file reads `MESH_SEED`.
    """

    direction: Direction = "minimize"
    noise: str = "measured"
    how: str = "command"
    pattern: str = ""
    command: tuple[str, ...] = ()
    budget_s: float = 0.0
    limit_s: float = 0.0
    deadline_s: float = 0.0
    memory_gb: float = 0.0
    machine_gb: float = 0.0
    budget_counts: str = "auto"
    editable: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    network: str = "no network"
    prepares: bool = False
    leak_audit: str = ""
    knobs: tuple[KnobRange, ...] = ()
    own_seeds: int = 0
    limited: tuple[str, ...] = ()
    reads_seed: bool = False


def arena_facts(folder: Path, spec: ArenaSpec) -> ArenaFacts:
    """Return what the arena in a folder is made of; nothing is executed, but an interpreter that it names is asked.

    Raises:
        BadArena: its files cannot be read.
    """
    read = read_arena(folder, spec)
    files = read.files
    shown, hidden = split_hidden(spec.artifact.hidden, files)
    editable = [name for name in editable_paths(spec, files) if name in files]
    apart = {"arena.toml", *editable, *(name for name, data in shown.items() if is_empty_folder(name, data))}
    varies = spec.trial.own_seeds == "vary" and spec.objective.noise == "measured"
    is_private = bool(spec.artifact.prepare or hidden)
    return ArenaFacts(
        direction=spec.objective.direction,
        noise=spec.objective.noise,
        how=spec.score.how,
        pattern=spec.score.pattern,
        command=spec.trial.command,
        budget_s=spec.trial.budget_s,
        limit_s=spec.trial.budget_s * spec.trial.budget_tolerance + spec.trial.startup_s if spec.trial.command else 0.0,
        deadline_s=spec.trial.deadline_s,
        memory_gb=spec.trial.memory_gb,
        machine_gb=memory_gb(),
        budget_counts=spec.trial.budget_counts,
        editable=tuple(editable),
        protected=tuple(sorted(name for name in shown if name not in apart)),
        hidden=tuple(sorted(hidden)),
        left_out=tuple(each.path for each in read.left),
        readable=tuple(map(below_home, spec_folders(spec.environment))),
        network=_NETWORKS[spec.trial.network],
        prepares=bool(spec.artifact.prepare),
        leak_audit=spec.data.leak_audit if is_private else "",
        knobs=tuple(map(_shown, knobs_of(files, editable, spec.knobs))),
        own_seeds=with_other_seeds(files, editable, 1)[1] if varies else 0,
        limited=tuple(spec.objective.constraints),
        reads_seed=any(re.search(rb"MESH_SEED", data) for data in files.values()),
    )


def _shown(knob: Knob) -> KnobRange:
    if knob.choices:
        words = " | ".join(map(str, knob.choices))
    else:
        words = f"{knob.low:g} .. {knob.high:g}{' log' if knob.log else ''}"
    value = f"{knob.value:g}" if isinstance(knob.value, float) else str(knob.value)
    return KnobRange(knob.name, value, words, knob.file, is_guess(knob))

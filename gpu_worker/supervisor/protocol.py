"""The protocol between a worker and its supervisor: JSON lines, a `Request` down, an `Ending` back.

While a request runs, the supervisor sends `Progress`, and the worker may send `Kill`. End of input means that the
worker is gone.

These are dataclasses, because a supervisor imports the standard library alone: its forks become trials, and a package
that it had imported would be there in each of them. The worker encodes and decodes with msgspec, which knows
dataclasses; the supervisor uses `parse` and `encode`.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gpu_worker.sandbox.contain import Policy

Why = Literal["", "deadline", "budget", "beside", "memory", "disk", "processes", "output", "killed", "start", "sandbox"]
"""Why a command was ended or not started, empty where it ended by itself within its limits. `beside`: the process
beside it used more than its budget. `start`: its program cannot be run. `sandbox`: this machine cannot apply the
policy."""


NAMESPACES_AHEAD = "--namespaces-ahead"
"""Option of a supervisor whose commands want namespaces: each enters them while it waits for its request."""


SCRIPT_AHEAD = "--script-ahead="
"""Option with the name by which commands start one of our runners: `.mesh/FILE` of `gpu_worker/runners`."""


PERHAPS = "?"
"""How the name of a module begins that a supervisor imports if it is there."""


@dataclass(frozen=True)
class Launch:
    """A process to start: a command with its whole environment, in a folder.

    Args:
        policy: the sandbox that it runs in; None for no sandbox.
        warm: start it in a fork that has imported the `preload` modules, where the command is a Python script.
        cores: the only ones that it and what it starts run on; empty for all.
    """

    command: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    policy: Policy | None = None
    warm: bool = False
    cores: Sequence[int] = ()

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "Launch":
        """Return the launch out of decoded JSON."""
        policy = fields.get("policy")
        return cls(**{**fields, "policy": Policy(**policy) if policy else None})

    def fields(self) -> dict[str, Any]:
        """Return what `of` takes; `dataclasses.asdict` would copy every path and variable."""
        return {**vars(self), "policy": vars(self.policy) if self.policy else None}


@dataclass(frozen=True)
class Limits:
    """What a command may take, with all that it starts; 0 is no limit.

    Args:
        deadline_s: wall-clock seconds; the only one without which nothing is started.
        memory_mb: resident memory of the whole process tree.
        disk_mb: size of the folders in `Request.watch`.
        processes: how many may live at a time.
        budget_s: seconds that the command may use with all that it starts, even if it then ends by itself.
        beside_budget_s: seconds that the process beside it may use, and its orphans.
        counts: whether both are CPU seconds or wall-clock seconds.
    """

    deadline_s: float
    memory_mb: float = 0
    disk_mb: float = 0
    processes: int = 0
    budget_s: float = 0
    beside_budget_s: float = 0
    counts: Literal["cpu", "wall"] = "cpu"


@dataclass(frozen=True)
class Request:
    """Run a command within limits.

    Args:
        watch: folders whose size counts against `limits.disk_mb`.
        beside: a process that answers the command over pipes: its standard input and output are the command's
            descriptors 3 (to write) and 4 (to read), its errors are the command's.
    """

    launch: Launch
    limits: Limits
    watch: Sequence[str] = ()
    beside: Launch | None = None


@dataclass(frozen=True)
class Kill:
    """End the command that runs now; its `Ending` says `killed`. Ignored where nothing runs."""

    kill: bool = True


@dataclass(frozen=True)
class Ending:
    """How a command ended. No process of it lives any more.

    Args:
        rc: its exit code, or the negative number of the signal that ended it; None where `why` is set.
        why: why the supervisor ended it, or could not start it.
        seconds: wall-clock time.
        cpu_s: processor time of the whole tree.
        peak_memory_mb: the most that the tree had at a time.
        out: head and tail of what it printed.
        err: head and tail of its errors; where it was not started, the reason.
        bounded: whether the kernel enforced the memory limit, by a control group.
        used_s: what it used of its budget.
        beside_s: what the process beside it used of its own.
    """

    rc: int | None
    why: Why
    seconds: float = 0.0
    cpu_s: float = 0.0
    peak_memory_mb: float = 0.0
    out: str = ""
    err: str = ""
    bounded: bool = False
    used_s: float = 0.0
    beside_s: float = 0.0


@dataclass(frozen=True)
class Progress:
    """What the running command has used of its budget, in seconds; sent now and then before the `Ending`."""

    progress_s: float


PROGRESS = b'{"progress_s"'
"""How the line of a `Progress` begins."""


def parse(line: bytes) -> Request | Kill:
    """Decode a line that the worker sent, with the standard library."""
    fields = json.loads(line)
    if "kill" in fields:
        return Kill()
    beside = fields.get("beside")
    launch, limits = Launch.of(fields["launch"]), Limits(**fields["limits"])
    return Request(launch, limits, fields.get("watch", ()), Launch.of(beside) if beside else None)


def encode(answer: Ending | Progress) -> str:
    """Encode an answer as one line, with the standard library."""
    return json.dumps(dataclasses.asdict(answer)) + "\n"

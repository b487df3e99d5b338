"""CPU time of everything that a command starts: of the living, of the dead, and of those whose time is dropped.

A process that ends leaves its CPU time to the parent that waits for it. A subreaper inherits orphans, so the times that
the living show and those that it has collected sum up to nearly all. The rest are children of a process that ignores
SIGCHLD: the kernel drops their time. A control group counts them too. Without one, each walk over the processes notes
who has vanished; a parent that was not given the time of its children drops it. What was seen of them is added then,
and each running process that no earlier walk saw counts as busy since that walk: no trial knows when a walk comes.

With a process beside the command there are two sides. The process beside runs a proposal's code, so orphans are its.
The standard library alone.
"""

import os
import resource
from collections.abc import Mapping
from typing import NamedTuple

from gpu_worker.supervisor.cgroup import Group
from gpu_worker.supervisor.process_tree import Process, look_at

SLACK_S = 0.03
"""Two ticks and a bit: the kernel shows times in ticks of 10 ms, each rounded down."""
MANY = 10
"""Children that vanished before a parent with no time of any child is suspected to drop it."""


class Used(NamedTuple):
    """CPU seconds of the command with all that it started, and of the process beside it with all else."""

    command_s: float
    beside_s: float


class CpuClock:
    """Counts the CPU time of a command.

    Args:
        command: its process id.
        beside: process id of the process beside it, None if there is none.
        group: their control group.
        now: monotonic time.
    """

    def __init__(self, command: int, beside: int | None, group: Group | None, now: float) -> None:
        self._command, self._beside, self._group = command, beside, group
        self._own_pid, self._cores = os.getpid(), len(os.sched_getaffinity(0))
        self._seen: dict[int, Process] = {}
        self._seen_at = now
        self._owed = [dict[int, _Owed](), dict[int, _Owed]()]
        self._fleeting_s = [0.0, 0.0]

    def walked(self, tree: Mapping[int, Process], now: float) -> None:
        """Note what a walk has found: every process below this one, the dead among them."""
        if self._group is None or self._group.cpu_s() is None:
            self._note_vanished(tree)
            fleeting = [0, 0]
            for pid, process in tree.items():
                fleeting[self._side(pid, tree)] += pid not in self._seen and process.state == "R"
            for side, count in enumerate(fleeting):
                self._fleeting_s[side] += min(count, self._cores) * (now - self._seen_at)
        self._seen, self._seen_at = dict(tree), now

    def used(self) -> Used:
        """Return the CPU time by now, of the first processes and of those that the last walk found."""
        if (found := self._of_group()) is not None:
            return found
        sides = [0.0, 0.0]
        for pid in {*self._seen, self._command, *([self._beside] if self._beside else [])}:
            if process := look_at(pid):
                sides[self._side(pid, self._seen)] += process.own_s + process.waited_s
        sides[self._beside is not None] += _collected_s()
        return self._with_dropped(*sides)

    def at_end(self, usage: resource.struct_rusage) -> Used:
        """Return the CPU time when no process lives any more and all are collected; `usage` is the command's own."""
        command_s = usage.ru_utime + usage.ru_stime
        rest_s = max(0.0, _collected_s() - command_s)
        seen = self._with_dropped(*((command_s + rest_s, 0.0) if self._beside is None else (command_s, rest_s)))
        found = self._of_group() or seen
        return Used(max(found.command_s, seen.command_s), max(found.beside_s, seen.beside_s))

    def _of_group(self) -> Used | None:
        if self._group is None or (all_s := self._group.cpu_s()) is None:
            return None
        beside_s = self._group.beside_cpu_s() if self._beside is not None else 0.0
        return Used(max(0.0, all_s - beside_s), beside_s)

    def _with_dropped(self, command_s: float, beside_s: float) -> Used:
        sides = [command_s, beside_s]
        for side, owed in enumerate(self._owed):
            dropped_s = sum(parent.missing_s for parent in owed.values())
            if dropped_s > SLACK_S or any(parent.is_silent for parent in owed.values()):
                sides[side] += dropped_s + self._fleeting_s[side]
        return Used(*sides)

    def _note_vanished(self, tree: Mapping[int, Process]) -> None:
        """Charge each process that has vanished to the nearest of its parents that still lives."""
        for pid, last in self._seen.items():
            if _is_same(tree.get(pid), last):
                continue
            parent = last.parent
            while parent in self._seen and not _is_same(tree.get(parent), self._seen[parent]):
                parent = self._seen[parent].parent
            if parent in self._seen:  # else this process has collected it
                owed = self._owed[self._side(parent, tree)].setdefault(parent, _Owed())
                owed.seconds += last.own_s + last.waited_s
                owed.children += 1
        for owes in self._owed:
            for pid, owed in owes.items():
                if pid in tree:
                    owed.compare(tree[pid].waited_s)

    def _side(self, pid: int, tree: Mapping[int, Process]) -> int:
        """Return 1 for what belongs to the process beside the command, else 0."""
        if self._beside is None:
            return 0
        while pid in tree and tree[pid].parent != self._own_pid:
            pid = tree[pid].parent
        return int(pid != self._command)


class _Owed:
    """The time of vanished children, as far as it was seen, which their parent should have been given."""

    def __init__(self) -> None:
        self.seconds, self.children = 0.0, 0
        self.missing_s, self._before_s = 0.0, 0.0
        self.is_silent = False

    def compare(self, waited_s: float) -> None:
        """Take what the parent has; time counts as missing when two walks find it so: one can be in between."""
        missing_s = max(0.0, self.seconds - waited_s - SLACK_S)
        self.missing_s, self._before_s = min(missing_s, self._before_s), missing_s
        self.is_silent = self.children >= MANY and waited_s == 0.0


def _is_same(process: Process | None, last: Process) -> bool:
    return process is not None and process.born == last.born


def _collected_s() -> float:
    """Return the CPU time of the children that this process has waited for, with what they had waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime

"""Measures what a process tree takes, and compares it with its limits. The standard library alone.

A budget is compared whenever the meter is asked, and once more at the end: a command that ends by itself may have used
too much as well. A walk over living processes can count one twice, with the parent that has just waited for it; so it
takes two readings to end a command.
"""

import contextlib
import os
import random
import time
from collections.abc import Collection, Sequence
from typing import Literal

from gpu_worker.limits import MAX_FILES, THREADS_PER_PROCESS
from gpu_worker.supervisor.cpu_clock import CpuClock, Used
from gpu_worker.supervisor.hidden import counted_once_mb, hidden_mb
from gpu_worker.supervisor.process_tree import Process, tree
from gpu_worker.supervisor.protocol import Limits
from mesh.file_trees import TooDeep, open_folder, walk

MEASURE_EVERY_S = 0.1
MEASURE_DISK_EVERY_S = 0.5
COMPARE_EVERY_S = 0.05
_REST = 20
"""A measurement is followed by a rest at least so many times as long, so that measuring costs 5 % at most. For a walk
over the processes its CPU time counts: on a busy machine it lasts long and costs no more, and trials hide between two.
"""

Exceeded = Literal["", "memory", "disk", "processes", "budget", "beside"]


class Meter:
    """Memory, disk, number of processes and used time of everything below this process.

    `used_s` is the most that the command was seen to have used, `seen` what ended it.

    Args:
        limits: the limits of the command.
        folders: those whose size counts.
        clock: counts CPU time.
        began: monotonic time at which the command was started.
        users: user ids of its files in `/dev/shm`.
    """

    def __init__(
        self, limits: Limits, folders: Sequence[str], clock: CpuClock, began: float, users: Collection[int] = ()
    ) -> None:
        self._limits, self._folders, self._clock, self._began = limits, folders, clock, began
        self._users, self._since = users, time.time() - 0.02  # the clock of files lags behind
        self.peak_mb, self._disk_mb, self._hidden_mb = 0.0, 0.0, 0.0
        self._once_mb, self._resident_mb, self._next_once = 0.0, 0.0, began
        self._free_mb = _free_mb(folders)
        self.used_s, self.seen = 0.0, Used(0.0, 0.0)
        self._next = self._next_disk = began + MEASURE_EVERY_S
        self._next_budget = began

    def exceeded(self, now: float) -> Exceeded:
        """Return the name of a limit that is exceeded, "" where none is."""
        if now >= self._next_budget:
            self._next_budget = now + COMPARE_EVERY_S
            if self._over_budget(now) and (why := self._over_budget(time.monotonic(), walk=True)):
                self.seen = self.of_budget(self._clock.used(), now - self._began)
                return why
        return self._over_others(now)

    def over(self, used: Used) -> Literal["", "budget", "beside"]:
        """Return which budget is exceeded, "" where none is."""
        limits = self._limits
        if limits.budget_s and used.command_s > limits.budget_s:
            return "budget"
        return "beside" if limits.beside_budget_s and used.beside_s > limits.beside_budget_s else ""

    def of_budget(self, cpu: Used, seconds: float) -> Used:
        """Return what counts against the budgets: CPU time, or the wall time of both."""
        return cpu if self._limits.counts == "cpu" else Used(seconds, seconds)

    def _over_budget(self, now: float, *, walk: bool = False) -> Literal["", "budget", "beside"]:
        if walk:
            self._clock.walked(tree(), now)
        cpu = self._clock.used() if self._limits.counts == "cpu" else Used(0.0, 0.0)
        used = self.of_budget(cpu, now - self._began)
        self.used_s = max(self.used_s, used.command_s)
        return self.over(used)

    def _over_others(self, now: float) -> Exceeded:
        is_filling = self._is_filling()
        if now < self._next and not is_filling:
            return ""
        began_cpu_s = time.thread_time()
        everyone = tree()
        self._clock.walked(everyone, now)
        alive = [process for process in everyone.values() if process.state != "Z"]
        if now >= self._next_disk or is_filling:
            self._look_at_files([process.thread for process in alive], now)
        limits, memory_mb = self._limits, sum(process.memory_mb for process in alive) + self._hidden_mb
        rest_s = max(MEASURE_EVERY_S, _REST * (time.thread_time() - began_cpu_s))
        self._next = now + rest_s * random.uniform(0.7, 1.3)  # so that no trial knows when the next one comes
        if 0 < limits.memory_mb < memory_mb:
            memory_mb = self._counted_once(alive, memory_mb, now)
        self.peak_mb = max(self.peak_mb, memory_mb)
        if limits.memory_mb and self.peak_mb > limits.memory_mb:
            return "memory"
        if limits.disk_mb and self._disk_mb > limits.disk_mb:
            return "disk"
        threads = sum(process.threads for process in alive)
        # A dead process that its parent does not wait for keeps its place in the kernel's table; orphans wait for us.
        held = sum(process.state != "Z" or process.parent != os.getpid() for process in everyone.values())
        if limits.processes and (held > limits.processes or threads > THREADS_PER_PROCESS * limits.processes):
            return "processes"
        return ""

    def _counted_once(self, alive: Sequence[Process], resident_mb: float, now: float) -> float:
        """Return the memory without counting twice what processes share: 16 of torch's compiler share nine tenths.

        To look takes 10 ms per GB. Between two looks what has come since the last one is added to it.
        """
        about_mb = self._once_mb + max(0.0, resident_mb - self._resident_mb)
        if now < self._next_once and about_mb <= self._limits.memory_mb:
            return about_mb
        began_cpu_s = time.thread_time()
        once = [(process.memory_mb, counted_once_mb(process.thread)) for process in alive]
        self._once_mb = sum(all_mb if mb is None else mb for all_mb, mb in once) + self._hidden_mb
        self._resident_mb = resident_mb
        rest_s = max(MEASURE_EVERY_S, _REST * (time.thread_time() - began_cpu_s))
        self._next_once = now + rest_s * random.uniform(0.7, 1.3)
        return self._once_mb

    def over_disk(self) -> Literal["", "disk"]:
        """Return whether a command that ended has left more than its limit, in less time than a look takes to come."""
        if self._is_filling():
            self._look_at_files((), time.monotonic())
        return "disk" if self._limits.disk_mb and self._disk_mb > self._limits.disk_mb else ""

    def _is_filling(self) -> bool:
        """Tell whether so much space has gone since the last look that the limit may be exceeded, whoever took it."""
        used_mb = self._disk_mb + self._free_mb - _free_mb(self._folders) if self._limits.disk_mb else 0.0
        return used_mb > self._limits.disk_mb

    def _look_at_files(self, alive: Collection[int], now: float) -> None:
        began, self._free_mb = time.monotonic(), _free_mb(self._folders)
        self._hidden_mb, deleted_mb = hidden_mb(alive, since=self._since, users=self._users)
        self._disk_mb = sum(map(folder_mb, self._folders)) + deleted_mb
        self._next_disk = now + max(MEASURE_DISK_EVERY_S, _REST * (time.monotonic() - began))


def _free_mb(folders: Sequence[str]) -> float:
    """Return the free space of the file system of the first folder; 0 where there is none."""
    with contextlib.suppress(OSError, IndexError):
        system = os.statvfs(folders[0])
        return system.f_bfree * system.f_frsize / 1024**2
    return 0.0


def folder_mb(folder: str) -> float:
    """Return the size of all files below a folder in MB (blocks).

    It is infinite where there are more than `MAX_FILES`, or folders are nested deeper than `MAX_DEPTH`.
    """
    blocks = count = 0
    try:
        top = open_folder(folder, needs=0o500)
    except OSError:
        return 0.0
    try:
        for _, _, entries in walk(top, live=True, needs=0o500):
            if (count := count + len(entries)) > MAX_FILES:
                return float("inf")
            for entry in entries:
                with contextlib.suppress(OSError):
                    blocks += entry.stat(follow_symlinks=False).st_blocks
    except TooDeep:
        return float("inf")
    except OSError:  # the trial changed something at this very moment: the next look counts all
        pass
    finally:
        os.close(top)
    return blocks / 2048

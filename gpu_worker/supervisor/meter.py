"""Measures what a process tree takes, and compares it with its limits. The standard library alone."""

import contextlib
import os
import time
from collections.abc import Sequence
from typing import Literal

from gpu_worker.limits import MAX_FILES
from gpu_worker.supervisor.process_tree import descendants
from gpu_worker.supervisor.protocol import Limits
from mesh.file_trees import TooDeep, open_folder, walk

MEASURE_EVERY_S = 0.1
MEASURE_DISK_EVERY_S = 0.5
_REST = 20
"""A measurement is followed by a rest at least so many times as long, so that measuring costs 5 % at most."""

Exceeded = Literal["", "memory", "disk", "processes"]


class Meter:
    """Memory, disk and number of processes of everything below this process."""

    def __init__(self, limits: Limits, folders: Sequence[str], now: float) -> None:
        self._limits, self._folders = limits, folders
        self.peak_mb, self._disk_mb = 0.0, 0.0
        self._next = self._next_disk = now + MEASURE_EVERY_S

    def exceeded(self, now: float) -> Exceeded:
        """Return the name of a limit that is exceeded, "" where none is."""
        if now < self._next:
            return ""
        alive = descendants()
        self.peak_mb = max(self.peak_mb, sum(memory for _, _, memory in alive.values()))
        if self._folders and now >= self._next_disk:
            began = time.monotonic()
            self._disk_mb = sum(map(folder_mb, self._folders))
            self._next_disk = now + max(MEASURE_DISK_EVERY_S, _REST * (time.monotonic() - began))
        self._next = now + max(MEASURE_EVERY_S, _REST * (time.monotonic() - now))
        limits = self._limits
        if limits.memory_mb and self.peak_mb > limits.memory_mb:
            return "memory"
        if limits.disk_mb and self._disk_mb > limits.disk_mb:
            return "disk"
        if limits.processes and len(alive) > limits.processes:
            return "processes"
        return ""


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

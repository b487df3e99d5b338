"""Control groups: the kernel limits the memory of a trial's process tree, where this user may make groups.

Elsewhere the supervisor's meter alone enforces it. Both hierarchies work: version 2 (`memory.max`), and version 1
(`memory.limit_in_bytes`), which some containers and virtual machines still have. In version 2 a group with processes
cannot have bounded groups below it: a worker that is alone in its group, with its children, first moves to a leaf of it
(`prepare`). Processes of others are never moved; where that would be needed, there is no bound. A trial cannot leave
its group: the group's files belong to the worker, and are read-only in a sandbox. The standard library alone.
"""

import contextlib
import os
import signal
import time
import uuid

from gpu_worker.limits import MAX_PROCESSES, THREADS_PER_PROCESS
from gpu_worker.supervisor.process_tree import descendants

ROOT = "/sys/fs/cgroup"
GO_WITHIN_S = 1.0
LEAF = "mesh-worker"
"""The leaf in which a worker sits beside its bounded groups; a systemd unit can name it as its `DelegateSubgroup`."""

COUNTING = ("cpuacct", "cpu,cpuacct")
"""The controllers of version 1 that count CPU time, alone or with another one on the same hierarchy."""

MAX_TASKS = THREADS_PER_PROCESS * MAX_PROCESSES
"""Threads and processes of a tree, where the kernel counts them."""
BESIDE = (("memory.swap.max", "0"), ("memory.oom.group", "1"), ("pids.max", str(MAX_TASKS)))
"""Other limits, where the kernel supports them; a group without them still limits memory."""


class Group:
    """A control group for one process tree; `bounds` are the files that take its limit in bytes.

    `counting` is the folder that counts its CPU time: its own in version 2, a second one in version 1, "" for none.
    """

    def __init__(self, path: str, bounds: tuple[str, ...], events: str, counting: str = "") -> None:
        self._path, self._bounds, self._events = path, bounds, os.path.join(path, events)
        self._counting, self._beside = counting, os.path.join(counting, "beside") if counting else ""

    def bound(self, memory_mb: float) -> None:
        """Limit the memory of all processes of the group together.

        Raises:
            OSError: the kernel does not accept the limit.
        """
        size = str(int(memory_mb * 1024**2))
        for name in self._bounds:
            _write(os.path.join(self._path, name), size)
        for name, value in (("memory.memsw.limit_in_bytes", size), *BESIDE):
            if os.path.isfile(os.path.join(self._path, name)):
                with contextlib.suppress(OSError):
                    _write(os.path.join(self._path, name), value)

    def add(self, pid: int) -> None:
        """Add a process; its later children are in the group too.

        Raises:
            OSError: the kernel refuses.
        """
        _write(os.path.join(self._path, "cgroup.procs"), str(pid))
        if self._counting and self._counting != self._path:
            try:
                _write(os.path.join(self._counting, "cgroup.procs"), str(pid))
            except OSError:
                self._counting = self._beside = ""

    def add_beside(self, pid: int) -> None:
        """Add a process whose CPU time, and that of its later children, is also counted apart.

        Raises:
            OSError: the kernel refuses.
        """
        self.add(pid)
        if self._counting:
            os.mkdir(self._beside)
            _write(os.path.join(self._beside, "cgroup.procs"), str(pid))

    def cpu_s(self) -> float | None:
        """Return the CPU seconds of all processes that have been in the group, None where nothing counts them."""
        return _cpu_s(self._counting) if self._counting else None

    def beside_cpu_s(self) -> float:
        """Return the CPU seconds of what is counted apart."""
        return _cpu_s(self._beside) or 0.0

    def has_killed(self) -> bool:
        """Tell whether the kernel has killed a process of the group because of its memory limit."""
        with contextlib.suppress(OSError), open(self._events) as file:
            return any(int(words[1]) > 0 for words in map(str.split, file) if words[:1] == ["oom_kill"])
        return False

    def peak_mb(self) -> float:
        """Return the peak memory of the group, cached files included; 0 where the kernel does not report it."""
        for name in ("memory.peak", "memory.max_usage_in_bytes"):
            with contextlib.suppress(OSError), open(os.path.join(self._path, name)) as file:
                return int(file.read()) / 1024**2
        return 0.0

    def remove(self) -> None:
        """Remove the group, in which no process lives any more."""
        give_up = time.monotonic() + GO_WITHIN_S
        for path in filter(None, dict.fromkeys((self._beside, self._counting, self._path))):
            while os.path.isdir(path):
                try:
                    os.rmdir(path)
                except OSError:
                    if time.monotonic() > give_up:
                        break
                    time.sleep(0.002)


def group(pid: int, owner: int) -> Group | None:
    """Make a group with a process in it and no limit yet; None where this machine or user cannot.

    `owner` is the process id in its name, by which `sweep` finds groups that were not removed.
    """
    name = f"mesh-{owner}-{uuid.uuid4().hex[:8]}"
    old, new = _parents()
    for parent, bounds, events in (
        (old, ("memory.limit_in_bytes",), "memory.oom_control"),
        (new, ("memory.max",), "memory.events"),
    ):
        if not parent or not os.access(parent, os.W_OK):
            continue
        path = os.path.join(parent, name)
        with contextlib.suppress(OSError):
            os.mkdir(path)
            made = Group(path, bounds, events, _counting(name) if parent == old else path)
            if all(os.path.isfile(os.path.join(path, file)) for file in bounds):
                made.add(pid)
                return made
        with contextlib.suppress(OSError):
            os.rmdir(path)
    return None


def prepare() -> None:
    """Make bounded groups possible below this process's own group of version 2, if no other process has to move.

    Call it once, before children are started. It does nothing where it cannot.
    """
    own = _own("", ROOT)
    base, leaf = _base(own), os.path.join(_base(own), LEAF)
    if not own or "memory" not in _words(base, "cgroup.controllers"):
        return
    moved = list[str]()
    if base == own and "memory" not in _words(base, "cgroup.subtree_control"):
        inside = _words(own, "cgroup.procs")
        if not inside <= {str(pid) for pid in (os.getpid(), *descendants())}:
            return
        with contextlib.suppress(OSError):
            os.mkdir(leaf)
            for pid in inside:
                _write(os.path.join(leaf, "cgroup.procs"), pid)
                moved.append(pid)
    for controller in ("memory", "pids"):
        with contextlib.suppress(OSError):
            _write(os.path.join(base, "cgroup.subtree_control"), f"+{controller}")
    if moved and "memory" not in _words(base, "cgroup.subtree_control"):
        with contextlib.suppress(OSError):
            for pid in moved:
                _write(os.path.join(own, "cgroup.procs"), pid)
            os.rmdir(leaf)


def sweep(owner: int | None = None) -> None:
    """Kill what lives in groups of one owner, or of all dead owners, and remove these groups.

    Args:
        owner: the process id in their names; None for all groups whose owner is dead, and all empty ones.
    """
    prefix = "mesh-" if owner is None else f"mesh-{owner}-"
    for parent in filter(None, dict.fromkeys((*_parents(), *map(_counting_parent, COUNTING)))):
        for name in os.listdir(parent):
            if not name.startswith(prefix):
                continue
            path = os.path.join(parent, name)
            word = name.split("-")[1]
            if owner is not None or (word.isdigit() and not os.path.exists(f"/proc/{word}")):
                _kill_all(path)
            for folder in (os.path.join(path, "beside"), path):
                with contextlib.suppress(OSError):  # a process lives in it
                    os.rmdir(folder)


def _kill_all(path: str) -> None:
    """Kill all processes of a group: at once where the kernel can, else until there are none."""
    with contextlib.suppress(OSError):
        if os.path.isfile(os.path.join(path, "cgroup.kill")):
            _write(os.path.join(path, "cgroup.kill"), "1")
    give_up = time.monotonic() + GO_WITHIN_S
    beside = os.path.join(path, "beside")
    while (pids := _words(path, "cgroup.procs") | _words(beside, "cgroup.procs")) and time.monotonic() < give_up:
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(int(pid), signal.SIGKILL)


def _parents() -> tuple[str, str]:
    """Return the folders in which groups are made, for version 1's memory controller and for version 2."""
    return _own("memory", os.path.join(ROOT, "memory")), _base(_own("", ROOT))


def _counting(name: str) -> str:
    """Make the group that counts CPU time in version 1, and return its folder; "" where it cannot be made."""
    for parent in filter(None, map(_counting_parent, COUNTING)):
        with contextlib.suppress(OSError):
            os.mkdir(os.path.join(parent, name))
            return os.path.join(parent, name)
    return ""


def _counting_parent(controllers: str) -> str:
    return _own(controllers, os.path.join(ROOT, controllers))


def _cpu_s(folder: str) -> float | None:
    """Return the CPU seconds that a group has used, in version 2 or 1."""
    with contextlib.suppress(OSError, ValueError), open(os.path.join(folder, "cpu.stat")) as file:
        for line in file:
            if line.startswith("usage_usec "):
                return int(line.split()[1]) / 1e6
    with contextlib.suppress(OSError, ValueError), open(os.path.join(folder, "cpuacct.usage")) as file:
        return int(file.read()) / 1e9
    return None


def _base(own: str) -> str:
    """Return the group whose leaf this process may be in."""
    return os.path.dirname(own) if os.path.basename(own) == LEAF else own


def _own(controller: str, root: str) -> str:
    """Return the folder of this process's group in a hierarchy, "" for none."""
    with contextlib.suppress(OSError), open("/proc/self/cgroup") as file:
        for line in file:
            _, names, path = line.rstrip("\n").split(":", 2)
            if names == controller and os.path.isfile(os.path.join(root, path.lstrip("/"), "cgroup.procs")):
                return os.path.normpath(os.path.join(root, path.lstrip("/")))
    return ""


def _words(folder: str, name: str) -> set[str]:
    """Return the words of a file, none where it cannot be read."""
    with contextlib.suppress(OSError), open(os.path.join(folder, name)) as file:
        return set(file.read().split())
    return set()


def _write(path: str, value: str) -> None:
    with open(path, "w") as file:
        file.write(value)

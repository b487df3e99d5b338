"""The kernel's own bound on the memory of a trial's tree, where this user may make control groups.

Elsewhere the watch alone holds memory. Both hierarchies are known: version 2 (`memory.max`), and version 1
(`memory.limit_in_bytes`), as some containers and virtual machines still have it. Nobody else's process is moved, so
where the rules of version 2 would want that (a group with processes cannot have bounded ones below it) there is no
bound. A trial cannot leave its group: the files of it are the worker's, and below a sandbox read-only. The standard
library alone.
"""

import contextlib
import os
import time
import uuid

ROOT = "/sys/fs/cgroup"
GO_WITHIN_S = 1.0


class Group:
    """A control group for one tree, with a bound on its memory."""

    def __init__(self, path: str, bounds: dict[str, str], events: str) -> None:
        self._path, self._events = path, os.path.join(path, events)
        os.mkdir(path)
        for name, value in bounds.items():
            with open(os.path.join(path, name), "w") as file:
                file.write(value)

    def add(self, pid: int) -> None:
        """Take in a process; its children follow.

        Raises:
            OSError: the kernel does not let it in.
        """
        with open(os.path.join(self._path, "cgroup.procs"), "w") as file:
            file.write(str(pid))

    def has_killed(self) -> bool:
        """Tell whether the kernel has killed a process of the group for want of memory."""
        with contextlib.suppress(OSError), open(self._events) as file:
            return any(int(words[1]) > 0 for words in map(str.split, file) if words[:1] == ["oom_kill"])
        return False

    def remove(self) -> None:
        """Remove the group, in which nothing lives any more."""
        give_up = time.monotonic() + GO_WITHIN_S
        while True:
            try:
                os.rmdir(self._path)
                return
            except OSError:
                if time.monotonic() > give_up or not os.path.isdir(self._path):
                    return
                time.sleep(0.002)


def group(memory_mb: float) -> Group | None:
    """Make a group whose processes together get so much memory; None where this machine or user cannot."""
    name, size = f"mesh-{os.getpid()}-{uuid.uuid4().hex[:8]}", str(int(memory_mb * 1024**2))
    old, new = _parents()
    for parent, bounds, events in (
        (old, {"memory.limit_in_bytes": size}, "memory.oom_control"),
        (new, {"memory.max": size, "memory.swap.max": "0", "memory.oom.group": "1"}, "memory.events"),
    ):
        if not parent or not os.access(parent, os.W_OK):
            continue
        path = os.path.join(parent, name)
        try:
            return Group(path, bounds, events)
        except OSError:
            with contextlib.suppress(OSError):
                os.rmdir(path)
    return None


def sweep() -> None:
    """Remove the groups that a killed supervisor has left, in which nothing lives."""
    for parent in filter(None, _parents()):
        for name in os.listdir(parent):
            if name.startswith("mesh-"):
                with contextlib.suppress(OSError):  # of one in which something lives
                    os.rmdir(os.path.join(parent, name))


def _parents() -> tuple[str, str]:
    """Return this process's own groups, of version 1's memory controller and of version 2."""
    return _own("memory", os.path.join(ROOT, "memory")), _own("", ROOT)


def _own(controller: str, root: str) -> str:
    """Return the folder of this process's group in a hierarchy, "" where there is no such."""
    with contextlib.suppress(OSError), open("/proc/self/cgroup") as file:
        for line in file:
            _, names, path = line.rstrip("\n").split(":", 2)
            if names.split(",") == [controller] and os.path.isfile(
                os.path.join(root, path.lstrip("/"), "cgroup.procs")
            ):
                return os.path.join(root, path.lstrip("/"))
    return ""

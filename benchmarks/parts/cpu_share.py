"""CPU time of processes with all that they have started, from `/proc`: that of the dead counts with who waited."""

import os
from collections.abc import Mapping
from pathlib import Path

_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


def cpu_ms(pids: Mapping[str, int]) -> dict[str, float]:
    """Return the CPU time (ms) of each of these processes, with their children.

    For `worker` it is that of the process alone, and `supervisor` is all that lives or lived below it: the
    supervisors of its slots, and what they ran.
    """
    own, waited, children = _everyone()
    found: dict[str, float] = {}
    for name, pid in pids.items():
        below, todo = 0.0, list(children.get(pid, ()))
        while todo:
            child = todo.pop()
            below += own[child] + waited[child]
            todo += children.get(child, ())
        alone = own.get(pid, 0.0)
        below += waited.get(pid, 0.0)
        if name == "worker":
            found |= {"worker": alone, "supervisor": below}
        else:
            found[name] = alone + below
    return found


def _everyone() -> tuple[dict[int, float], dict[int, float], dict[int, list[int]]]:
    own, waited, children = dict[int, float](), dict[int, float](), dict[int, list[int]]()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        own[int(name)] = (int(fields[11]) + int(fields[12])) * _TICK_MS
        waited[int(name)] = (int(fields[13]) + int(fields[14])) * _TICK_MS
        children.setdefault(int(fields[1]), []).append(int(name))
    return own, waited, children

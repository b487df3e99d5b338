"""Search with the candidate's code; this process has no secrets, because a child of it runs that code.

Standard input: JSON lines: `{"documents": [...]}` first, then `{"query": "..."}`, one at a time. Standard output: two
lines per line of the input: `{"index_mb": ...}`, then lists of ids, each followed by the milliseconds that it took.

The child runs the candidate's code, and this process has the clock. The time that either of them waited for a CPU which
others used is taken out, so that a loaded machine makes no engine slow: what is left is the time that the child
computed, or waited for anything else. The candidate's own prints do not reach the output.
"""

import contextlib
import ctypes
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import BinaryIO

MAX_LINE = 1 << 16
"""Bytes of an answer that are passed on: more than the score program takes."""
_NOT_DUMPABLE = (4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: the child cannot open the descriptors or the memory of this process


def main() -> None:
    """Pass lines to the child that runs the candidate's code, and its answers back with their times."""
    to_child, from_child = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(to_child[0], 0)
        os.dup2(2, 1)
        for number in (*to_child, from_child[0]):
            os.close(number)
        answer(from_child[1])
        os._exit(0)
    os.close(to_child[0])
    os.close(from_child[1])
    waits = [Waits(os.getpid()), Waits(child)]
    ctypes.CDLL(None, use_errno=True).prctl(*_NOT_DUMPABLE)
    with os.fdopen(from_child[0], "rb") as answers, contextlib.suppress(BrokenPipeError):
        for line in sys.stdin.buffer:
            said, took_s = timed(to_child[1], line, answers, child, waits)
            if not said.endswith(b"\n"):
                sys.exit("the candidate's process has ended, or its answer is too long")
            sys.stdout.buffer.write(said + json.dumps(1000 * took_s).encode() + b"\n")
            sys.stdout.buffer.flush()


def timed(channel: int, line: bytes, answers: BinaryIO, child: int, waits: list["Waits"]) -> tuple[bytes, float]:
    """Send a line; return the answer, and the seconds that it took without those that others had the CPU.

    It never is less than the CPU time of the child.
    """
    began, used, waited = time.perf_counter(), cpu_s(child), sum(each.seconds() for each in waits)
    while line:
        line = line[os.write(channel, line) :]
    said = answers.readline(MAX_LINE)
    took = time.perf_counter() - began
    used = cpu_s(child) - used
    if not all(each.is_known for each in waits):
        return said, used
    return said, max(used, took - (sum(each.seconds() for each in waits) - waited))


class Waits:
    """How long a process has waited for a CPU, as Linux counts it (`/proc/PID/schedstat`)."""

    def __init__(self, pid: int) -> None:
        try:
            self._file = os.open(f"/proc/{pid}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._file = -1
        self.is_known = self._file >= 0

    def seconds(self) -> float:
        """Return the seconds so far; 0 where Linux does not say."""
        try:
            return int(os.pread(self._file, 100, 0).split()[1]) / 1e9 if self.is_known else 0.0
        except (OSError, ValueError, IndexError):
            self.is_known = False
            return 0.0


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and its threads; 0 if it has ended."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # CPUCLOCK_SCHED of a process, as clock_getcpuclockid makes it
    except OSError:
        return 0.0


def answer(to: int) -> None:
    """Answer queries by the candidate's code until the input ends."""
    import rank

    learned = json.loads((Path(os.environ.get("MESH_OUT", "out")) / "learned.json").read_text())
    documents = json.loads(sys.stdin.readline())["documents"]
    before = peak_mb()
    index = rank.index(documents, learned)
    with os.fdopen(to, "w") as out:
        out.write(json.dumps({"index_mb": peak_mb() - before}) + "\n")
        out.flush()
        for line in sys.stdin:
            out.write(json.dumps(index.search(json.loads(line)["query"])) + "\n")
            out.flush()


def peak_mb() -> float:
    """Return the most memory that this process had so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()

"""Ends a child process when its parent dies, by the kernel's parent-death signal (Linux; elsewhere it does nothing).

It is for children that cannot watch their parent: the embedded server, and the processes of a trial. Our own processes
with an event loop watch their standard input instead (`mesh.daemon`). It imports only the standard library.
"""

import ctypes
import os
import signal
import sys

_SET_PARENT_DEATH_SIGNAL = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(number: signal.Signals = signal.SIGKILL, *, parent: int | None = None) -> None:
    """Have the kernel send this process a signal when the thread that started it ends.

    Args:
        number: the signal.
        parent: process id of the parent, noted before the fork; if that process is dead already, exit with 127.
    """
    _set(number)
    if _libc is not None and parent is not None and os.getppid() != parent:
        os._exit(127)


def outlive_parent() -> None:
    """Clear the parent-death signal: this process must clean up first, and polls its parent instead."""
    _set(0)


def _set(number: int) -> None:
    if _libc is not None:
        _libc.prctl(_SET_PARENT_DEATH_SIGNAL, ctypes.c_ulong(number), *[ctypes.c_ulong(0)] * 3)

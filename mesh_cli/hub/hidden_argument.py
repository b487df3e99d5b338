"""Takes an argument out of the command line of this process, which every user of the machine can read in a list."""

import ctypes
import sys
from pathlib import Path

_START, _END = 48 - 3, 49 - 3
"""Where `/proc/self/stat` has the addresses of the command line, after the name of the process (proc(5))."""


def hide_argument(text: str) -> bool:
    """Overwrite an argument wherever it is listed, for as long as this process runs; tell whether it was there.

    Only Linux has the place where it is listed; elsewhere it stays.
    """
    secret = text.encode(errors="surrogateescape")
    try:
        numbers = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        start, end = int(numbers[_START]), int(numbers[_END])
    except (OSError, LookupError, ValueError):
        return False
    if sys.platform != "linux" or not secret or not 0 < start < end:
        return False
    at = ctypes.string_at(start, end - start).find(secret)
    if at < 0:
        return False
    ctypes.memset(start + at, ord("*"), len(secret))
    return True

"""Frozen data whose modes and times say nothing, for trials whose mounts are not read-only.

Landlock keeps trials from the contents, and seccomp from attributes. But reading sets a time, and an owner, as whom a
trial may run, may set modes and times of what it can only read. They are set back before each trial.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

from mesh.file_trees import open_folder, set_mode, walk

FILE_MODE, FOLDER_MODE = 0o444, 0o755
MODIFIED_NS = 946_684_800 * 10**9  # the year 2000
READ_NS = 4_102_444_800 * 10**9
"""The year 2100: a kernel does not note when a file is read that was read in the future."""


def restore(folder: Path) -> None:
    """Set modes and times of a folder, and of all that is in it, back to what they always are.

    Raises:
        OSError: this machine cannot.
    """
    if not folder.is_dir():
        return
    top = open_folder(folder)
    try:
        for _, here, entries in walk(top):
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode):
                    if stat.S_IMODE(found.st_mode) != FILE_MODE:
                        set_mode(entry.name, FILE_MODE, here)
                    _set_times(entry.name, found, here)
            _close(here)
    finally:
        os.close(top)


def _close(folder: int) -> None:
    found = os.fstat(folder)
    if stat.S_IMODE(found.st_mode) != FOLDER_MODE:
        os.fchmod(folder, FOLDER_MODE)
    _set_times(folder, found, None)


def _set_times(path: str | int, found: os.stat_result, within: int | None) -> None:
    if (found.st_atime_ns, found.st_mtime_ns) == (READ_NS, MODIFIED_NS):
        return
    with suppress(PermissionError):  # another user's: a trial cannot change it either
        if within is None:
            os.utime(path, ns=(READ_NS, MODIFIED_NS))
        else:
            os.utime(path, ns=(READ_NS, MODIFIED_NS), dir_fd=within, follow_symlinks=False)

"""A temporary folder for what nobody else may see; it goes also after its process was killed.

The folder is below the home, and its owner keeps a lock on a file beside it. Whoever makes the next one deletes those
whose owner is gone, and first ends the processes that still work in them.
"""

import errno
import fcntl
import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mesh.file_trees import delete

_LOCK = ".lock"


@contextmanager
def private_folder(parent: Path) -> Iterator[Path]:
    """Make a folder in `parent` that is deleted when the block ends, or else at the next call of `sweep_private`.

    Raises:
        OSError: it cannot be made.
    """
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = parent / uuid.uuid4().hex
    with _owned(folder):
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            delete(folder)


def sweep_private(parent: Path) -> None:
    """Delete the folders in `parent` whose owners are gone, as far as possible."""
    with suppress(FileNotFoundError):
        for name in {path.name.removesuffix(_LOCK) for path in parent.iterdir()}:
            with suppress(OSError), _owned(parent / name):
                _end_processes(parent / name)
                delete(parent / name)


@contextmanager
def _owned(folder: Path) -> Iterator[None]:
    """Own a folder, which need not exist, for the length of the block; it does not when the block ends.

    Raises:
        OSError: another process owns it.
    """
    path = folder.with_name(folder.name + _LOCK)
    with open(path, "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.fstat(lock.fileno()).st_nlink:
            raise FileNotFoundError(errno.ENOENT, "another process has just deleted it", str(path))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _end_processes(folder: Path) -> None:
    """Kill the processes that were started with the folder in their environment, where the system shows it."""
    with suppress(OSError):
        for name in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                environ = Path(f"/proc/{name}/environ").read_bytes()
                if os.fsencode(folder) in environ and int(name) != os.getpid():
                    os.kill(int(name), signal.SIGKILL)

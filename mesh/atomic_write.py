"""Replaces a file in one step: writes a new file beside it, then renames the new file. No reader sees a part of it."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_write(path: Path, *, private: bool = False, durable: bool = False) -> Iterator[Path]:
    """Yield a new, empty file in the folder of `path`, which replaces `path` if the block ends without an error.

    Args:
        path: the file to replace; its folder must exist.
        private: only the user may read and write the new file.
        durable: flush the contents to disk before the rename, so that a power cut leaves the old or the new file.

    Raises:
        OSError: the folder cannot be written, or the disk is full; `path` is unchanged.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if private else 0o666))
    try:
        yield beside
        if durable:
            with beside.open("rb+") as written:
                os.fsync(written.fileno())
        beside.replace(path)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)

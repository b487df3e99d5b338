"""How far each channel was read by this user: a small file in the home, one per arena and user.

It knows which log it is of: marks of another log of the same name are forgotten. Nothing depends on it but the
number of unread notes.
"""

import getpass
import os
import re
from contextlib import suppress
from pathlib import Path

import msgspec

from mesh import settings
from mesh.atomic_write import atomic_write
from mesh.bus import Bus
from mesh.disk import read_regular


class _Marks(msgspec.Struct):
    log: str
    read: dict[str, int] = {}


class Marks:
    """Read marks: the sequence of the last note that was read, by channel."""

    def __init__(self, path: Path, log: str) -> None:
        self._path = path
        self._marks = _Marks(log)
        with suppress(msgspec.MsgspecError, ValueError, RecursionError):
            kept = msgspec.json.decode(read_regular(path, 1024**2) or b"", type=_Marks)
            if kept.log == log:
                self._marks = kept
        self._changed = False

    def of(self, channel: str) -> int:
        """Return how far a channel was read; 0 where it never was."""
        return self._marks.read.get(channel, 0)

    def move(self, channel: str, seq: int) -> None:
        """Record that a channel was read up to `seq`; marks only move forward."""
        if seq > self.of(channel):
            self._marks.read[channel] = seq
            self._changed = True

    def save(self) -> None:
        """Write the marks where they moved; a home that cannot be written keeps the old ones."""
        if not self._changed:
            return
        self._changed = False
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._path) as beside:
                beside.write_bytes(msgspec.json.encode(self._marks))


async def marks_of(bus: Bus) -> Marks:
    """Return this user's marks in the log of an arena."""
    try:
        user = re.sub(r"[^A-Za-z0-9_.-]", "_", getpass.getuser())
    except (KeyError, OSError):
        user = str(os.getuid())
    return Marks(settings.marks_file(settings.home(), bus.arena, user), await bus.identity())

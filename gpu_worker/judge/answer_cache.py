"""Answers of models by the hash of what was asked, as files; the ones that were not used for longest go first."""

import contextlib
import os
import threading
from pathlib import Path

import msgspec

from gpu_worker.judge.usage import Usage
from mesh.atomic_write import atomic_write

_LOOK_EVERY_BYTES = 1 << 20


class KeptAnswer(msgspec.Struct, frozen=True):
    """An answer with its type, its tokens and its price in dollars when it was made."""

    content_type: str
    body: bytes
    usage: Usage
    usd: float


class AnswerCache:
    """The answers of an arena's judge on this machine.

    Args:
        folder: where they lie; it is made when the first one comes.
        max_mb: its size; 0 keeps none.
    """

    def __init__(self, folder: Path, max_mb: float) -> None:
        self._folder, self._max_bytes = folder, int(max_mb * 1024**2)
        self._lock = threading.Lock()
        self._since_look = _LOOK_EVERY_BYTES

    def get(self, digest: str) -> KeptAnswer | None:
        """Return the answer of a request, None if there is none or it cannot be read."""
        file = self._file(digest)
        try:
            found = msgspec.msgpack.decode(file.read_bytes(), type=KeptAnswer)
        except (OSError, msgspec.MsgspecError):
            return None
        with contextlib.suppress(OSError):
            os.utime(file)
        return found

    def keep(self, digest: str, answer: KeptAnswer) -> None:
        """Keep an answer if there is room; a full disk keeps none."""
        data = msgspec.msgpack.encode(answer)
        if len(data) > self._max_bytes:
            return
        file = self._file(digest)
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with atomic_write(file, private=True) as beside:
                beside.write_bytes(data)
        with self._lock:
            self._since_look += len(data)
            is_due = self._since_look >= min(_LOOK_EVERY_BYTES, self._max_bytes // 8)
            self._since_look = 0 if is_due else self._since_look
        if is_due:
            self._make_room()

    def _file(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest

    def _make_room(self) -> None:
        found = []
        with contextlib.suppress(OSError):
            for file in self._folder.glob("??/*"):
                with contextlib.suppress(OSError):
                    stat = file.stat()
                    found.append((stat.st_mtime_ns, stat.st_size, file))
        total = sum(size for _, size, _ in found)
        for _, size, file in sorted(found):
            if total <= self._max_bytes:
                return
            with contextlib.suppress(OSError):
                file.unlink()
            total -= size

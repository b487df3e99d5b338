"""A queue of bytes from the event loop to a thread, on disk: neither a slow reader nor a large answer takes memory."""

import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Self


class Spool:
    """`put` pieces on one side and `end`; iterate on the other, in a thread: it waits for the next piece."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="mesh-sql-")  # noqa: SIM115  # `__exit__` closes it
        self._lengths: deque[int] = deque()
        self._read = self._written = 0
        self._ended, self._whole = False, True
        self._changed = threading.Condition()

    def put(self, piece: bytes) -> None:
        """Append a piece."""
        with self._changed:
            self._file.seek(self._written)
            self._file.write(piece)
            self._written += len(piece)
            self._lengths.append(len(piece))
            self._changed.notify()

    def end(self, *, whole: bool = True) -> None:
        """End the queue; if it is not `whole`, the reader gets an `EOFError`."""
        with self._changed:
            self._ended, self._whole = True, whole and self._whole
            self._changed.notify()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._changed:
                while not self._lengths and not self._ended:
                    self._changed.wait()
                if not self._lengths:
                    if not self._whole:
                        raise EOFError("the answer ends in its midst")
                    return
                self._file.seek(self._read)
                piece = self._file.read(self._lengths.popleft())
                self._read += len(piece)
            yield piece

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(whole=kind is None)
        with self._changed:
            self._lengths.clear()
            self._file.close()

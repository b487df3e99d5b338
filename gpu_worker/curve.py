"""Reads the learning curve of a trial while it runs: JSON lines that the trial appends to `MESH_REPORT`."""

import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated

import anyio
import msgspec

from mesh.bounds import Number
from mesh.decoding import decode_json
from mesh.events import CurvePoint

MAX_POINTS = 64
"""Points that a finished run keeps."""
READ_EVERY_S = (0.05, 0.3)
"""Bounds of the time between two readings; between them it is a fiftieth of the budget."""
_MAX_LINE = 400
MAX_READ = 256 * 1024
"""Bytes taken in one reading."""
MAX_LIVE = 16
"""Points of one reading that are sent to live listeners."""


class _Line(msgspec.Struct):
    step: Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
    value: Number


class Curve:
    """The points that a trial has reported so far. Lines that are not valid are skipped.

    Args:
        path: the report file, which the trial writes: `{"step": int, "value": float}` per line. All else in a line is
            ignored: how far a trial is, this worker measures.
        send: called with each new point, encoded as JSON.
        budget_s: the run's budget in seconds.
        used_s: returns the seconds that the trial has used of it by now.
    """

    def __init__(
        self, path: Path, send: Callable[[bytes], Awaitable[None]], budget_s: float, used_s: Callable[[], float]
    ) -> None:
        self._path, self._send, self._budget_s, self._used_s = path, send, budget_s, used_s
        self._began = anyio.current_time()
        self._offset, self._points = 0, list[CurvePoint]()
        self._used_before_s = 0.0

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Read again and again while the block runs, and once more after it."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read_repeatedly)
            yield
            tasks.cancel_scope.cancel()
        await self._read()

    def points(self) -> tuple[CurvePoint, ...]:
        """Return at most `MAX_POINTS` points, evenly chosen, the last one among them."""
        step = -(-len(self._points) // MAX_POINTS) or 1
        return tuple(self._points[::-1][::step][::-1])

    async def _read_repeatedly(self) -> None:
        while True:
            await anyio.sleep(min(max(self._budget_s / 50, READ_EVERY_S[0]), READ_EVERY_S[1]))
            await self._read()

    async def _read(self) -> None:
        data = self._new_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole) or (len(data) if len(data) > _MAX_LINE else 0)
        lines: list[_Line] = []
        for line in whole.splitlines():
            if len(line) <= _MAX_LINE:
                with suppress(msgspec.MsgspecError):
                    lines.append(decode_json(line, _Line))
        points = self._stamped(lines)
        self._points += points
        for point in points[-MAX_LIVE:]:
            await self._send(msgspec.json.encode(point))
        if len(self._points) > 4 * MAX_POINTS:
            self._points = list(self.points())

    def _stamped(self, lines: list[_Line]) -> list[CurvePoint]:
        """Return the points of one reading: spread over what the trial has used since the reading before."""
        before_s, used_s = self._used_before_s, self._used_s()
        self._used_before_s = used_s
        at_s, points = anyio.current_time() - self._began, []
        for number, line in enumerate(lines, 1):
            fraction = min(1.0, (before_s + (used_s - before_s) * number / len(lines)) / self._budget_s)
            points.append(CurvePoint(line.step, line.value, round(at_s, 2), round(fraction, 3)))
        return points

    def _new_bytes(self) -> bytes:
        """Return what was appended since the last reading; never wait where the trial put a pipe, nor follow a link."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError:
            return b""
        try:
            is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
            return os.pread(descriptor, MAX_READ, self._offset) if is_file else b""
        except OSError:
            return b""
        finally:
            os.close(descriptor)

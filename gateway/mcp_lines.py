"""The lines of MCP on standard input and output, in a way that a signal can interrupt.

A line that is too long or is not a JSON object is answered here, so that what it was does not come back in an error.
"""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import anyio
import anyio.lowlevel
import msgspec

MAX_MESSAGE = 5 * 1024 * 1024
"""Bytes of a message."""

_PIECE = 65536
_ATOMIC = 4096
"""Bytes that a pipe takes without blocking, once it is writable (PIPE_BUF)."""


def flaw_of(message: bytes) -> tuple[int, str] | None:
    """Return why a message is not one of JSON-RPC 2.0, as a code and a sentence; None if it is."""
    try:
        found = msgspec.json.decode(message)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return -32700, "the message is not valid JSON; send one object"
    if not isinstance(found, dict) or found.get("jsonrpc") != "2.0":
        return -32600, 'the message is not an object with "jsonrpc": "2.0"; send one at a time'
    if not isinstance(found.get("params", {}), dict) or not isinstance(found.get("method", ""), str):
        return -32600, "the message has a method that is not text, or params that are not an object"
    if isinstance(found.get("id", 0), bool) or not isinstance(found.get("id", 0), str | int):
        return -32600, "the message has an id that is neither text nor a whole number"
    return None


@contextmanager
def standard_streams() -> Iterator[tuple[int, int]]:
    """Yield descriptors of standard input and output; meanwhile who reads 0 reads nothing, and 1 is standard error."""
    read_from, write_to = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    sys.stdout.flush()
    try:
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        yield read_from, write_to
    finally:
        os.dup2(read_from, 0)
        os.dup2(write_to, 1)
        for each in (read_from, write_to, nothing):
            os.close(each)


class OutputLines:
    """Text that is written to a descriptor, one message at a time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._turn = descriptor, anyio.Lock()

    async def write(self, text: str) -> None:
        """Write a whole message; a reader that went away takes none."""
        data = memoryview(text.encode(errors="replace"))
        async with self._turn:
            while data:
                await _ready(anyio.wait_writable, self._descriptor)
                try:
                    data = data[os.write(self._descriptor, data[:_ATOMIC]) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    return

    async def flush(self) -> None:
        """Do nothing: what is written is written."""


class InputLines:
    """The messages on a descriptor, a line each; bad ones are answered on `output`."""

    def __init__(self, descriptor: int, output: OutputLines) -> None:
        self._descriptor, self._output = descriptor, output

    async def __aiter__(self) -> AsyncIterator[str]:
        rest, is_too_long = bytearray(), False
        while data := await self._read():
            *whole, last = data.split(b"\n")
            for piece in whole:
                rest += piece
                if is_too_long or len(rest) > MAX_MESSAGE:
                    await self._refuse(-32600, f"the message is longer than {MAX_MESSAGE:,} bytes; send less")
                elif rest.strip() and await self._is_good(bytes(rest)):
                    yield rest.decode()
                rest, is_too_long = bytearray(), False
            rest += last
            if len(rest) > MAX_MESSAGE:
                rest, is_too_long = bytearray(), True

    async def _read(self) -> bytes:
        while True:
            await _ready(anyio.wait_readable, self._descriptor)
            try:
                return os.read(self._descriptor, _PIECE)
            except BlockingIOError:
                continue
            except OSError:  # the terminal is gone
                return b""

    async def _is_good(self, line: bytes) -> bool:
        if flaw := flaw_of(line):
            await self._refuse(*flaw)
        return not flaw

    async def _refuse(self, code: int, why: str) -> None:
        answer = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": why}}
        await self._output.write(msgspec.json.encode(answer).decode() + "\n")


async def _ready(wait: object, descriptor: int) -> None:
    """Wait until a descriptor can be used; a plain file always can."""
    try:
        await wait(descriptor)  # type: ignore[operator]
    except OSError:
        await anyio.lowlevel.checkpoint()

"""The worker's end of a supervisor: starts it, sends it requests, and cleans up after it."""

import os
import signal
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
import anyio.abc
import anyio.to_thread
import msgspec
import psutil
from anyio.streams.buffered import BufferedByteReceiveStream

from gpu_worker.environment import inherited
from gpu_worker.supervisor import cgroup
from gpu_worker.supervisor.protocol import Ending, Kill, Request
from mesh.errors import HostTrouble
from mesh.safe_path import PYTHON, inheritable

MAX_ANSWER_BYTES = 16 * 1024 * 1024
END_WITHIN_S = 3.0
LOOKS, MAX_LOOKS = 10, 1000
_DIED = "the supervisor died"


class SupervisorDied(HostTrouble):
    """The supervisor of a slot is gone; a new one can be started at once."""


class Supervisor:
    """A running supervisor of a slot; every process that it starts has `token` in its environment."""

    def __init__(self, process: anyio.abc.Process, token: str) -> None:
        assert process.stdout is not None
        self.process, self.token = process, token
        self._answers = BufferedByteReceiveStream(process.stdout)

    async def run(self, request: Request) -> Ending:
        """Run a command and return how it ended; no process of it is left then.

        Raises:
            SupervisorDied: the supervisor died meanwhile.
            HostTrouble: this machine cannot sandbox the command as its policy says.
        """
        await self._send(request)
        try:
            line = await self._answers.receive_until(b"\n", MAX_ANSWER_BYTES)
            ending = msgspec.json.decode(line, type=Ending)
        except (anyio.IncompleteRead, anyio.EndOfStream, anyio.DelimiterNotFound, OSError, msgspec.MsgspecError):
            raise SupervisorDied(_DIED) from None
        if ending.why == "sandbox":
            raise HostTrouble(ending.err)
        return ending

    async def kill(self) -> None:
        """Kill the command that runs now, whose `run` then returns `killed`; do nothing where none runs.

        Raises:
            SupervisorDied: the supervisor died.
        """
        await self._send(Kill())

    async def died(self) -> None:
        """Wait until the supervisor is gone.

        Raises:
            SupervisorDied: always.
        """
        await self.process.wait()
        raise SupervisorDied(_DIED)

    async def _send(self, message: Request | Kill) -> None:
        assert self.process.stdin is not None
        try:
            await self.process.stdin.send(msgspec.json.encode(message) + b"\n")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            raise SupervisorDied(_DIED) from None


@asynccontextmanager
async def start_supervisor(
    preload: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> AsyncIterator[Supervisor]:
    """Start a supervisor; when the block ends, it and all that it started are gone.

    Args:
        preload: modules that it imports once, for warm launches.
        env: variables that these modules read when they are imported (how many threads to use).

    Raises:
        HostTrouble: it cannot be started.
    """
    token = uuid.uuid4().hex
    command = [*PYTHON, "gpu_worker.supervisor", *preload]
    whole_env = inherited() | dict(env or {}) | {"MESH_RUN_TOKEN": token, "PYTHONPATH": inheritable()}
    try:
        process = await anyio.open_process(
            command, stdin=subprocess.PIPE, stderr=None, env=whole_env, start_new_session=True
        )
    except OSError as error:
        raise HostTrouble(f"no process can be started on this machine: {error.strerror}") from None
    try:
        yield Supervisor(process, token)
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)
            if process.returncode != 0:
                await anyio.to_thread.run_sync(kill_marked, token)
                cgroup.sweep(process.pid)


async def _end(process: anyio.abc.Process) -> None:
    """Close the supervisor's input, which makes it kill its tree and end."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError, anyio.BrokenResourceError):
        await process.stdin.aclose()
    with anyio.move_on_after(END_WITHIN_S):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
    await process.stdout.aclose()


def kill_marked(token: str) -> int:
    """Kill every process whose environment has the token until none is left; return how many were killed.

    One look can miss a process that is born meanwhile, so it ends only after `LOOKS` looks that find nothing.
    """
    killed: set[int] = set()
    nothing = 0
    for _ in range(MAX_LOOKS):
        marked = []
        for pid in reversed(psutil.pids()):
            if _has_token(pid, token):
                marked.append(pid)
                with suppress(OSError):
                    os.kill(pid, signal.SIGSTOP)
        for pid in marked:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        killed.update(marked)
        nothing = 0 if marked else nothing + 1
        if nothing == LOOKS:
            break
        time.sleep(0.001)
    return len(killed)


def _has_token(pid: int, token: str) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as environ:
            return f"MESH_RUN_TOKEN={token}".encode() in environ.read().split(b"\0")
    except OSError:
        return False

"""The worker's end of a supervisor: start it, send it commands, and clean up after it when it dies."""

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

from gpu_worker.launch import Launch, passed_on
from gpu_worker.supervisor import cgroup
from gpu_worker.supervisor.protocol import Ending
from mesh.errors import HostTrouble
from mesh.safe_path import PYTHON, inheritable

MAX_ANSWER_BYTES = 16 * 1024 * 1024
END_WITHIN_S = 3.0
LOOKS, MAX_LOOKS = 10, 1000
_DIED = "the supervisor died"


class SupervisorDied(HostTrouble):
    """The supervisor of a slot is gone; another one can be started at once."""


class Supervisor:
    """The handle on a slot's supervisor process; every process of its trials carries `token`."""

    def __init__(self, process: anyio.abc.Process, token: str) -> None:
        assert process.stdout is not None
        self.process, self.token = process, token
        self._answers = BufferedByteReceiveStream(process.stdout)

    async def run(
        self,
        launch: Launch,
        *,
        deadline_s: float,
        memory_mb: float,
        disk_mb: float = 0,
        processes: int = 0,
        watch: Sequence[str] = (),
        beside: Launch | None = None,
    ) -> Ending:
        """Run a command and return how it ended; no process of it is left then.

        Limits of 0 are none; `disk_mb` is what the folders in `watch` may hold. What runs `beside` answers the command.

        Raises:
            SupervisorDied: it died meanwhile.
            HostTrouble: this machine cannot hold the command as the policy says.
        """
        request = {
            **msgspec.to_builtins(launch),
            "deadline_s": deadline_s,
            "memory_mb": memory_mb,
            "disk_mb": disk_mb,
            "processes": processes,
            "watch": watch,
            "beside": msgspec.to_builtins(beside) if beside else None,
        }
        await self._send(msgspec.json.encode(request))
        try:
            ended = msgspec.json.decode(await self._answers.receive_until(b"\n", MAX_ANSWER_BYTES), type=Ending)
        except (anyio.IncompleteRead, anyio.EndOfStream, anyio.DelimiterNotFound, OSError, msgspec.MsgspecError):
            raise SupervisorDied(_DIED) from None
        if ended.why == "sandbox":
            raise HostTrouble(ended.err)
        return ended

    async def kill(self) -> None:
        """Kill what runs now; `run` then returns with `why` killed. Nothing happens where nothing runs.

        Raises:
            SupervisorDied: it died.
        """
        await self._send(b'{"kill": true}')

    async def died(self) -> None:
        """Wait until the supervisor is gone.

        Raises:
            SupervisorDied: always.
        """
        await self.process.wait()
        raise SupervisorDied(_DIED)

    async def _send(self, line: bytes) -> None:
        assert self.process.stdin is not None
        try:
            await self.process.stdin.send(line + b"\n")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            raise SupervisorDied(_DIED) from None


@asynccontextmanager
async def supervisor(preload: Sequence[str] = (), env: Mapping[str, str] | None = None) -> AsyncIterator[Supervisor]:
    """Start a supervisor that imports `preload`; when the block ends it and all that it started are gone.

    `env` is what the imported modules shall see (how many threads to use).

    Raises:
        HostTrouble: it cannot be started.
    """
    token = uuid.uuid4().hex
    command = [*PYTHON, "gpu_worker.supervisor", *preload]
    seen = passed_on() | dict(env or {}) | {"MESH_RUN_TOKEN": token, "PYTHONPATH": inheritable()}
    try:
        process = await anyio.open_process(
            command, stdin=subprocess.PIPE, stderr=None, env=seen, start_new_session=True
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
    """Kill every process whose environment carries the token until none is left; return how many were killed.

    One look can miss a process that is born during it, so that only several looks without a find are believed.
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

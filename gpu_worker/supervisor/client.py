"""The worker's end of a supervisor: starts it, sends it requests, and cleans up after it."""

import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread
import msgspec
from anyio.streams.buffered import BufferedByteReceiveStream

from gpu_worker.environment import inherited
from gpu_worker.supervisor import cgroup
from gpu_worker.supervisor.mark import TOKEN, kill_marked, kill_users
from gpu_worker.supervisor.protocol import PROGRESS, Ending, Kill, Progress, Request
from mesh.errors import HostTrouble
from mesh.safe_path import PYTHON, inheritable

MAX_ANSWER_BYTES = 16 * 1024 * 1024
END_WITHIN_S = 3.0
IMPORT_WITHIN_S, ANSWER_WITHIN_S = 600.0, 30.0
"""Seconds that a supervisor may take to import modules, and to answer after a deadline."""

_DIED = "the supervisor died"
_BOOT = """
import sys
from importlib.machinery import PathFinder
sys.path[:] = [path for path in sys.path if path]
class MeshFinder:
    root = sys.argv.pop(1)
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if path is None and name in ("gpu_worker", "mesh"):
            return PathFinder.find_spec(name, [cls.root])
sys.meta_path.insert(0, MeshFinder)
from gpu_worker.supervisor.__main__ import main
main()
"""
"""Starts a supervisor in another interpreter, which finds our two packages and nothing that is installed beside them.

`gpu_worker.supervisor.fork` takes the finder away before a trial begins.
"""
_ROOT = Path(__file__).resolve().parents[2]


class SupervisorDied(HostTrouble):
    """The supervisor of a slot is gone; a new one can be started at once."""


class Supervisor:
    """A running supervisor of a slot; every process that it starts has `token` in its environment."""

    def __init__(self, process: anyio.abc.Process, token: str) -> None:
        assert process.stdout is not None
        self.process, self.token = process, token
        self.users = set[int]()
        self._patience_s = IMPORT_WITHIN_S
        self.used_s = 0.0
        """Seconds that the command has used of its budget: of the one that runs now, else of the last one."""
        self._answers = BufferedByteReceiveStream(process.stdout)

    async def run(self, request: Request) -> Ending:
        """Run a command and return how it ended; no process of it is left then.

        Raises:
            SupervisorDied: the supervisor died meanwhile, or does not answer: it may be stopped.
            HostTrouble: this machine cannot sandbox the command as its policy says.
        """
        policies = [launch.policy for launch in (request.launch, request.beside) if launch]
        self.users |= {policy.uid for policy in policies if policy and policy.uid is not None}
        self.used_s = 0.0
        await self._send(request)
        try:
            within_s = request.limits.deadline_s + ANSWER_WITHIN_S + self._patience_s
            with anyio.fail_after(within_s):
                while (line := await self._answers.receive_until(b"\n", MAX_ANSWER_BYTES)).startswith(PROGRESS):
                    self.used_s = msgspec.json.decode(line, type=Progress).progress_s
            self._patience_s = 0.0
            ending = msgspec.json.decode(line, type=Ending)
        except TimeoutError:
            raise SupervisorDied(f"the supervisor has not answered for {within_s:g} s") from None
        except (anyio.IncompleteRead, anyio.EndOfStream, anyio.DelimiterNotFound, OSError, msgspec.MsgspecError):
            raise SupervisorDied(_DIED) from None
        if ending.why == "sandbox":
            raise HostTrouble(ending.err)
        self.used_s = ending.used_s
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
    preload: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    *,
    options: Sequence[str] = (),
    python: str = sys.executable,
) -> AsyncIterator[Supervisor]:
    """Start a supervisor; when the block ends, it and all that it started are gone.

    Args:
        preload: modules that it imports once, for warm launches.
        env: variables that these modules read when they are imported (how many threads to use).
        options: of `gpu_worker.supervisor`, for tests.
        python: the interpreter that it runs in, and warm launches with it.

    Raises:
        HostTrouble: it cannot be started.
    """
    token = uuid.uuid4().hex
    whole_env = inherited() | dict(env or {}) | {TOKEN: token}
    if python == sys.executable:
        command = [*PYTHON, "gpu_worker.supervisor", *options, *preload]
        whole_env["PYTHONPATH"] = inheritable()
    else:
        command = [python, "-c", _BOOT, str(_ROOT), *options, *preload]
        whole_env |= {"PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        process = await anyio.open_process(
            command, stdin=subprocess.PIPE, stderr=None, env=whole_env, start_new_session=True
        )
    except OSError as error:
        raise HostTrouble(f"no process can be started on this machine: {error.strerror}") from None
    supervisor = Supervisor(process, token)
    try:
        yield supervisor
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)
            if process.returncode != 0:
                await anyio.to_thread.run_sync(_kill_left, supervisor)


def _kill_left(supervisor: Supervisor) -> None:
    """Kill what a supervisor that died may have left, in each way that this machine has."""
    cgroup.sweep(supervisor.process.pid)
    kill_marked(supervisor.token)
    if supervisor.users:
        kill_users(supervisor.users)
    cgroup.sweep(supervisor.process.pid)


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

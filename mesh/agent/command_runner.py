"""How a role has a command of others run: in this machine's sandbox, within limits, and no process of it is left.

A role decides; what runs commands is made outside of it (`gpu_worker.sandbox_runner`), because roles know no sandbox.
"""

from pathlib import Path
from typing import Literal, Protocol

import msgspec

Stopped = Literal["", "deadline", "memory", "disk", "processes", "output", "start", "died"]
"""Why a command was ended or not started; "" if it ended by itself. `died`: what watched it was killed."""


class SandboxedCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A command, what it may touch and what it may take.

    Attributes:
        words: its program and arguments.
        env: its whole environment.
        folder: where it starts.
        read: paths that it may read beside the system's.
        write: folders that it may write.
        tmp: the one of them that appears as `/tmp` where the sandbox has mounts of its own.
        watch: the folder whose size counts against `disk_mb`.
        ports: the only TCP ports that it may connect to, where the kernel can tell.
        deadline_s: seconds after which it is ended, with all that it started.
        memory_mb: most resident memory of all its processes.
        disk_mb: most bytes of `watch`.
    """

    words: tuple[str, ...]
    env: dict[str, str]
    folder: Path
    read: tuple[Path, ...]
    write: tuple[Path, ...]
    tmp: Path
    watch: Path
    ports: tuple[int, ...]
    deadline_s: float
    memory_mb: float
    disk_mb: float


class CommandEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended: its exit code, why it was ended, and the beginning and end of what it printed."""

    rc: int | None
    why: Stopped = ""
    out: str = ""
    err: str = ""
    seconds: float = 0.0


class CommandRunner(Protocol):
    """Runs commands; `Context.commands` is one.

    Attributes:
        folder: where the folders of commands are made.
    """

    folder: Path

    async def prepare(self) -> str:
        """Find the sandbox of this machine; return one sentence if it is weaker than it should be, else "".

        Raises:
            HostTrouble: no sandbox holds that is allowed.
        """

    async def run(self, command: SandboxedCommand) -> CommandEnd:
        """Run a command and return how it ended; cancelling ends it with all that it started.

        Raises:
            HostTrouble: this machine cannot run anything in the sandbox.
        """

"""The child processes of `mesh up`: each is started again when it dies, and which of them cannot run is known.

A child that ends with `ExitCode.BAD_INPUT` has refused: the next one would be given the same reason, so it is not
started again. (A projector is: the file that another program has open may be free by then.)
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

import anyio
import anyio.abc
import psutil

from mesh import settings
from mesh.disk import full_disk
from mesh.errors import BadInput, HostTrouble
from mesh.text import printable
from mesh_cli.exit import ExitCode

_STOP_WITHIN_S = 8.0
STEADY_S = 60.0
"""A child that ran this long has started well; the next pause is short again."""
FAILING = 3
"""Early ends in a row after which a child counts as failing."""


class Children:
    """Runs the children of a swarm; `refused` and `failing` say of each that cannot run why."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        """Take the home, whose `logs` folder gets a file per child, and the environment of all children.

        Raises:
            HostTrouble: the folder cannot be made.
        """
        self._logs, self._env = home / "logs", env
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HostTrouble(full_disk(home) or f"{self._logs} cannot be written: {error.strerror}") from None
        self.refused: dict[str, str] = {}
        self.failing: dict[str, str] = {}
        self._changed = anyio.Event()

    async def keep(self, name: str, command: Sequence[str], keys: bool | Collection[str] = False) -> None:
        """Run a child; start it again when it dies, later each time; end it and all its children when cancelled.

        Args:
            name: the name of the child and of its log.
            command: how it is started.
            keys: whether it may ask a model, or the names of what it gets of what is called a key, token or secret.
        """
        env = self._env if keys is True else settings.without_secrets(self._env)
        if not isinstance(keys, bool):
            env |= {key: self._env[key] for key in keys if key in self._env}
        pause_s, early = 1.0, 0
        while True:
            began = time.monotonic()
            code = await self._run(name, command, env)
            why = self._last_line(name) or f"it ended with exit code {code}"
            steady = time.monotonic() - began > STEADY_S
            early = 0 if steady else early + 1
            if code == ExitCode.BAD_INPUT:
                if early == 1:
                    print(f"mesh: {name} cannot run: {why}", file=sys.stderr)
                if name != "projector":
                    self._tell(self.refused, name, why)
                    return
            else:
                print(f"mesh: {name} ended with exit code {code} and is started again: {why}", file=sys.stderr)
            if early >= FAILING:
                self._tell(self.failing, name, why)
            elif steady:
                self.failing.pop(name, None)
            await anyio.sleep(pause_s)
            pause_s = 1.0 if steady else min(30.0, pause_s * 2)

    async def until_useless(self, needed: Sequence[Collection[str]], *, alone: bool) -> None:
        """Wait until the children can do nothing: those without which nothing is found have refused.

        Args:
            needed: groups of children; a group has refused when every child in it has.
            alone: nobody else works for the arena, so that one group is enough; else all must have refused.
        """
        while True:
            gone = [self.refused.keys() >= set(group) for group in needed]
            if (any if alone else all)(gone):
                return
            await self._changed.wait()

    def check(self, needed: Sequence[Collection[str]]) -> None:
        """Raise an error if a whole group of `needed` children could not run.

        Raises:
            BadInput: every child of a group refused.
            HostTrouble: every child of a group refused or failed again and again.
        """
        for group in needed:
            reasons = {name: self.down[name] for name in group if name in self.down}
            if len(reasons) < len(group):
                continue
            names = " and ".join(reasons)
            kind = BadInput if reasons.keys() <= self.refused.keys() else HostTrouble
            raise kind(f"the swarm could not work without its {names}: {'; '.join(reasons.values())}")

    @property
    def down(self) -> dict[str, str]:
        """The children that cannot run, with the reason."""
        return self.failing | self.refused

    def _tell(self, where: dict[str, str], name: str, why: str) -> None:
        where[name] = why
        self._changed.set()
        self._changed = anyio.Event()

    async def _run(self, name: str, command: Sequence[str], env: dict[str, str]) -> int:
        """Run a child once and return its exit code; without a log if the home cannot be written."""
        with ExitStack() as opened:
            log: IO[bytes] | int = subprocess.DEVNULL
            with suppress(OSError):
                log = opened.enter_context((self._logs / f"{name}.log").open("ab"))
            try:
                process = await anyio.open_process(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=env,  # with the server's address, which may hold a password
                    start_new_session=True,
                )
            except OSError as error:  # no memory or no process left
                print(f"mesh: {name} cannot be started: {error.strerror}", file=sys.stderr)
                return ExitCode.HOST
        try:
            return await process.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)

    def _last_line(self, name: str) -> str:
        """Return the last line of a child's log, without its name before it."""
        lines: list[str] = []
        with suppress(OSError), (self._logs / f"{name}.log").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 4000))
            lines = log.read().decode(errors="replace").strip().splitlines()
        return printable(lines[-1].removeprefix(f"{name}: ").removeprefix("gpu_worker: ")) if lines else ""


async def _end(process: anyio.abc.Process) -> None:
    """Ask a child to end, then kill its tree."""
    if process.returncode is None:
        tree: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):  # it may have ended already, and not been waited for yet
            child = psutil.Process(process.pid)
            tree = [child, *child.children(recursive=True)]
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        with anyio.move_on_after(_STOP_WITHIN_S):
            await process.wait()
        for member in tree:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        with anyio.move_on_after(_STOP_WITHIN_S):  # the kernel may hold a process on a broken disk
            await process.wait()
    if process.stdin is not None:
        await process.stdin.aclose()

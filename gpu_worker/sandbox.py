"""The port of a sandbox: how a command is contained, and which tier that is.

Only tier `none` exists by now: the trial runs as the worker's user, with an environment by allow-list, a deadline, a
memory watchdog and a process tree that dies, but it can read and write what the worker can.
"""

from typing import Protocol

import msgspec


class Launch(msgspec.Struct, frozen=True):
    """What is started: a command and its whole environment, in a folder."""

    command: tuple[str, ...]
    env: dict[str, str]
    cwd: str


class Sandbox(Protocol):
    """A way of containing a command; `tier` is what stands in `worker.joined` and `run.finished`."""

    tier: str

    def wrap(self, launch: Launch) -> Launch:
        """Return the launch that contains `launch`."""


class NoSandbox:
    """Tier `none`: the command as it is."""

    tier = "none"

    def wrap(self, launch: Launch) -> Launch:
        return launch

"""Roles of the user's own in `mesh up`: each is checked before anything starts, and then runs as a child like ours."""

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import anyio

from mesh.errors import BadInput
from mesh.safe_path import PYTHON
from mesh.text import printable


async def check(roles: Sequence[str], options: Sequence[str] = (), words: Sequence[str] = ()) -> None:
    """Refuse roles that cannot start; each is imported in a process of its own, as it will be when it runs.

    Args:
        roles: `module:Class`, found in the current folder where they are not installed.
        options: options of each, as KEY=VALUE.
        words: more words of the command of each.

    Raises:
        BadInput: a role cannot start, in the words of `python -m mesh.agent ROLE --check`.
    """
    for role in roles:
        command = [*PYTHON, "mesh.agent", role, "--check", "--path", str(Path.cwd()), *flags(options), *words]
        env = {name: value for name, value in os.environ.items() if name != "MESH_PARENT"}
        done = await anyio.run_process(command, check=False, env=env, stdin=subprocess.DEVNULL)
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"it ended with {done.returncode}"]
            raise BadInput(printable(lines[-1].partition(": ")[2] or lines[-1], 1000))


def flags(options: Iterable[str]) -> list[str]:
    """Return options of a role, as KEY=VALUE, as words of its command."""
    return [word for option in options for word in ("--option", option)]


def commands(roles: Iterable[str], options: Sequence[str], taken: Mapping[str, object]) -> dict[str, list[str]]:
    """Return the commands of these roles by the name of the child, which is that of the class and not yet taken.

    Args:
        roles: `module:Class`.
        options: what every agent is given, such as `--arena`.
        taken: the names of the other children.
    """
    found: dict[str, list[str]] = {}
    for role in roles:
        first = role.rpartition(":")[2].lower()
        numbered = (f"{first}-{number}" if number > 1 else first for number in range(1, 1000))
        name = next(each for each in numbered if each not in taken and each not in found)
        found[name] = [*PYTHON, "mesh.agent", role, "--name", name, "--path", str(Path.cwd()), *options]
    return found

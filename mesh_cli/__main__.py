"""The composition root: `mesh`, with every command.

A module of `mesh_cli.commands` joins its commands to the app by being imported here, in the order of the help.
"""

import sys

try:
    import mesh.safe_path  # noqa: F401  before all others
except ModuleNotFoundError as error:
    if error.name != "mesh.safe_path":
        raise
    where = next(iter(sys.modules["mesh"].__path__))
    print(
        f"mesh: Python imports another package called mesh, at {where}, in place of ours: give mesh-swarm a virtual "
        "environment of its own (python -m venv .venv; .venv/bin/pip install 'mesh-swarm[up]')",
        file=sys.stderr,
    )
    sys.exit(2)

# isort: split

import io

from cyclopts import CycloptsError

from mesh.errors import MeshError
from mesh_cli.app import app
from mesh_cli.commands import arena, git, history, leaderboard, notes, proposals, report, setup, sql, watch, web
from mesh_cli.exit import ExitCode, code_of

__all__ = [
    "app",
    "arena",
    "git",
    "history",
    "leaderboard",
    "main",
    "notes",
    "proposals",
    "report",
    "setup",
    "sql",
    "watch",
    "web",
]


def main(words: list[str] | None = None) -> None:
    """Run a command; an expected error is one sentence on stderr and an exit code of `mesh_cli.exit`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            ended = app(words, exit_on_error=False, print_error=False)
        finally:
            sys.stdout.flush()
        sys.exit(ended)
    except (MeshError, OSError) as error:
        if (ended := code_of(error)) is None:
            raise
        sys.exit(ended)
    except CycloptsError as error:
        print(f"mesh: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(ExitCode.BAD_INPUT)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)


if __name__ == "__main__":
    main()

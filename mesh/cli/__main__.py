"""The composition root: `mesh`, with every command.

A module of `mesh.cli.commands` joins its commands to the app by being imported here, in the order of the help.
"""

import io
import sys

from cyclopts import CycloptsError

from mesh.cli.app import app
from mesh.cli.codes import ExitCode
from mesh.cli.commands import (
    asking,
    code,
    history,
    navigating,
    pictures,
    ranking,
    reporting,
    running,
    setup,
    speaking,
    watching,
)
from mesh.cli.run import code_of
from mesh.errors import MeshError

__all__ = [
    "app",
    "asking",
    "code",
    "history",
    "main",
    "navigating",
    "pictures",
    "ranking",
    "reporting",
    "running",
    "setup",
    "speaking",
    "watching",
]


def main(words: list[str] | None = None) -> None:
    """Run a command; an expected error is one sentence on stderr and an exit code of `mesh.cli.codes`."""
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

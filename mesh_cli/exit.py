"""How a command runs and ends: exit codes, signals, expected errors, closed pipes and full disks."""

import errno
import os
import sys
from collections.abc import Awaitable, Callable
from enum import IntEnum

from mesh.errors import MeshError, leaf

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class ExitCode(IntEnum):
    """The exit codes of commands, as in `docs/cli.md`."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    NO_LOG = 3
    QUERY = 4
    HOST = 5
    NOT_BETTER = 10
    NO_SCORE = 11
    REFUSED = 12
    TIMED_OUT = 13
    CLOSED = 14
    INTERRUPTED = 130


def run(work: Callable[[], Awaitable[None]], *, endless: bool = False) -> int:
    """Run a command until it ends or a signal ends it; a signal is the normal end of an `endless` command."""
    import anyio

    from mesh.daemon import until_signal

    try:
        ended = anyio.run(until_signal, work)
        sys.stdout.flush()
    except BaseException as error:
        code = exit_code_of(leaf(error))
        if code is None:
            raise
        return code
    return ExitCode.OK if ended or endless else ExitCode.INTERRUPTED


def exit_code_of(cause: BaseException) -> int | None:
    """Print the reason in one sentence on stderr and return the exit code; None for an unexpected error."""
    if isinstance(cause, MeshError):
        print(f"mesh: {cause}", file=sys.stderr)
        return cause.exit_code
    if isinstance(cause, ModuleNotFoundError) and cause.name == "duckdb":
        print(
            "mesh: this command needs duckdb, which is not installed: pip install 'mesh-swarm[analytics]'",
            file=sys.stderr,
        )
        return ExitCode.BAD_INPUT
    if isinstance(cause, BrokenPipeError):
        _let_go_of_output()
        return ExitCode.OK
    if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
        if cause.filename is None:
            _let_go_of_output()
        print(f"mesh: {cause.filename or 'the output'} cannot be written: {cause.strerror or cause}", file=sys.stderr)
        return ExitCode.HOST
    return None


def _let_go_of_output() -> None:
    """Discard the rest of stdout, so that the interpreter does not fail at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

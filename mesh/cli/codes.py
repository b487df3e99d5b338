"""Exit codes of every command."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command ends with; `docs/cli.md` says the same."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    NO_LOG = 3
    QUERY = 4
    HOST = 5
    INTERRUPTED = 130

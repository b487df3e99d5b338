"""The command that a command line stands for: `python` is the task's interpreter, and `uv run` adds nothing."""

import sys
from collections.abc import Sequence

_ALONE = ("--frozen", "--locked", "--no-sync", "--quiet", "-q", "--offline", "--isolated", "--active", "--no-project")
_WITH_VALUE = ("--with", "--python", "-p", "--project", "--extra", "--group", "--env-file", "--directory")


def plain_command(command: Sequence[str], python: str = sys.executable) -> tuple[str, ...]:
    """Return a command without `uv run`, whose first word is the task's interpreter where it is `python` or a script.

    Trials have no network and write nothing to an environment, so that the packages of a task are installed where its
    workers run. A `uv run` with an option that is not known stays as it is.
    """
    words = list(command)
    if words[:2] == ["uv", "run"]:
        rest = words[2:]
        while rest and rest[0].startswith("-"):
            name, equals, _ = rest[0].partition("=")
            if name in _ALONE or (name in _WITH_VALUE and equals):
                rest = rest[1:]
            elif name in _WITH_VALUE:
                rest = rest[2:]
            elif name in ("-m", "--module", "-s", "--script"):
                rest = ["python", *(["-m"] if name in ("-m", "--module") else []), *rest[1:]]
            else:
                return tuple(words)
        words = ["python", *rest] if rest and rest[0].endswith(".py") else rest or words
        words[0] = "python" if words[0] == "python3" else words[0]
    return (python, *words[1:]) if words and words[0] == "python" else tuple(words)

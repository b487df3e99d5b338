"""Keeps a task's folder from shadowing packages. A `__main__` imports this module before anything else.

`python -m` puts the current folder first on `sys.path`, so a `nats.py` in that folder would be imported instead of the
real one. Importing this module moves the folder to the end. Modules that only exist there, such as a role that the user
wrote, are still found. Children are started with `PYTHON`, whose `-P` keeps the current folder off their path.
"""

import os
import sys
from pathlib import Path

PYTHON = (sys.executable, "-P", "-m")
"""The first words of a child's command; the name of a module follows."""

_ROOT = Path(__file__).resolve().parents[1]


def inheritable() -> str:
    """Return this process's `sys.path` as a `PYTHONPATH` for a child, without the current folder.

    The folder of our own packages stays, even if it is the current one.
    """
    here = Path.cwd()
    return os.pathsep.join(path for path in sys.path if path and (Path(path) != here or here == _ROOT))


def outside(folder: Path, paths: str) -> str:
    """Return a `PYTHONPATH` without the entries inside of a folder.

    Args:
        folder: the folder to leave out.
        paths: a `PYTHONPATH`; an empty entry is the current folder.
    """
    avoided, kept = folder.resolve(), []
    for path in paths.split(os.pathsep) if paths else []:
        resolved = Path(path).resolve()
        if resolved == _ROOT or not resolved.is_relative_to(avoided):
            kept.append(str(resolved))
    return os.pathsep.join(kept)


if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):
    sys.path.append(sys.path.pop(0) or os.getcwd())

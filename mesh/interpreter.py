"""The Python of a task: a path or an environment becomes an interpreter, with what a sandboxed process must read of it.

`environment.python` names an interpreter (`~/taskenv/bin/python`, `python3.12`) or the folder of an environment (a
venv, a conda environment, one of uv). It is asked once per process what it is. It must be Python 3.10 or later, because
our supervisor runs in it: evaluations then start as forks that have imported the task's own packages.
"""

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from mesh.errors import BadInput
from mesh.readable import is_below, is_visible

OLDEST = (3, 10)
"""The first version of Python that a supervisor runs in."""
ASK_WITHIN_S = 60.0
_ASK = """
import json, os, sys
names = []
for folder in sys.path:
    if os.path.isdir(folder):
        names += [name for name in os.listdir(folder) if name.endswith((".dist-info", ".egg-info"))]
prefixes = [sys.prefix, getattr(sys, "base_prefix", sys.prefix), sys.exec_prefix]
print(json.dumps([list(sys.version_info[:3]), sys.executable, prefixes, [p for p in sys.path if p], sorted(names)]))
"""


class Interpreter(msgspec.Struct, frozen=True):
    """An interpreter that has answered.

    Args:
        python: its program, by an absolute path.
        version: such as `3.12.4`.
        prefix: the folder of its environment.
        readable: the folders that its processes read, beside the system's.
        elsewhere: folders that it imports from which are not among them, such as those of editable installs.
        packages: what is installed in it: the names of the folders of their metadata.
    """

    python: str
    version: str
    prefix: str
    readable: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    @property
    def programs(self) -> str:
        """The folder of the programs of its environment."""
        return os.path.dirname(self.python)


def find_interpreter(text: str) -> Interpreter:
    """Return the interpreter that a path or a name stands for.

    Args:
        text: an absolute path, `~/…`, or the name of a program on PATH.

    Raises:
        BadInput: there is none, it does not answer, it is too old, or its folder would show trials the whole home.
    """
    return _answered(_program(text), text)


def below_home(path: str) -> str:
    """Return an absolute path with `~` in place of the user's home folder."""
    home = str(Path.home())
    return f"~{path[len(home) :]}" if path.startswith(f"{home}/") and home != "/" else path


def readable_folders(texts: Iterable[str], closed: Sequence[Path] = (), above: Sequence[Path] = ()) -> tuple[str, ...]:
    """Return the absolute paths of `environment.readable`.

    Args:
        texts: absolute paths, or `~/…`.
        closed: folders of which no trial may see any part.
        above: folders that no trial may see whole.

    Raises:
        BadInput: a path is not absolute, is not there, or would show trials what they must not see.
    """
    found = []
    for text in texts:
        path = os.path.expanduser(text)
        if not os.path.isabs(path):
            raise BadInput(f"environment.readable: {text!r} must be an absolute path, or one below ~")
        if not os.path.exists(path):
            raise BadInput(f"environment.readable: {text} is not on this machine: make it, or take it off the list")
        check_narrow("environment.readable", path, closed, above)
        found.append(os.path.normpath(path))
    return tuple(found)


def check_narrow(what: str, path: str, closed: Sequence[Path] = (), above: Sequence[Path] = ()) -> None:
    """Refuse a folder that has in it the user's home or what no trial may see; arguments as of `readable_folders`.

    Raises:
        BadInput: it has.
    """
    real = os.path.realpath(path)
    for folder in (Path.home(), *closed, *above):
        if is_below(os.path.realpath(folder), real):
            raise BadInput(f"{what}: {path} would show trials all of {folder}: name folders inside of it")
    for folder in closed:
        if is_below(real, os.path.realpath(folder)):
            raise BadInput(f"{what}: {path} lies in {folder}, which no trial may see: name another folder")


def _program(text: str) -> str:
    """Return the program that a path, a folder or a name stands for."""
    path = os.path.expanduser(text)
    if "/" not in path:
        if found := shutil.which(path):
            return found
        raise BadInput(f"environment.python: {text!r} is not a program on PATH: give the path of an environment")
    if os.path.isdir(path):
        inside = [os.path.join(path, "bin", name) for name in ("python", "python3")]
        found = next((each for each in inside if os.path.isfile(each)), "")
        if not found:
            raise BadInput(f"environment.python: {text} has no bin/python: give an environment or an interpreter")
        path = found
    if not os.path.exists(path):
        why = "leads to a file that is gone" if os.path.islink(path) else "is not on this machine"
        raise BadInput(f"environment.python: {text} {why}: make the environment, or change the path")
    if not os.access(path, os.X_OK):
        raise BadInput(f"environment.python: {text} cannot be executed: give an environment or an interpreter")
    return os.path.abspath(path)


def _answered(program: str, text: str) -> Interpreter:
    about = os.stat(program)
    place = os.path.dirname(program)
    return _ask(program, text, (about.st_mtime_ns, about.st_size, os.stat(place).st_mtime_ns))


@functools.lru_cache(maxsize=64)
def _ask(program: str, text: str, state: tuple[int, int, int]) -> Interpreter:
    """Ask an interpreter what it is; `state` changes where it is replaced."""
    kept = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "HOME")
    env = {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [program, "-E", "-s", "-c", _ASK], capture_output=True, timeout=ASK_WITHIN_S, check=False, env=env, cwd="/"
        )
        version, executable, prefixes, path, packages = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        raise BadInput(f"environment.python: {text} does not answer as a Python: give an interpreter") from None
    number = ".".join(map(str, version))
    if tuple(version[:2]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise BadInput(f"environment.python: {text} is Python {number}: give one of version {oldest} or later")
    if prefixes[0] == prefixes[1]:  # no venv, whose program must stay a link inside of it
        executable = os.path.realpath(executable)
    for prefix in prefixes:
        check_narrow("environment.python", prefix)
    wanted = dict.fromkeys(each for prefix in prefixes for each in (prefix, os.path.realpath(prefix)))
    needed = tuple(each for each in wanted if not is_visible(each))
    return Interpreter(
        python=executable,
        version=number,
        prefix=prefixes[0],
        readable=needed,
        elsewhere=tuple(each for each in path if os.path.isdir(each) and not is_visible(each, needed)),
        packages=tuple(packages),
    )

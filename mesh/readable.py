"""What every trial of a machine can read besides its own folders: the system's programs and libraries, and Python.

The sandbox opens these paths (`gpu_worker.sandbox`). Private data must not lie there, nor be derived from what does.
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

SYSTEM = (
    *("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/opt", "/proc", "/sys", "/etc/ld.so.cache"),
    *("/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/alternatives", "/etc/nsswitch.conf"),
    *("/etc/passwd", "/etc/group", "/etc/hosts", "/etc/resolv.conf", "/etc/ssl"),
)

_CERTIFICATES = ("/etc/pki", "/etc/ca-certificates", "/var/lib/ca-certificates")


def system_paths() -> tuple[str, ...]:
    """Return the paths that every process may read: programs and libraries of the system and of this interpreter."""
    own = {sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(sys.executable).resolve().parent)}
    return (*SYSTEM, *sorted(path for path in own if path != "/usr"))


def certificates() -> tuple[Path, ...]:
    """Return where systems keep the certificates of the network, beside `system_paths`."""
    return tuple(path for name in _CERTIFICATES if (path := Path(name)).exists())


def audited_paths() -> tuple[str, ...]:
    """Return the folders that trials may read, those with data first: Python with its packages, then the system."""
    own = [sys.prefix, sys.base_prefix, sys.exec_prefix, *(path for path in sys.path if path.endswith("-packages"))]
    return tuple(dict.fromkeys([*own, "/usr/share", *SYSTEM]))


def is_system_path(path: Path) -> str:
    """Return the system's path, at or above `path`, that every trial may read; "" if there is none."""
    real = path.resolve()
    return next((top for top in system_paths() if real.is_relative_to(Path(top).resolve())), "")


def is_below(path: str, top: str) -> bool:
    """Tell whether a path is a folder or lies in it, by their names."""
    return path == top or path.startswith(top.rstrip("/") + "/")


def is_visible(path: str, more: Iterable[str] = ()) -> bool:
    """Tell whether a sandboxed process can read a path: its name, and where it leads to, are the system's or in `more`.

    A link is read in its folder, so that a link in a hidden folder leads nowhere.
    """
    tops = [each for top in (*system_paths(), *more) for each in (top, os.path.realpath(top))]
    name = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    return all(any(is_below(each, top) for top in tops) for each in (name, os.path.realpath(path)))


def visible_path(path: str, more: Iterable[str] = ()) -> str:
    """Return a PATH without the folders that the sandbox hides: a program there looks as if it could be started."""
    tops = tuple(more)
    return os.pathsep.join(each for each in path.split(os.pathsep) if each and is_visible(each, tops))

"""What every trial of a machine can read besides its own folders: the system's programs and libraries, and Python.

The sandbox opens these paths (`gpu_worker.sandbox`). Private data must not lie there, nor be derived from what does.
"""

import sys
from pathlib import Path

SYSTEM = (
    *("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/opt", "/proc", "/sys", "/etc/ld.so.cache"),
    *("/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/alternatives", "/etc/nsswitch.conf"),
    *("/etc/passwd", "/etc/group", "/etc/hosts", "/etc/resolv.conf", "/etc/ssl"),
)


def system_paths() -> tuple[str, ...]:
    """Return the paths that every process may read: programs and libraries of the system and of this interpreter."""
    own = {sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(sys.executable).resolve().parent)}
    return (*SYSTEM, *sorted(path for path in own if path != "/usr"))


def audited_paths() -> tuple[str, ...]:
    """Return the folders that trials may read, those with data first: Python with its packages, then the system."""
    own = [sys.prefix, sys.base_prefix, sys.exec_prefix, *(path for path in sys.path if path.endswith("-packages"))]
    return tuple(dict.fromkeys([*own, "/usr/share", *SYSTEM]))


def is_system_path(path: Path) -> str:
    """Return the system's path, at or above `path`, that every trial may read; "" if there is none."""
    real = path.resolve()
    return next((top for top in system_paths() if real.is_relative_to(Path(top).resolve())), "")

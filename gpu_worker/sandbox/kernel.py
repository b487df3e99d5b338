"""System calls that Python does not offer, by ctypes. Numbers above 400 are the same on every architecture."""

import ctypes
import os
import struct
import sys

_libc = ctypes.CDLL(None, use_errno=True)

PR_SET_DUMPABLE, PR_CAPBSET_DROP = 4, 24
PR_SET_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 36, 38, 47
NEWNS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE = 0x1000, 0x4000, 0x40000, 0x80000
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_SETATTR, LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 442, 444, 445, 446
MADV_COLLAPSE = 25
CAPSET = {"x86_64": 126, "aarch64": 91}

Argument = int | bytes | ctypes.Array[ctypes.c_char] | None


def call(number: int, *arguments: Argument) -> int:
    """Make a system call.

    Raises:
        OSError: it failed.
    """
    if sys.platform != "linux":
        raise OSError(38, "only Linux has it")
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *wide), f"system call {number}")


def prctl(option: int, *arguments: int | ctypes.c_void_p) -> int:
    """Set a property of this process.

    Raises:
        OSError: it cannot be set.
    """
    wide = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    return _checked(_libc.prctl(option, *wide, *[ctypes.c_ulong(0)] * (4 - len(wide))), f"prctl {option}")


def drop_capabilities() -> None:
    """Empty all sets of capabilities of this process.

    Raises:
        OSError: the kernel refuses.
    """
    head = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0))
    call(CAPSET[os.uname().machine], head, ctypes.create_string_buffer(24))


def unshare(flags: int) -> None:
    """Move this process to new namespaces.

    Raises:
        OSError: the kernel or this container does not allow it.
    """
    _checked(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount a file system.

    Raises:
        OSError: it is not allowed, or the source does not exist.
    """
    words = [word.encode() or None for word in (source, target, kind, data)]
    done = _libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3])
    _checked(done, f"mount {target}")


def collapse(start: int, length: int) -> bool:
    """Move a range of this process's memory to huge pages; return whether the kernel did (Linux 6.1 and later)."""
    return bool(_libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), MADV_COLLAPSE) == 0)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return int(result)

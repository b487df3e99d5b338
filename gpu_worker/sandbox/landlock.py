"""Landlock: limits this process and its children to given paths. It cannot be undone and needs no privilege.

From ABI 4 (Linux 6.7) on it also blocks TCP, from ABI 6 (6.12) on abstract unix sockets and signals to processes
outside. It does not block chmod, chown or utime on files that belong to the process's user. Numbers are those of
linux/landlock.h.
"""

import ctypes
import os
import struct
from collections.abc import Iterable, Sequence

from gpu_worker.sandbox import kernel

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
MAKE_CHAR, MAKE_BLOCK = 1 << 6, 1 << 11
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
TCP_BIND_AND_CONNECT, TCP_CONNECT = 3, 2
ABSTRACT_SOCKETS_AND_SIGNALS = 3
TRUNCATES, PORTS, SCOPES = 3, 4, 6
"""The first versions that block truncation, TCP ports, and abstract sockets and signals to processes outside."""

_READ = EXECUTE | READ_FILE | READ_DIR
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_CREATE_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2


def abi() -> int:
    """Return the version of Landlock that the kernel offers, 0 for none."""
    try:
        return kernel.call(kernel.LANDLOCK_CREATE, None, 0, _CREATE_VERSION)
    except OSError:
        return 0


def restrict(
    read: Iterable[str], write: Iterable[str], devices: Iterable[str], *, tcp: bool, ports: Sequence[int] = ()
) -> None:
    """Allow only files at or below the given paths; paths that do not exist are skipped.

    Args:
        read: paths that may be read.
        write: paths that may also be written.
        devices: device files that may be opened.
        tcp: whether TCP is allowed.
        ports: with `tcp`, the only ports that may be connected to; empty for all. Older kernels allow all.

    Raises:
        OSError: the kernel has no Landlock, or `no_new_privs` is not set.
    """
    version = abi()
    if version < 1:
        raise OSError(95, "the kernel has no Landlock")
    files = (1 << 13) - 1
    files |= (
        (REFER if version >= 2 else 0) | (TRUNCATE if version >= TRUNCATES else 0) | (IOCTL_DEV if version >= 5 else 0)
    )
    net = (TCP_CONNECT if ports else 0) if tcp else TCP_BIND_AND_CONNECT
    net = net if version >= PORTS else 0
    scoped = ABSTRACT_SOCKETS_AND_SIGNALS if version >= SCOPES else 0
    attributes = struct.pack("=QQQ", files, net, scoped)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = kernel.call(kernel.LANDLOCK_CREATE, ctypes.create_string_buffer(attributes), len(attributes), 0)
    everything = files & ~(MAKE_CHAR | MAKE_BLOCK | IOCTL_DEV)
    use = (READ_FILE | WRITE_FILE | READ_DIR | IOCTL_DEV) & files
    for paths, access in ((read, _READ), (write, everything), (devices, use)):
        for path in paths:
            try:
                place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            allowed = access if os.path.isdir(path) else access & _OF_FILES
            rule = ctypes.create_string_buffer(struct.pack("=Qi", allowed, place))
            kernel.call(kernel.LANDLOCK_ADD, ruleset, _PATH_BENEATH, rule, 0)
            os.close(place)
    for port in ports if net == TCP_CONNECT else ():
        rule = ctypes.create_string_buffer(struct.pack("=QQ", TCP_CONNECT, port))
        kernel.call(kernel.LANDLOCK_ADD, ruleset, _NET_PORT, rule, 0)
    kernel.call(kernel.LANDLOCK_RESTRICT, ruleset, 0)
    os.close(ruleset)

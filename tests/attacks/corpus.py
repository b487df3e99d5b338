"""What an attack is, the targets that it aims at, and how a system call is tried. The standard library alone."""

import ctypes
import dataclasses
import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

IS_ARM = os.uname().machine == "aarch64"
libc = ctypes.CDLL(None, use_errno=True)

CASES = {
    "A": "root, with namespaces",
    "a": "an ordinary user, with namespaces",
    "B": "root, in a container without namespaces",
    "C": "an ordinary user, without namespaces",
    "D": "an ordinary user, without Landlock",
    "E": "an ordinary user, no sandbox",
}
"""Tiers and who runs the worker. `a` is tier A for an ordinary user, who has no second user id for trials."""

REFUSALS = {
    *(errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EROFS, errno.EOPNOTSUPP, errno.EAFNOSUPPORT),
    *(errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EUSERS, errno.ENOSPC, errno.EMFILE, errno.ENXIO),
}
"""Errors by which the kernel refuses a call; by others it says that it looked at the arguments of an empty try."""


class NotApplicable(Exception):
    """This machine does not have what the attack aims at."""


@dataclasses.dataclass(frozen=True)
class Targets:
    """What attacks aim at; the worker of the test has put it there.

    Args:
        worker: process id of the worker, which has `secret` open and in its environment.
        supervisor: process id of the supervisor of this slot.
        victim: another process of the worker's user, such as the server: a group and a session of its own.
        home: the worker's home folder, in which nothing belongs to this run.
        secret: a file of mode 600.
        private: a folder with private data, which only the scorer may read.
        public: a file of the public data, which the trial may read and not change.
        evaluator: a protected file beside the trial, which it may read and not change.
        other_run: the folder of another run, with modes as a worker gives them.
        work: the trial's own folder.
        tcp: a port of this machine at which somebody listens.
        unix: path of a socket that everybody may connect to.
        abstract: name of an abstract socket.
    """

    worker: int
    victim: int
    home: str
    secret: str
    private: str
    public: str
    evaluator: str
    other_run: str
    work: str
    tcp: int
    unix: str
    abstract: str
    secret_fd: int
    supervisor: int = 0


Deed = Callable[[Targets], object]


@dataclasses.dataclass(frozen=True)
class Attack:
    """One attack.

    Args:
        name: what the attacker achieves.
        family: the heading that it stands under.
        deed: does it without harm, or raises where that is refused; None for an attack that needs a whole run.
        open_in: the cases in which it succeeds by design.
        why: why that is so, for the cases A, a, B and C.
    """

    name: str
    family: str
    deed: Deed | None = None
    open_in: str = ""
    why: str = ""


class Family:
    """Attacks of one kind, in the order in which they are written."""

    def __init__(self, name: str) -> None:
        self.name, self.attacks = name, list[Attack]()

    def attack(self, name: str, *, open_in: str = "", why: str = "") -> Callable[[Deed], Deed]:
        """Add the decorated function."""

        def add(deed: Deed) -> Deed:
            self.add(name, deed, open_in=open_in, why=why)
            return deed

        return add

    def add(self, name: str, deed: Deed | None, *, open_in: str = "", why: str = "") -> None:
        """Add an attack."""
        if set(open_in) & set("AaBC") and not why:
            raise ValueError(f"{name}: an attack that is open by design needs a reason")
        self.attacks.append(Attack(name, self.name, deed, open_in, why))


def system_call(x86_64: int, aarch64: int, *arguments: Any) -> int:
    """Make a system call.

    Raises:
        OSError: it failed.
        NotApplicable: this architecture does not have it (-1 as its number).
    """
    number = aarch64 if IS_ARM else x86_64
    if number < 0:
        raise NotApplicable("this architecture does not have the call")
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return checked(libc.syscall(ctypes.c_long(number), *wide))


def is_heard(x86_64: int, aarch64: int, *arguments: Any) -> None:
    """Make a call whose arguments are wrong on purpose: it succeeds if the kernel looks at them.

    Raises:
        OSError: the kernel refused the call itself.
    """
    try:
        system_call(x86_64, aarch64, *arguments)
    except OSError as error:
        if error.errno in REFUSALS:
            raise


def checked(result: int) -> int:
    """Return the result of a C function.

    Raises:
        OSError: it is negative.
    """
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def read(path: str) -> bytes:
    """Return the first bytes of a file, which must not be empty."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
    if not data:
        raise OSError(errno.ENODATA, "it is empty")
    return data


def write(path: str, text: str) -> None:
    """Write to a file that exists."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def opens(path: str, flags: int) -> None:
    """Open a file and close it again."""
    os.close(os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC))


def must_exist(path: str) -> str:
    """Return the path.

    Raises:
        NotApplicable: this machine does not have it.
    """
    if not os.path.lexists(path):
        raise NotApplicable(f"there is no {path}")
    return path


def makes(path: str) -> None:
    """Make a file that does not exist, and delete it."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    os.unlink(path)


@contextmanager
def opened(path: str, flags: int = os.O_RDONLY) -> Iterator[int]:
    """Open a file while the block runs."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def in_a_child(deed: Callable[[], object]) -> None:
    """Do something in a child process.

    Raises:
        OSError: it failed there.
    """
    pid = os.fork()
    if pid == 0:
        try:
            deed()
            os._exit(0)
        finally:
            os._exit(1)
    if os.waitpid(pid, 0)[1]:
        raise OSError(errno.EPERM, "refused in the child")


def clone(flags: int) -> None:
    """Fork with flags that the C library does not offer.

    Raises:
        OSError: refused.
    """
    zeros = [ctypes.c_long(0)] * 4
    number = 220 if IS_ARM else 56
    pid = libc.syscall(ctypes.c_long(number), ctypes.c_ulong(flags | signal.SIGCHLD), *zeros)
    if pid == 0:
        os._exit(0)
    os.waitpid(checked(pid), 0)


def status(field: str) -> str:
    """Return a field of /proc/self/status."""
    with open("/proc/self/status") as file:
        return next(line.split(":", 1)[1].strip() for line in file if line.startswith(f"{field}:"))

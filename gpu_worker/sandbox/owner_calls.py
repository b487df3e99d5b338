"""Answers those calls of a trial that depend on a path: a filter sees numbers, so it has the kernel ask the supervisor.

Where a trial runs as the owner of files that are not its own, these are the calls that set modes and times. Neither
Landlock nor file modes keep an owner from closing its home, or from leaving state in the times of any file. A thread of
the supervisor opens the file that is meant, looks where that is, and sets what the trial wants, or refuses. A path that
changes meanwhile does no harm: what was opened is what is looked at and set.

Where a trial uses a GPU, these are the calls that open a file to write it anew. CUDA names its threads in
`/proc/self/task/N/comm` and gives up if it cannot open that file (driver 580), which in a sandbox is read-only. It gets
`/dev/null` in its place, so that no trial can write below /proc. All other files are opened as if nobody had been
asked.

A signal that the trial handles may interrupt its call. The standard library alone.
"""

import errno
import fcntl
import os
import re
import select
import struct
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class _Call:
    """Which of its arguments are what; `times` is how it gives them, "" for a call that sets a mode."""

    value: int
    path: int | None = None
    folder: int | None = None
    flags: int | None = None
    times: str = ""


_CALLS = {  # (x86_64, aarch64), -1 where an architecture does not have it
    (90, -1): _Call(1, path=0),
    (91, 52): _Call(1, folder=0),
    (268, 53): _Call(2, path=1, folder=0),
    (452, 452): _Call(2, path=1, folder=0, flags=3),
    (132, -1): _Call(1, path=0, times="seconds"),
    (235, -1): _Call(1, path=0, times="microseconds"),
    (261, -1): _Call(2, path=1, folder=0, times="microseconds"),
    (280, 88): _Call(2, path=1, folder=0, flags=3, times="nanoseconds"),
}
"""chmod, fchmod, fchmodat, fchmodat2, utime, utimes, futimesat and utimensat."""
OWNERS = ((92, -1), (93, 55), (94, -1), (260, 54))
"""chown, fchown, lchown and fchownat: an ordinary user can but choose among its groups."""

OPENAT = (257, 56)
TO_WRITE_ANEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
"""How CUDA opens the name of a thread: as `fopen` does with mode `w`."""

_NAME_OF_THREAD = re.compile(r"/proc/(self|thread-self|\d+)/(task/\d+/)?comm")
_COLUMN = {"x86_64": 0, "aarch64": 1}
_RECEIVE, _SEND, _IS_VALID, _ADD_DESCRIPTOR = 0xC0502100, 0xC0182101, 0x40082102, 0x40182103
_CONTINUE = 1
_NOT_FOLLOW, _EMPTY_PATH, _HERE = 0x100, 0x1000, 2**32 - 100
_NOW, _OMIT = 0x3FFFFFFF, 0x3FFFFFFE
_LONGEST_PATH = 4096


def owner_call_numbers(machine: str) -> list[int]:
    """Return the numbers of the calls about which the kernel asks."""
    return [numbers[_COLUMN[machine]] for numbers in _CALLS if numbers[_COLUMN[machine]] >= 0]


def can_pass_on() -> bool:
    """Tell whether the kernel lets a call go on, and takes a descriptor as an answer (Linux 5.9)."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return found is not None and tuple(map(int, found.groups())) >= (5, 9)


def answer_owner_calls(listener: int, write: Sequence[str]) -> None:
    """Answer in a thread, until no process with the filter lives.

    Args:
        listener: what the kernel asks by.
        write: absolute paths of which, and below which, modes and times may be set.
    """
    threading.Thread(target=_answer, args=(listener, [os.path.realpath(path) for path in write]), daemon=True).start()


def _answer(listener: int, write: list[str]) -> None:
    ready = select.poll()
    ready.register(listener, select.POLLIN)
    try:
        while ready.poll()[0][1] & select.POLLIN:
            question = bytearray(80)
            try:
                fcntl.ioctl(listener, _RECEIVE, question)
            except OSError:  # who asked was killed
                continue
            identity, pid, _, number, _, _, *arguments = struct.unpack("=QIIiIQ6Q", question)
            value = code = flags = 0
            try:
                if number == OPENAT[_COLUMN[os.uname().machine]]:
                    value, flags = _open_name(listener, identity, pid, arguments)
                else:
                    _set(listener, write, identity, pid, number, arguments)
            except OSError as error:
                code = -(error.errno or errno.EPERM)
            except Exception:
                code = -errno.EFAULT
            with suppress(OSError):
                fcntl.ioctl(listener, _SEND, bytearray(struct.pack("=QqiI", identity, value, code, flags)))
    finally:
        os.close(listener)


def _open_name(listener: int, identity: int, pid: int, arguments: list[int]) -> tuple[int, int]:
    """Return the caller's new descriptor of `/dev/null` if it opens the name of a thread; else flags to go on."""
    try:
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            path = _text(memory, arguments[1])
        finally:
            os.close(memory)
    except OSError:  # the kernel knows what is wrong with it
        return 0, _CONTINUE
    if not _NAME_OF_THREAD.fullmatch(path):
        return 0, _CONTINUE
    nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        added = bytearray(struct.pack("=QIIII", identity, 0, nothing, 0, 0))
        return fcntl.ioctl(listener, _ADD_DESCRIPTOR, added), 0
    finally:
        os.close(nothing)


def _set(listener: int, write: list[str], identity: int, pid: int, number: int, arguments: list[int]) -> None:
    call = next(call for numbers, call in _CALLS.items() if numbers[_COLUMN[os.uname().machine]] == number)
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        place = _open(call, pid, memory, arguments)
        try:
            path = os.readlink(f"/proc/self/fd/{place}")
            is_nameless = not path.startswith("/") or path.startswith("/memfd:")
            if not is_nameless and not any(path == own or path.startswith(f"{own}/") for own in write):
                raise PermissionError(errno.EPERM, "not its own")
            times = _times(call, memory, arguments, os.fstat(place)) if call.times else None
            fcntl.ioctl(listener, _IS_VALID, bytearray(struct.pack("=Q", identity)))  # else its number is another's now
            if times:
                os.utime(f"/proc/self/fd/{place}", ns=times)
            else:
                os.chmod(f"/proc/self/fd/{place}", arguments[call.value] & 0o7777)
        finally:
            os.close(place)
    finally:
        os.close(memory)


def _open(call: _Call, pid: int, memory: int, arguments: list[int]) -> int:
    """Open the file that the call means, for nothing but its place."""
    flags = arguments[call.flags] if call.flags is not None else 0
    number = arguments[call.folder] & 0xFFFFFFFF if call.folder is not None else _HERE
    base = f"/proc/{pid}/cwd" if number == _HERE else f"/proc/{pid}/fd/{number}"
    address = arguments[call.path] if call.path is not None else 0
    path = _text(memory, address) if address else ""
    if not path:
        if address and not flags & _EMPTY_PATH:
            raise FileNotFoundError(errno.ENOENT, "an empty path")
        return _base(base)
    for own in ("/proc/self", "/proc/thread-self"):
        if path == own or path.startswith(f"{own}/"):
            path = f"/proc/{pid}{path.removeprefix(own)}"
    link = os.O_NOFOLLOW if flags & _NOT_FOLLOW else 0
    if path.startswith("/"):
        return os.open(path, os.O_PATH | os.O_CLOEXEC | link)
    folder = _base(base)
    try:
        return os.open(path, os.O_PATH | os.O_CLOEXEC | link, dir_fd=folder)
    finally:
        os.close(folder)


def _base(path: str) -> int:
    try:
        return os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        raise OSError(errno.EBADF, "not an open descriptor") from None


def _text(memory: int, address: int) -> str:
    """Read a string; it may end at a page that is followed by none."""
    found = b""
    while b"\0" not in found:
        if len(found) >= _LONGEST_PATH:
            raise OSError(errno.ENAMETOOLONG, "a path that does not end")
        start = address + len(found)
        if not (part := os.pread(memory, 4096 - start % 4096, start)):
            raise ProcessLookupError(errno.ESRCH, "it ended meanwhile")
        found += part
    return os.fsdecode(found.partition(b"\0")[0])


def _times(call: _Call, memory: int, arguments: list[int], found: os.stat_result) -> tuple[int, int]:
    """Return when the file was read and changed, in nanoseconds, as the call wants it."""
    now = time.time_ns()
    if not (address := arguments[call.value]):
        return now, now
    if call.times == "seconds":
        read, changed = struct.unpack("=qq", os.pread(memory, 16, address))
        return read * 10**9, changed * 10**9
    words = struct.unpack("=qqqq", os.pread(memory, 32, address))
    if call.times == "microseconds":
        return words[0] * 10**9 + words[1] * 1000, words[2] * 10**9 + words[3] * 1000
    both = []
    for seconds, rest, before in ((*words[:2], found.st_atime_ns), (*words[2:], found.st_mtime_ns)):
        both.append(now if rest == _NOW else before if rest == _OMIT else seconds * 10**9 + rest)
    return both[0], both[1]

"""Attacks in pairs: one trial leaves something, a later trial of the same slot looks for it.

Both halves run in trials: `main("leave", key)` in the first, `main("look", key)` in the second. The second kind of
pair has the code that answers a scorer as its first half, which has seen the scorer's questions.
"""

import contextlib
import ctypes
import dataclasses
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable

from tests.attacks.corpus import Family, checked, libc, opened, system_call

FAMILY = Family("State between trials")

STAMP = "everybody may set the time of these devices to now, which tells a few bits"
COUNTER = "counters that all processes change, such as that of process ids, tell a few bits"
Step = Callable[[int], object]


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two halves of an attack; the second raises where it does not find what the first has left."""

    leave: Step
    look: Step


PAIRS: dict[str, Pair] = {}


def _pair(name: str, leave: Step, look: Step, *, open_in: str = "", why: str = "") -> None:
    FAMILY.add(name, None, open_in=open_in, why=why)
    PAIRS[name] = Pair(leave, look)


def _file(folder: str, mode: int = 0o600) -> tuple[Step, Step]:
    def leave(key: int) -> None:
        os.close(os.open(f"{folder}/mesh-{key}", os.O_CREAT | os.O_WRONLY, mode))

    def look(key: int) -> None:
        os.stat(f"{folder}/mesh-{key}")

    return leave, look


def _public() -> str:
    return os.path.join(os.environ["MESH_DATA"], "x")


def _leave_segment(key: int) -> None:
    checked(libc.shmget(key, 4096, 0o1666))


def _leave_semaphores(key: int) -> None:
    checked(libc.semget(key, 1, 0o1666))


def _leave_messages(key: int) -> None:
    queue = checked(libc.msgget(key, 0o1666))
    checked(libc.msgsnd(queue, struct.pack("=q4s", 1, b"left"), 4, 0))


def _leave_queue(key: int) -> None:
    checked(libc.mq_open(f"/mesh-{key}".encode(), os.O_CREAT | os.O_RDWR, 0o666, None))


def _leave_key(key: int) -> None:
    system_call(248, 217, b"user", f"mesh-{key}".encode(), b"left", 4, -4)


def _find_key(key: int) -> None:
    system_call(249, 218, b"user", f"mesh-{key}".encode(), 0, 0)


def _leave_listener(key: int) -> None:
    if os.fork() == 0:
        os.setsid()
        made = socket.socket(socket.AF_UNIX)
        made.bind(f"\0mesh-{key}")
        made.listen()
        signal.alarm(30)
        signal.pause()


def _find_listener(key: int) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(f"\0mesh-{key}")


def _leave_flags(_: int) -> None:
    with opened(_public()) as place:
        checked(libc.ioctl(place, ctypes.c_ulong(0x40086602), ctypes.byref(ctypes.c_long(0x80 | 0x80000))))


def _find_flags(_: int) -> None:
    with opened(_public()) as place:
        flags = ctypes.c_long()
        checked(libc.ioctl(place, ctypes.c_ulong(0x80086601), ctypes.byref(flags)))
    if not flags.value & 0x80:
        raise FileNotFoundError("the flag is not set")


def _at(key: int) -> int:
    return 1_000_000_000 + key


def _expect(condition: bool) -> None:
    if not condition:
        raise FileNotFoundError("nothing is left")


def _touch_null(_: int) -> None:
    os.utime("/dev/null")


def _null_is_touched(_: int) -> None:
    _expect(abs(os.stat("/dev/null").st_mtime - time.time()) < 30)


def _count_processes(_: int) -> None:
    for _ in range(25):
        if (pid := os.fork()) == 0:
            os._exit(0)
        os.waitpid(pid, 0)


def _processes_were_counted(_: int) -> None:
    with open("/proc/loadavg") as file:
        _expect(int(file.read().split()[4]) > 20)


def _set_mode(_: int) -> None:
    os.chmod(_public(), 0o555)


def _evict(_: int) -> None:
    with opened(_public()) as place:
        os.read(place, 1)


def _is_resident(_: int) -> None:
    with opened(_public()) as place:
        span = ctypes.create_string_buffer(struct.pack("=QQ", 0, 4096), 16)
        result = ctypes.create_string_buffer(40)
        system_call(451, 451, place, span, result, 0)
    _expect(struct.unpack("=QQQQQ", result)[0] > 0)


_pair("leave a file in /dev/shm", *_file("/dev/shm"), open_in="E")
_pair("leave a file without rights in /dev/shm", *_file("/dev/shm", 0), open_in="E")
_pair("leave a file in /tmp", *_file("/tmp"), open_in="DE")
_pair("leave a file in /var/tmp", *_file("/var/tmp"), open_in="DE")
_pair("leave a file in /run/lock", *_file("/run/lock"), open_in="DE")
_pair("leave a file in the user's runtime folder", *_file(f"/run/user/{os.getuid()}"))
_pair("leave a file among the message queues", *_file("/dev/mqueue"))
_pair("leave a file above its folder", *_file(".."))
_pair("leave a file above all runs", *_file("../.."), open_in="DE")
_pair("leave a file beside the public data", *_file(os.environ.get("MESH_DATA", "/nowhere")), open_in="DE")
_pair("leave a cached module of the interpreter", *_file(os.path.dirname(os.__file__) + "/__pycache__"))
_pair("leave a System V segment of memory", _leave_segment, lambda key: checked(libc.shmget(key, 4096, 0)), open_in="E")
_pair("leave System V semaphores", _leave_semaphores, lambda key: checked(libc.semget(key, 1, 0)), open_in="E")
_pair("leave System V messages", _leave_messages, lambda key: checked(libc.msgget(key, 0)), open_in="E")
_pair(
    "leave a POSIX message queue",
    _leave_queue,
    lambda key: checked(libc.mq_open(f"/mesh-{key}".encode(), 0)),
    open_in="E",
)
_pair("leave a key", _leave_key, _find_key, open_in="E")
_pair("leave a process that listens", _leave_listener, _find_listener)
_pair(
    "leave an attribute on the public data",
    lambda key: os.setxattr(_public(), f"user.m{key}", b"1"),
    lambda key: os.getxattr(_public(), f"user.m{key}"),
)
_pair(
    "leave a time on the public data",
    lambda key: os.utime(_public(), (_at(key), _at(key))),
    lambda key: _expect(int(os.stat(_public()).st_mtime) == _at(key)),
)
_pair(
    "leave a time on a folder of public data",
    lambda key: os.utime(os.environ["MESH_DATA"], (_at(key), _at(key))),
    lambda key: _expect(int(os.stat(os.environ["MESH_DATA"]).st_mtime) == _at(key)),
)
_pair("leave a mode on the public data", _set_mode, lambda key: _expect(os.stat(_public()).st_mode & 0o777 == 0o555))
_pair("leave a flag on the public data", _leave_flags, _find_flags, open_in="E")
_pair("leave the time on /dev/null", _touch_null, _null_is_touched, open_in="BE", why=STAMP)
_pair("leave a count of processes", _count_processes, _processes_were_counted, open_in="AaBCDE", why=COUNTER)
_pair(
    "leave pages of public data in memory",
    _evict,
    _is_resident,
    open_in="aCDE",
    why="the trial may read these files; the worker's user owns them",
)

ANSWERED = "hand a question of the scorer to a later trial"
FAMILY.add(ANSWERED, None, open_in="DE")
EXCEPT = ("leave the time on /dev/null", "leave a count of processes", "leave pages of public data in memory")
"""Pairs that tell no more than a few bits, and that count for themselves alone."""


def clear(key: int) -> None:
    """Remove what the first halves have left on this machine, as the worker's user."""
    for number in range(key, key + len(PAIRS)):
        for folder in ("/dev/shm", "/tmp", "/var/tmp", "/run/lock", "/dev/mqueue"):
            with contextlib.suppress(OSError):
                os.unlink(f"{folder}/mesh-{number}")
        libc.mq_unlink(f"/mesh-{number}".encode())
        for get, control in ((libc.shmget, libc.shmctl), (libc.semget, libc.semctl), (libc.msgget, libc.msgctl)):
            found = get(number, 0) if get is libc.msgget else get(number, 0, 0)
            if found >= 0:
                control(found, 0, None) if get is not libc.semget else control(found, 0, 0)


def main(step: str, key: int, out: str) -> None:
    """Do all first or all second halves, and write which succeeded."""
    done = {}
    for number, (name, pair) in enumerate(PAIRS.items()):
        try:
            (pair.leave if step == "leave" else pair.look)(key + number)
            done[name] = ""
        except Exception as error:
            done[name] = f"{type(error).__name__}: {error}"
    with open(out, "w") as file:
        json.dump(done, file)
    sys.stdout.flush()

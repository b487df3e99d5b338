"""Attacks that gain rights: capabilities, user ids, programs that run as root."""

import ctypes
import os
import shutil
import struct
import subprocess

from tests.attacks.corpus import Family, NotApplicable, Targets, checked, libc, must_exist, opens, status, system_call

FAMILY = Family("Rights")
attack = FAMILY.attack

_CAPGET, _CAPSET = (125, 90), (126, 91)


def _holds(field: str) -> None:
    """Raise where a set of capabilities is empty."""
    if not int(status(field), 16):
        raise PermissionError(f"{field} is empty")


FAMILY.add("keep an effective capability", lambda t: _holds("CapEff"))
FAMILY.add("keep a permitted capability", lambda t: _holds("CapPrm"))
FAMILY.add("keep an inheritable capability", lambda t: _holds("CapInh"))
FAMILY.add("keep an ambient capability", lambda t: _holds("CapAmb"))
FAMILY.add("become root", lambda t: os.setuid(0))
FAMILY.add("become root for file systems", lambda t: _file_system_user())
FAMILY.add("become root's group", lambda t: os.setgid(0))
FAMILY.add("become another user", lambda t: os.setresuid(1, 1, 1))
FAMILY.add("become the worker's user", lambda t: _become(os.stat(f"/proc/{t.worker}").st_uid))
FAMILY.add("join the groups of others", lambda t: os.setgroups([0, 6, 42]))
FAMILY.add("add a capability", lambda t: _add_capability(effective=True))
FAMILY.add("add an inheritable capability", lambda t: _add_capability(effective=False))
FAMILY.add("add an ambient capability", lambda t: checked(libc.prctl(47, 2, 7, 0, 0)))
FAMILY.add("keep capabilities over a change of user", lambda t: _keep_capabilities())
FAMILY.add("change the rules of root", lambda t: checked(libc.prctl(28, 1, 0, 0, 0)))
FAMILY.add("gain rights by executing", lambda t: _no_new_privileges())
FAMILY.add("allow itself new privileges again", lambda t: _allow_new_privileges())
FAMILY.add("leave its filter of calls", lambda t: _leave_filter(), open_in="E")
FAMILY.add("map its user to root", lambda t: opens("/proc/self/uid_map", os.O_WRONLY), open_in="DE")
FAMILY.add("run a program of root by sudo", lambda t: _runs_as_root("sudo", "-n", "id", "-u"))
FAMILY.add("mount by a program of root", lambda t: _runs_as_root("mount", "-t", "tmpfs", "none", "/mnt"))
FAMILY.add("schedule a command by a program of root", lambda t: _runs_as_root("crontab", "-l"))
FAMILY.add("map users by a program of root", lambda t: _maps_users())


@attack(
    "leave a program that runs as its user for ever",
    open_in="AaBCDE",
    why="the run's folder is deleted before another trial runs as this user",
)
def _(t: Targets) -> None:
    path = f"{t.work}/setuid"
    with open(path, "w") as file:
        os.fchmod(file.fileno(), 0o4755)
    if not os.stat(path).st_mode & 0o4000:
        raise PermissionError("the bit was dropped")


@attack("give a file away to root")
def _(t: Targets) -> None:
    path = f"{t.work}/given"
    with open(path, "w"):
        pass
    os.chown(path, 0, 0)


@attack("give a file capabilities")
def _(t: Targets) -> None:
    path = f"{t.work}/capable"
    with open(path, "w"):
        pass
    os.setxattr(path, "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 7, 0, 0, 0))


@attack("set trusted attributes")
def _(t: Targets) -> None:
    path = f"{t.work}/trusted"
    with open(path, "w"):
        pass
    os.setxattr(path, "trusted.overlay.opaque", b"y")


@attack("choose its login user", open_in="DE")
def _(t: Targets) -> None:
    with open(must_exist("/proc/self/loginuid"), "w") as file:
        file.write("0")


def _become(uid: int) -> None:
    if uid == os.getuid():
        raise NotApplicable("it is the worker's user")
    os.setresuid(uid, uid, uid)


def _file_system_user() -> None:
    libc.setfsuid(0)
    if libc.setfsuid(-1) != 0:
        raise PermissionError("refused")


def _add_capability(*, effective: bool) -> None:
    head = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0))
    sets = ctypes.create_string_buffer(24)
    system_call(*_CAPGET, head, sets)
    values = list(struct.unpack("=6I", sets.raw))
    for place in (0, 1) if effective else (2,):
        values[place] |= 1 << 21  # the administrator's
    system_call(*_CAPSET, head, ctypes.create_string_buffer(struct.pack("=6I", *values), 24))


def _keep_capabilities() -> None:
    checked(libc.prctl(8, 1, 0, 0, 0))
    os.setresuid(2, 2, 2)


def _no_new_privileges() -> None:
    if status("NoNewPrivs") != "0":
        raise PermissionError("no_new_privs is set")


def _allow_new_privileges() -> None:
    if status("NoNewPrivs") == "0":
        raise NotApplicable("it is not set")
    checked(libc.prctl(38, 0, 0, 0, 0))


def _leave_filter() -> None:
    if status("Seccomp") == "0":
        return
    system_call(317, 277, 3, 0, 0)
    raise PermissionError("a filter stays")


def _program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise NotApplicable(f"there is no {name}")
    return found


def _runs_as_root(name: str, *words: str) -> None:
    done = subprocess.run(
        [_program(name), *words], capture_output=True, stdin=subprocess.DEVNULL, timeout=4, check=False
    )
    if done.returncode:
        raise PermissionError(done.stderr.decode(errors="replace")[:80])


def _maps_users() -> None:
    done = subprocess.run(
        [_program("newuidmap"), str(os.getpid()), "0", "0", "1"], capture_output=True, timeout=4, check=False
    )
    if done.returncode:
        raise PermissionError("refused")

"""Attacks that read what the trial may not see: keys, private data, other runs, the worker's own files."""

import ctypes
import fcntl
import glob
import os
import select
import struct

from tests.attacks.corpus import Family, Targets, checked, libc, must_exist, opened, read, system_call

FAMILY = Family("Reading files")
attack = FAMILY.attack

NAMES = (
    "Landlock does not hide names, sizes and times of files; contents are hidden, and the folders hold nothing secret"
)
PROC = "/proc shows every process of the machine; command lines hold no secrets, environments and memory are closed"

FAMILY.add("read a file of mode 600 that the worker's user has", lambda t: read(t.secret), open_in="DE")
FAMILY.add("read the private data", lambda t: read(f"{t.private}/answers"), open_in="DE")
FAMILY.add("list the private data", lambda t: os.listdir(t.private), open_in="DE")
FAMILY.add("list the home of the worker's user", lambda t: os.listdir(t.home), open_in="DE")
FAMILY.add("list the folders of all runs", lambda t: os.listdir(os.path.dirname(t.other_run)), open_in="DE")
FAMILY.add("read another run's code", lambda t: read(f"{t.other_run}/trial/train.py"), open_in="DE")
FAMILY.add("read another run's output", lambda t: read(f"{t.other_run}/out/score.json"), open_in="DE")
FAMILY.add("read another run's report", lambda t: read(f"{t.other_run}/report.jsonl"), open_in="DE")
FAMILY.add("read a secret through /proc/self/root", lambda t: read(f"/proc/self/root{t.secret}"), open_in="DE")
FAMILY.add("read a secret through the worker's root", lambda t: read(f"/proc/{t.worker}/root{t.secret}"), open_in="DE")
FAMILY.add("list the worker's current folder", lambda t: os.listdir(f"/proc/{t.worker}/cwd/"), open_in="DE")
FAMILY.add(
    "read a secret through a descriptor of the worker",
    lambda t: read(f"/proc/{t.worker}/fd/{t.secret_fd}"),
    open_in="DE",
)
FAMILY.add("count the worker's descriptors", lambda t: os.listdir(f"/proc/{t.worker}/fd"), open_in="CDE", why=PROC)
FAMILY.add("read the worker's environment", lambda t: read(f"/proc/{t.worker}/environ"), open_in="DE")
FAMILY.add("read the server's environment", lambda t: read(f"/proc/{t.victim}/environ"), open_in="DE")
FAMILY.add("read the supervisor's environment", lambda t: read(f"/proc/{t.supervisor}/environ"), open_in="DE")
FAMILY.add("open the worker's memory", lambda t: os.close(os.open(f"/proc/{t.worker}/mem", os.O_RDONLY)), open_in="DE")
FAMILY.add(
    "open a thread's memory",
    lambda t: os.close(os.open(f"/proc/{t.worker}/task/{t.worker}/mem", os.O_RDONLY)),
    open_in="DE",
)
FAMILY.add("read the worker's memory map", lambda t: read(f"/proc/{t.worker}/maps"), open_in="DE")
FAMILY.add("read the worker's page map", lambda t: read(f"/proc/{t.worker}/pagemap"), open_in="DE")
FAMILY.add("read where the worker's stack lies", lambda t: read(f"/proc/{t.worker}/syscall"), open_in="DE")
FAMILY.add("read the worker's auxiliary vector", lambda t: read(f"/proc/{t.worker}/auxv"), open_in="DE")
FAMILY.add("count what the worker reads and writes", lambda t: read(f"/proc/{t.worker}/io"), open_in="DE")
FAMILY.add("see the worker's command line", lambda t: read(f"/proc/{t.worker}/cmdline"), open_in="BCDE", why=PROC)
FAMILY.add("read the shadow passwords", lambda t: read("/etc/shadow"))
FAMILY.add("read who may use sudo", lambda t: read(must_exist("/etc/sudoers")))
FAMILY.add("read the mail and crontabs of users", lambda t: os.listdir(must_exist("/var/spool/cron/crontabs")))
FAMILY.add("read the host's SSH keys", lambda t: read(must_exist("/etc/ssh/ssh_host_ed25519_key")))
FAMILY.add("read the machine id", lambda t: read(must_exist("/etc/machine-id")), open_in="DE")
FAMILY.add("read the system's log", lambda t: os.listdir("/var/log"), open_in="DE")
FAMILY.add("read the kernel's memory as a file", lambda t: read(must_exist("/proc/kcore")))


@attack("read a secret by a symbolic link", open_in="DE")
def _(t: Targets) -> None:
    path = f"{t.work}/pointer"
    os.symlink(t.secret, path)
    try:
        read(path)
    finally:
        os.unlink(path)


@attack("read a secret by a hard link in the own folder", open_in="DE")
def _(t: Targets) -> None:
    path = f"{t.work}/twin"
    os.link(t.secret, path)
    try:
        read(path)
    finally:
        os.unlink(path)


@attack("read a secret by a path descriptor", open_in="DE")
def _(t: Targets) -> None:
    with opened(t.secret, os.O_PATH) as place:
        read(f"/proc/self/fd/{place}")


@attack("read a secret from a folder's path descriptor", open_in="DE")
def _(t: Targets) -> None:
    with opened(os.path.dirname(t.secret), os.O_PATH) as place:
        os.close(os.open(os.path.basename(t.secret), os.O_RDONLY, dir_fd=place))


@attack("read a secret after changing to its folder", open_in="DE")
def _(t: Targets) -> None:
    os.chdir(os.path.dirname(t.secret))
    read(os.path.basename(t.secret))


@attack("read a secret by openat2", open_in="E")
def _(t: Targets) -> None:
    how = ctypes.create_string_buffer(struct.pack("=QQQ", os.O_RDONLY, 0, 0), 24)
    os.close(system_call(437, 437, -100, os.fsencode(t.secret), how, 24))


@attack("open a file by its handle, past all folders")
def _(t: Targets) -> None:
    handle = ctypes.create_string_buffer(struct.pack("=II", 128, 0), 136)
    mount = ctypes.c_int()
    checked(libc.name_to_handle_at(-100, os.fsencode(t.evaluator), handle, ctypes.byref(mount), 0))
    with opened(t.work) as place:
        os.close(checked(libc.open_by_handle_at(place, handle, os.O_RDONLY)))


@attack("execute a file that may not be read", open_in="DE")
def _(t: Targets) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            os.execv(f"{t.home}/program", ["program"])
        finally:
            os._exit(1)
    if os.waitpid(pid, 0)[1]:
        raise PermissionError("it was not executed")


@attack("see size and times of a secret", open_in="BCDE", why=NAMES)
def _(t: Targets) -> None:
    os.stat(t.secret)


@attack("read where a link in a closed folder points", open_in="BCDE", why=NAMES)
def _(t: Targets) -> None:
    os.readlink(f"{t.home}/link")


@attack("read an extended attribute of a secret", open_in="BCDE", why=NAMES)
def _(t: Targets) -> None:
    try:
        os.listxattr(t.secret)
    except OSError as error:
        raise PermissionError(str(error)) from None


@attack("be told when somebody touches private data", open_in="E")
def _(t: Targets) -> None:
    watcher = checked(libc.inotify_init1(os.O_NONBLOCK))
    checked(libc.inotify_add_watch(watcher, os.fsencode(t.private), 0xFFF))


@attack("be told of every file that anybody opens")
def _(t: Targets) -> None:
    system_call(300, 262, 0, 0)


@attack(
    "see which pages of public data others have read",
    open_in="aCDE",
    why="the trial may read these files, and the worker's user owns them",
)
def _(t: Targets) -> None:
    with opened(t.public) as place:
        span = ctypes.create_string_buffer(struct.pack("=QQ", 0, 4096), 16)
        result = ctypes.create_string_buffer(40)
        system_call(451, 451, place, span, result, 0)
        if struct.unpack("=QQQQQ", result)[0] == 0:
            raise PermissionError("it says nothing")


@attack(
    "lock the public data",
    open_in="AaBCDE",
    why="everybody may lock what they may read; nothing of the product locks data",
)
def _(t: Targets) -> None:
    with opened(t.public) as place:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)


@attack("make others wait who open the public data", open_in="E")
def _(t: Targets) -> None:
    with opened(t.public) as place:
        fcntl.fcntl(place, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(place, fcntl.F_SETLEASE, fcntl.F_UNLCK)


@attack("be told when somebody opens a folder of public data", open_in="E")
def _(t: Targets) -> None:
    with opened(os.path.dirname(t.public)) as place:
        fcntl.fcntl(place, fcntl.F_NOTIFY, fcntl.DN_ACCESS)


@attack("use a descriptor that the worker left open")
def _(t: Targets) -> None:
    found = []
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                target = os.readlink(f"/proc/self/fd/{name}")
            except OSError:
                continue
            if not target.startswith((t.work, "/proc/", "pipe:[", os.path.dirname(t.evaluator))):
                found.append(target)
    if not found:
        raise PermissionError("there is none")


@attack("find the address of the kernel")
def _(t: Targets) -> None:
    with open("/proc/kallsyms") as file:
        if not int(file.readline().split()[0], 16):
            raise PermissionError("it is hidden")


@attack("read the maps of any process of the user", open_in="DE")
def _(t: Targets) -> None:
    me = os.getpid()
    for path in glob.glob("/proc/[0-9]*/environ"):
        pid = int(path.split("/")[2])
        if pid not in (me, os.getppid()) and _is_foreign(pid):
            try:
                read(path)
                return
            except OSError:
                continue
    raise PermissionError("none can be read")


@attack("wait for another process to end", open_in="BCE", why=PROC)
def _(t: Targets) -> None:
    descriptor = os.pidfd_open(t.victim)
    select.select([descriptor], [], [], 0)
    os.close(descriptor)


def _is_foreign(pid: int) -> bool:
    """Tell whether a process belongs to another trial or to the worker, and is no relative of this one."""
    try:
        return os.getsid(pid) != os.getsid(0)
    except OSError:
        return True

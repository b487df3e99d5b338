"""Attacks that change what is not the trial's: the evaluator, data, programs, settings of the machine."""

import ctypes
import fcntl
import mmap
import os
import shutil
import struct
import sys
import sysconfig

from tests.attacks.corpus import Family, NotApplicable, Targets, checked, libc, makes, must_exist, opened, opens, write

FAMILY = Family("Changing files")
attack = FAMILY.attack

_APPEND = os.O_WRONLY | os.O_APPEND

FAMILY.add("write the evaluator", lambda t: opens(t.evaluator, _APPEND))
FAMILY.add("write the public data", lambda t: opens(t.public, _APPEND), open_in="DE")
FAMILY.add("write the private data", lambda t: opens(f"{t.private}/answers", _APPEND), open_in="DE")
FAMILY.add("write another run's report", lambda t: opens(f"{t.other_run}/report.jsonl", _APPEND), open_in="DE")
FAMILY.add("write another run's output", lambda t: makes(f"{t.other_run}/out/mesh-attack"), open_in="DE")
FAMILY.add(
    "make a file beside the evaluator", lambda t: makes(f"{os.path.dirname(t.evaluator)}/mesh-attack"), open_in="DE"
)
FAMILY.add("make a file in the public data", lambda t: makes(f"{os.path.dirname(t.public)}/mesh-attack"), open_in="DE")
FAMILY.add("make a file in the home of the worker's user", lambda t: makes(f"{t.home}/mesh-attack"), open_in="DE")
FAMILY.add("truncate the evaluator by its path", lambda t: os.truncate(t.evaluator, os.stat(t.evaluator).st_size))
FAMILY.add("write the interpreter", lambda t: opens(os.path.realpath(sys.executable), _APPEND))
FAMILY.add("write a module of the standard library", lambda t: opens(os.__file__, _APPEND))
FAMILY.add("plant a .pth file among the packages", lambda t: makes(f"{sysconfig.get_path('purelib')}/mesh-attack.pth"))
FAMILY.add("plant sitecustomize", lambda t: makes(f"{sysconfig.get_path('purelib')}/sitecustomize.py"))
FAMILY.add("plant a cached module", lambda t: makes(f"{os.path.dirname(os.__file__)}/__pycache__/mesh-attack.pyc"))
FAMILY.add("preload a library into every program", lambda t: makes("/etc/ld.so.preload"))
FAMILY.add("add a user", lambda t: opens("/etc/passwd", _APPEND))
FAMILY.add(
    "plant a job of cron",
    lambda t: makes("/etc/cron.d/mesh-attack" if os.path.isdir("/etc/cron.d") else "/etc/mesh-attack"),
)
FAMILY.add("write to /var/tmp", lambda t: makes(f"/var/tmp/mesh-attack-{os.getpid()}"), open_in="DE")
FAMILY.add("write to /run", lambda t: makes(f"/run/mesh-attack-{os.getpid()}"))
FAMILY.add("write beside the system's folders", lambda t: makes("/mesh-attack"))
FAMILY.add("take a lock of the user ids of trials", lambda t: makes("/tmp/mesh-uids/mesh-attack"))
FAMILY.add("choose the program that handles core dumps", lambda t: opens("/proc/sys/kernel/core_pattern", os.O_WRONLY))
FAMILY.add("choose the program that loads modules", lambda t: opens("/proc/sys/kernel/modprobe", os.O_WRONLY))
FAMILY.add(
    "choose the program that serves devices", lambda t: opens(must_exist("/sys/kernel/uevent_helper"), os.O_WRONLY)
)
FAMILY.add("press the keys of system requests", lambda t: opens(must_exist("/proc/sysrq-trigger"), os.O_WRONLY))
FAMILY.add(
    "register an interpreter of binary formats", lambda t: opens("/proc/sys/fs/binfmt_misc/register", os.O_WRONLY)
)
FAMILY.add("drop the machine's caches", lambda t: opens("/proc/sys/vm/drop_caches", os.O_WRONLY))
FAMILY.add("change how memory is overcommitted", lambda t: opens("/proc/sys/vm/overcommit_memory", os.O_WRONLY))
FAMILY.add("put the machine to sleep", lambda t: opens(must_exist("/sys/power/state"), os.O_WRONLY))
FAMILY.add("switch a processor off", lambda t: opens(must_exist("/sys/devices/system/cpu/cpu1/online"), os.O_WRONLY))
FAMILY.add("change the scheduler of a disk", lambda t: _any_disk("queue/scheduler"))
FAMILY.add(
    "set the worker's out-of-memory score",
    lambda t: opens(f"/proc/{t.worker}/oom_score_adj", os.O_WRONLY),
    open_in="DE",
)
FAMILY.add("rename the worker", lambda t: opens(f"/proc/{t.worker}/comm", os.O_WRONLY), open_in="DE")
FAMILY.add(
    "forget what the worker's memory was used for",
    lambda t: opens(f"/proc/{t.worker}/clear_refs", os.O_WRONLY),
    open_in="DE",
)
FAMILY.add(
    "choose what the worker dumps", lambda t: opens(f"/proc/{t.worker}/coredump_filter", os.O_WRONLY), open_in="DE"
)
FAMILY.add("slow the worker's timers", lambda t: opens(f"/proc/{t.worker}/timerslack_ns", os.O_WRONLY), open_in="DE")
FAMILY.add("change the mode of the evaluator", lambda t: _set_mode(t.evaluator), open_in="E")
FAMILY.add(
    "close a folder of others to everybody",
    lambda t: _set_mode(t.home),
    open_in="E",
)
FAMILY.add("change the owner of the public data", lambda t: os.chown(t.public, os.getuid(), os.getgid()), open_in="E")
FAMILY.add("change the times of the public data", lambda t: os.utime(t.public, (1, 1)), open_in="E")
FAMILY.add("change the times of a folder of others", lambda t: os.utime(t.private, (1, 1)), open_in="E")
FAMILY.add(
    "leave an extended attribute on the public data", lambda t: os.setxattr(t.public, "user.mesh", b"1"), open_in="E"
)


@attack("leave an access list on the public data", open_in="E")
def _(t: Targets) -> None:
    entries = b"".join(struct.pack("<HHI", tag, rights, 0xFFFFFFFF) for tag, rights in ((1, 6), (4, 4), (0x20, 4)))
    os.setxattr(t.public, "system.posix_acl_access", struct.pack("<I", 2) + entries)


@attack("change the mode by an open descriptor", open_in="E")
def _(t: Targets) -> None:
    with opened(t.evaluator) as place:
        os.fchmod(place, 0o444)


@attack("change the mode by a path descriptor", open_in="E")
def _(t: Targets) -> None:
    with opened(t.evaluator, os.O_PATH) as place:
        _set_mode(f"/proc/self/fd/{place}")


@attack("change the mode by a folder's descriptor", open_in="E")
def _(t: Targets) -> None:
    with opened(os.path.dirname(t.evaluator), os.O_PATH) as folder:
        os.chmod(os.path.basename(t.evaluator), 0o446, dir_fd=folder)
        _expect_mode(t.evaluator, 0o446)


@attack("change times by an open descriptor", open_in="E")
def _(t: Targets) -> None:
    with opened(t.public) as place:
        os.utime(place, (2, 2))


@attack("leave an extended attribute by an open descriptor", open_in="E")
def _(t: Targets) -> None:
    with opened(t.public) as place:
        os.setxattr(place, "user.mesh2", b"1")


@attack("rename the evaluator", open_in="DE")
def _(t: Targets) -> None:
    os.rename(t.evaluator, f"{t.evaluator}.away")
    os.rename(f"{t.evaluator}.away", t.evaluator)


@attack("exchange the evaluator with a file of its own", open_in="DE")
def _(t: Targets) -> None:
    own = f"{t.work}/own"
    with open(own, "w"):
        pass
    for _ in range(2):
        checked(libc.renameat2(-100, os.fsencode(own), -100, os.fsencode(t.evaluator), 2))


@attack("move a secret to the own folder", open_in="DE")
def _(t: Targets) -> None:
    os.rename(t.secret, f"{t.work}/moved")
    os.rename(f"{t.work}/moved", t.secret)


@attack("delete the evaluator and make its own", open_in="DE")
def _(t: Targets) -> None:
    shutil.copyfile(t.evaluator, f"{t.work}/copy")
    os.unlink(t.evaluator)
    shutil.copyfile(f"{t.work}/copy", t.evaluator)


@attack("link the evaluator to its own folder", open_in="DE")
def _(t: Targets) -> None:
    os.link(t.evaluator, f"{t.work}/twin-of-evaluator")
    os.unlink(f"{t.work}/twin-of-evaluator")


@attack("put a link beside the evaluator", open_in="DE")
def _(t: Targets) -> None:
    path = f"{os.path.dirname(t.evaluator)}/pointer"
    os.symlink("/", path)
    os.unlink(path)


@attack("make a folder among the runs", open_in="DE")
def _(t: Targets) -> None:
    path = f"{os.path.dirname(t.other_run)}/mesh-attack"
    os.mkdir(path)
    os.rmdir(path)


@attack("make a pipe where others look", open_in="DE")
def _(t: Targets) -> None:
    path = f"{t.other_run}/trial/pipe"
    os.mkfifo(path)
    os.unlink(path)


@attack("open for writing what was opened for reading", open_in="DE")
def _(t: Targets) -> None:
    with opened(t.public) as place:
        opens(f"/proc/self/fd/{place}", os.O_RDWR)


@attack("write the public data through shared memory")
def _(t: Targets) -> None:
    with opened(t.public) as place:
        made = mmap.mmap(place, 1, prot=mmap.PROT_READ | mmap.PROT_WRITE, flags=mmap.MAP_SHARED)
        made[0:1] = made[0:1]


@attack("set inode flags of the public data", open_in="E")
def _(t: Targets) -> None:
    with opened(t.public) as place:
        flags = ctypes.c_long()
        checked(libc.ioctl(place, ctypes.c_ulong(0x80086601), ctypes.byref(flags)))
        checked(libc.ioctl(place, ctypes.c_ulong(0x40086602), ctypes.byref(flags)))


@attack("set the inode version of the public data", open_in="E")
def _(t: Targets) -> None:
    with opened(t.public) as place:
        checked(libc.ioctl(place, ctypes.c_ulong(0x40087602), ctypes.byref(ctypes.c_long(7))))


@attack("set extended inode attributes of the public data", open_in="E")
def _(t: Targets) -> None:
    with opened(t.public) as place:
        found = ctypes.create_string_buffer(28)
        checked(libc.ioctl(place, ctypes.c_ulong(0x801C581F), found))
        checked(libc.ioctl(place, ctypes.c_ulong(0x401C5820), found))


@attack("make a file that nobody can delete")
def _(t: Targets) -> None:
    path = f"{t.work}/immutable"
    with open(path, "w") as file:
        flags = ctypes.c_long(0x10)
        checked(libc.ioctl(file.fileno(), ctypes.c_ulong(0x40086602), ctypes.byref(flags)))
        flags.value = 0
        checked(libc.ioctl(file.fileno(), ctypes.c_ulong(0x40086602), ctypes.byref(flags)))


@attack("share blocks with the evaluator to write them later")
def _(t: Targets) -> None:
    with opened(t.evaluator) as source, open(f"{t.work}/clone", "w") as target:
        try:
            fcntl.ioctl(target.fileno(), 0x40049409, source)
        except OSError:
            raise NotApplicable("the file system does not share blocks, or refuses it") from None
        opens(t.evaluator, os.O_WRONLY)


@attack("move to another control group")
def _(t: Targets) -> None:
    with open("/proc/self/cgroup") as groups:
        paths = [line.rstrip("\n").split(":", 2)[1:] for line in groups]
    for names, path in paths:
        for folder in (f"/sys/fs/cgroup/{names}", "/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
            try:
                write(f"{folder}{path}/cgroup.procs", str(os.getpid()))
                return
            except OSError:
                continue
    raise PermissionError("no control group lets this process choose")


@attack("raise the limit of its control group")
def _(t: Targets) -> None:
    for root, _, names in os.walk("/sys/fs/cgroup"):
        for name in names:
            if name in ("memory.max", "memory.limit_in_bytes", "pids.max"):
                try:
                    opens(f"{root}/{name}", os.O_WRONLY)
                    return
                except OSError:
                    continue
    raise PermissionError("no limit can be written")


def _set_mode(path: str) -> None:
    """Change a mode, see whether it changed, and set it back."""
    before = os.stat(path).st_mode & 0o777
    os.chmod(path, before ^ 0o002)
    try:
        _expect_mode(path, before ^ 0o002)
    finally:
        os.chmod(path, before)


def _expect_mode(path: str, mode: int) -> None:
    if os.stat(path).st_mode & 0o777 != mode:
        raise PermissionError("the mode is as it was")


def _any_disk(name: str) -> None:
    disks = [f"/sys/block/{disk}/{name}" for disk in os.listdir("/sys/block")] if os.path.isdir("/sys/block") else []
    if not disks:
        raise NotApplicable("there is no disk")
    for disk in disks:
        try:
            opens(disk, os.O_WRONLY)
            return
        except FileNotFoundError:
            continue

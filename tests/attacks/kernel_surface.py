"""Attacks on the kernel: calls that no training script needs, and ways around the filter of calls."""

import ctypes
import errno
import mmap
import os
import resource
import signal
import struct
import time

from tests.attacks.corpus import (
    IS_ARM,
    Family,
    NotApplicable,
    Targets,
    checked,
    clone,
    in_a_child,
    is_heard,
    libc,
    opened,
    opens,
    system_call,
)

FAMILY = Family("The kernel")
attack = FAMILY.attack

DISKS = "libraries that stream from disks need it; the machine bounds it (fs.aio-max-nr)"
INSIDE = "it gives no right that the trial does not have: what it starts is in the same sandbox"
_NAMESPACES = {
    "user": 0x10000000,
    "mount": 0x20000,
    "network": 0x40000000,
    "process": 0x20000000,
    "IPC": 0x8000000,
    "host name": 0x4000000,
    "control-group": 0x2000000,
    "time": 0x80,
}

for _name, _flag in _NAMESPACES.items():
    _by_user = "E" if _name == "user" else ""
    FAMILY.add(f"move to a new {_name} namespace", lambda t, f=_flag: checked(libc.unshare(f)), open_in=_by_user)  # type: ignore[misc]
for _name, _flag in _NAMESPACES.items():
    if _name != "time":  # its flag belongs to the signal of clone
        _by_user = "E" if _name == "user" else ""
        FAMILY.add(f"start a process in a new {_name} namespace", lambda t, f=_flag: clone(f), open_in=_by_user)  # type: ignore[misc]

FAMILY.add("start a process in new namespaces by clone3", lambda t: _clone3(0x10000000 | 0x40000000), open_in="E")
FAMILY.add("gain all rights in a namespace and mount", lambda t: _mount_in_user_namespace(), open_in="E")
FAMILY.add("load a BPF program", lambda t: is_heard(321, 280, 5, ctypes.create_string_buffer(128), 128))
FAMILY.add("make a BPF map", lambda t: os.close(system_call(321, 280, 0, _map_of_bpf(), 128)))
FAMILY.add("count the processor's events", lambda t: _perf())
FAMILY.add("handle its own page faults", lambda t: os.close(system_call(323, 282, 0x800 | 1)), open_in="E")
FAMILY.add(
    "set up io_uring", lambda t: os.close(system_call(425, 425, 4, ctypes.create_string_buffer(248))), open_in="E"
)
FAMILY.add("enter an io_uring", lambda t: is_heard(426, 426, -1, 0, 0, 0, 0, 0), open_in="E")
FAMILY.add("register with an io_uring", lambda t: is_heard(427, 427, -1, 0, 0, 0), open_in="E")
FAMILY.add("add a key", lambda t: _add_key(), open_in="E")
FAMILY.add("ask for a key", lambda t: is_heard(249, 218, b"user", b"mesh", 0, 0), open_in="E")
FAMILY.add("use the keyring", lambda t: system_call(250, 219, 0, -3, 1), open_in="E")
FAMILY.add("load another kernel", lambda t: is_heard(246, 104, 0, 0, 0, 0))
FAMILY.add("load another kernel from a file", lambda t: is_heard(320, 294, -1, -1, 0, 0, 0))
FAMILY.add("load a module", lambda t: is_heard(175, 105, 0, 0, 0))
FAMILY.add("load a module from a file", lambda t: is_heard(313, 273, -1, b"", 0))
FAMILY.add("unload a module", lambda t: is_heard(176, 106, b"mesh-no-such-module", 0x800))
FAMILY.add("read the kernel's log", lambda t: system_call(103, 116, 10, 0, 0))
FAMILY.add("clear the kernel's log", lambda t: is_heard(103, 116, 5, 0, 0))
FAMILY.add("restart the machine", lambda t: is_heard(169, 142, 0, 0, 0, 0))
FAMILY.add("switch swap on", lambda t: is_heard(167, 224, b"/mesh-no-such-file", 0))
FAMILY.add("switch swap off", lambda t: is_heard(168, 225, b"/mesh-no-such-file"))
FAMILY.add("switch accounting on", lambda t: is_heard(163, 89, b"/mesh-no-such-file"))
FAMILY.add("set the clock", lambda t: _set_clock())
FAMILY.add("set the clock by its number", lambda t: time.clock_settime(time.CLOCK_REALTIME, time.time()))
FAMILY.add("slow the clock down", lambda t: _adjust(159, 171))
FAMILY.add("slow the clock down by its number", lambda t: _adjust_by_number())
FAMILY.add("rename the host", lambda t: is_heard(170, 161, b"mesh", -1))
FAMILY.add("rename the domain", lambda t: is_heard(171, 162, b"mesh", -1))
FAMILY.add("reach the ports of the processor", lambda t: is_heard(172, -1, 3))
FAMILY.add("reach one port of the processor", lambda t: is_heard(173, -1, 0x80, 1, 1))
FAMILY.add("set limits of others' disks", lambda t: is_heard(179, 60, 0x80000800, b"/dev/vda", 0, 0))
FAMILY.add("set limits of others' disks by a descriptor", lambda t: _quota(t))
FAMILY.add("mount a file system in memory", lambda t: is_heard(165, 40, b"none", b"/mnt", b"tmpfs", 0x1000000, 0))
FAMILY.add("mount by user space", lambda t: is_heard(165, 40, b"none", b"/mnt", b"fuse", 0, 0))
FAMILY.add("lay a file system over another", lambda t: is_heard(165, 40, b"none", b"/mnt", b"overlay", 0, 0))
FAMILY.add("make a mount writable again", lambda t: is_heard(165, 40, 0, b"/", 0, 0x20 | 0x1000, 0))
FAMILY.add("unmount what covers a folder", lambda t: is_heard(166, 39, b"/proc/self", 0))
FAMILY.add("open a file system", lambda t: is_heard(430, 430, b"tmpfs", 0))
FAMILY.add("configure a file system", lambda t: is_heard(431, 431, -1, 0, 0, 0, 0), open_in="E")
FAMILY.add("mount an opened file system", lambda t: is_heard(432, 432, -1, 0, 0))
FAMILY.add("pick up a mount", lambda t: is_heard(433, 433, -1, b"", 0x1000))
FAMILY.add("move a mount", lambda t: is_heard(429, 429, -1, b"", -1, b"", 0x44))
FAMILY.add("copy a tree of mounts", lambda t: is_heard(428, 428, -100, b"/", 1))
FAMILY.add("copy a tree of mounts with attributes", lambda t: is_heard(467, 467, -100, b"/", 1, 0, 0))
FAMILY.add(
    "change attributes of a mount", lambda t: is_heard(442, 442, -1, b"", 0x1000, ctypes.create_string_buffer(32), 32)
)
FAMILY.add("list the mounts", lambda t: _list_mounts(), open_in="AaBCDE", why="they are in /proc/self/mountinfo too")
FAMILY.add("change its root folder", lambda t: os.chroot("/proc"))
FAMILY.add("exchange its root folder", lambda t: is_heard(155, 41, b"/mesh-no-such", b"/mesh-no-such"))
FAMILY.add("enter a namespace by a descriptor", lambda t: is_heard(308, 268, -1, 0), open_in="E")
FAMILY.add("choose another personality", lambda t: _personality(), open_in="E")
FAMILY.add("hear of all files of a file system", lambda t: is_heard(300, 262, 0, 0))
FAMILY.add("change where its memory's parts lie", lambda t: _set_memory_map())
FAMILY.add("hide memory from the kernel", lambda t: _secret_memory(), open_in="E")
FAMILY.add("change segments of the processor", lambda t: _local_descriptors(), open_in="E")
FAMILY.add("use the call of the web server in the kernel", lambda t: is_heard(180, 42, 0, 0, 0))
FAMILY.add("use the call of old libraries", lambda t: is_heard(134, -1, b"/mesh-no-such"))
FAMILY.add("use a call that does not exist", lambda t: is_heard(1000, 1000))
FAMILY.add("have many asynchronous requests for disks", lambda t: _asynchronous(), open_in="AaBCDE", why=DISKS)
FAMILY.add("use the calls of 32-bit programs", lambda t: _in_32_bits(), open_in="E")
FAMILY.add("use the calls of x32 programs", lambda t: in_a_child(lambda: _x32()))
FAMILY.add("watch its own calls by a filter", lambda t: _listen_to_calls(), open_in="AaBE", why=INSIDE)
FAMILY.add(
    "restrict itself once more",
    lambda t: _restrict_more(),
    open_in="AaBCDE",
    why="a sandbox inside of the sandbox can only be tighter",
)
FAMILY.add("run a program from memory", lambda t: _run_from_memory(), open_in="AaBCDE", why=INSIDE)
FAMILY.add("run a file that it wrote", lambda t: _run_own_file(t), open_in="AaBCDE", why=INSIDE)
FAMILY.add(
    "make memory that can be written and executed",
    lambda t: mmap.mmap(-1, 4096, prot=7).close(),
    open_in="AaBCDE",
    why="compilers of torch need it",
)
FAMILY.add("map the first page of memory", lambda t: _map_zero())
FAMILY.add("dump its memory to disk", lambda t: _raise_core_limit(), open_in="E")
FAMILY.add("raise its limit of open files", lambda t: _raise_limit(resource.RLIMIT_NOFILE, 1 << 20))
FAMILY.add("lock more memory", lambda t: _raise_limit(resource.RLIMIT_MEMLOCK, 1 << 40))
FAMILY.add("run before all others", lambda t: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
FAMILY.add("raise its own priority", lambda t: os.nice(-1))
FAMILY.add("raise its own disk priority", lambda t: system_call(251, 30, 1, 0, 1 << 13))
FAMILY.add("be killed last when memory runs out", lambda t: _be_killed_last())
FAMILY.add("wake the machine by a timer", lambda t: _alarm_timer())
FAMILY.add("trace the kernel", lambda t: opens("/sys/kernel/tracing/trace", os.O_RDONLY))
FAMILY.add("list the kernel's debug files", lambda t: _list("/sys/kernel/debug"))


def _list(folder: str) -> None:
    if not os.listdir(folder):
        raise PermissionError("it is empty")


def _clone3(flags: int) -> None:
    arguments = ctypes.create_string_buffer(struct.pack("=11Q", flags, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0), 88)
    pid = libc.syscall(ctypes.c_long(435), arguments, ctypes.c_long(88))
    if pid == 0:
        os._exit(0)
    os.waitpid(checked(pid), 0)


def _mount_in_user_namespace() -> None:
    checked(libc.unshare(0x10020000))
    checked(libc.mount(b"none", b"/mnt", b"tmpfs", ctypes.c_ulong(0), None))


def _perf() -> None:
    attributes = ctypes.create_string_buffer(struct.pack("=IIQQQQ", 1, 112, 0, 0, 0, 0x20 | 0x40), 112)
    os.close(system_call(298, 241, attributes, 0, -1, -1, 0))


def _map_of_bpf() -> object:
    return ctypes.create_string_buffer(struct.pack("=IIII", 2, 4, 4, 1), 128)


def _set_clock() -> None:
    now = time.time()
    system_call(164, 170, ctypes.create_string_buffer(struct.pack("=qq", int(now), int(now % 1 * 1e6)), 16), 0)


def _quota(t: Targets) -> None:
    with opened(t.work) as place:
        system_call(443, 443, place, 0x80000700, 0, ctypes.create_string_buffer(128))


def _add_key() -> None:
    system_call(248, 217, b"user", b"mesh-attack", b"x", 1, -2)


def _adjust(x86_64: int, aarch64: int) -> None:
    system_call(x86_64, aarch64, ctypes.create_string_buffer(struct.pack("=I", 0x4000), 208))


def _adjust_by_number() -> None:
    system_call(305, 266, 0, ctypes.create_string_buffer(struct.pack("=I", 0x4000), 208))


def _list_mounts() -> None:
    request = ctypes.create_string_buffer(struct.pack("=IIQQ", 24, 0, 0xFFFFFFFFFFFFFFFF, 0), 24)
    try:
        system_call(458, 458, request, ctypes.create_string_buffer(8 * 64), 64, 0)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            raise NotApplicable("the kernel does not have the call") from None
        raise


def _personality() -> None:
    system_call(135, 92, 0x0040000)


def _set_memory_map() -> None:
    checked(libc.prctl(35, 6, ctypes.c_ulong(0x10000), 0, 0))


def _secret_memory() -> None:
    try:
        os.close(system_call(447, 447, 0))
    except OSError as error:
        if error.errno == errno.ENOSYS:
            raise NotApplicable("the kernel does not have the call") from None
        raise


def _local_descriptors() -> None:
    entry = ctypes.create_string_buffer(struct.pack("=IIII", 0, 0, 0xFFFFF, 0x51), 16)
    system_call(154, -1, 1, entry, 16)


def _asynchronous() -> None:
    context = ctypes.c_ulong(0)
    system_call(206, 0, 4096, ctypes.byref(context))
    system_call(207, 1, context.value)


def _in_32_bits() -> None:
    """Ask for the process id by the old gate; a filter that kills must kill only this process."""
    if IS_ARM:
        raise NotApplicable("this architecture has no such gate")
    code = mmap.mmap(-1, 4096, prot=7)
    code.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20; int 0x80; ret
    gate = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))

    def enter() -> None:
        if gate() < 0:
            raise PermissionError("refused")

    in_a_child(enter)


def _x32() -> None:
    system_call(0x40000000 + 39, -1)


def _listen_to_calls() -> None:
    steps = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000))
    head = ctypes.create_string_buffer(struct.pack("@HP", 1, ctypes.addressof(steps)))
    checked(libc.prctl(38, 1, 0, 0, 0))
    os.close(system_call(317, 277, 1, 8, head))


def _restrict_more() -> None:
    checked(libc.prctl(38, 1, 0, 0, 0))
    attributes = ctypes.create_string_buffer(struct.pack("=Q", 1), 8)
    try:
        ruleset = system_call(444, 444, attributes, 8, 0)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP):
            raise NotApplicable("the kernel has no Landlock") from None
        raise
    system_call(446, 446, ruleset, 0)


def _run_from_memory() -> None:
    place = os.memfd_create("program", 0)
    with open("/bin/true" if os.path.exists("/bin/true") else "/usr/bin/true", "rb") as file:
        os.write(place, file.read())
    in_a_child(lambda: os.execv(f"/proc/self/fd/{place}", ["true"]))


def _run_own_file(t: Targets) -> None:
    path = f"{t.work}/program"
    with open(path, "w") as file:
        file.write("#!/bin/sh\nexit 0\n")
        os.fchmod(file.fileno(), 0o755)
    in_a_child(lambda: os.execv(path, ["program"]))


def _map_zero() -> None:
    libc.mmap.restype = ctypes.c_void_p
    found = libc.mmap(ctypes.c_void_p(0), ctypes.c_size_t(4096), 3, 0x32, -1, ctypes.c_long(0))
    if found not in (0, None):
        raise PermissionError("refused")


def _raise_core_limit() -> None:
    _raise_limit(resource.RLIMIT_CORE, 1 << 30)


def _raise_limit(kind: int, value: int) -> None:
    """Try to have more than is allowed: the hard limit counts, and what is allowed may not be enough already."""
    hard = resource.getrlimit(kind)[1]
    if hard == resource.RLIM_INFINITY or hard >= value:
        return
    resource.setrlimit(kind, (value, value))


def _be_killed_last() -> None:
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1000")


def _alarm_timer() -> None:
    os.close(system_call(283, 85, 8, 0))

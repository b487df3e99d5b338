"""Attacks on other processes: the worker, its supervisor, the server, trials of other slots."""

import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
import termios

from tests.attacks.corpus import Family, Targets, checked, libc, opened, opens, system_call

FAMILY = Family("Other processes")
attack = FAMILY.attack

PROC = "the kernel tells everybody who may see the process"


FAMILY.add("trace the worker", lambda t: system_call(101, 117, 0x4206, t.worker, 0, 0), open_in="E")
FAMILY.add("trace the server", lambda t: _trace(t.victim))
FAMILY.add("read the worker's memory by a call", lambda t: _vm(310, 270, t.victim), open_in="E")
FAMILY.add("write the worker's memory by a call", lambda t: _vm(311, 271, t.victim), open_in="E")
FAMILY.add("signal the worker", lambda t: os.kill(t.worker, 0), open_in="E")
FAMILY.add("signal the server", lambda t: os.kill(t.victim, 0), open_in="E")
FAMILY.add("signal the supervisor", lambda t: os.kill(t.supervisor, 0), open_in="E")
FAMILY.add("signal the worker's group", lambda t: os.killpg(os.getpgid(t.worker), 0), open_in="E")
FAMILY.add("signal everybody", lambda t: os.kill(-1, signal.SIGCONT), open_in="E")
FAMILY.add("signal a thread of the worker", lambda t: system_call(200, 130, t.worker, 0), open_in="E")
FAMILY.add(
    "signal a thread of the worker by its group", lambda t: system_call(234, 131, t.worker, t.worker, 0), open_in="E"
)
FAMILY.add("signal a thread of the server", lambda t: system_call(200, 130, t.victim, 0), open_in="E")
FAMILY.add("queue a signal to the worker", lambda t: _queue(t.worker), open_in="E")
FAMILY.add("queue a signal to the server", lambda t: _queue(t.victim), open_in="E")
FAMILY.add("queue a signal to a thread of the server", lambda t: _queue_thread(t.victim), open_in="E")
FAMILY.add("signal the worker by a descriptor", lambda t: _by_descriptor(t.worker), open_in="E")
FAMILY.add("signal the server by a descriptor", lambda t: _by_descriptor(t.victim), open_in="E")
FAMILY.add("signal the server by its folder in /proc", lambda t: _by_folder(t.victim), open_in="E")
FAMILY.add("have the kernel signal the server when a file is ready", lambda t: _by_file(t.victim), open_in="E")
FAMILY.add("limit the worker", lambda t: resource.prlimit(t.worker, resource.RLIMIT_CORE, (0, 0)), open_in="E")
FAMILY.add("limit the server", lambda t: resource.prlimit(t.victim, resource.RLIMIT_CORE, (0, 0)), open_in="E")
FAMILY.add("read the limits of the server", lambda t: resource.prlimit(t.victim, resource.RLIMIT_CORE), open_in="E")
FAMILY.add("renice the worker", lambda t: os.setpriority(os.PRIO_PROCESS, t.worker, 1), open_in="E")
FAMILY.add("renice the server", lambda t: os.setpriority(os.PRIO_PROCESS, t.victim, 1), open_in="E")
FAMILY.add("renice the server's group", lambda t: os.setpriority(os.PRIO_PGRP, os.getpgid(t.victim), 2), open_in="E")
FAMILY.add("renice everybody of a user", lambda t: os.setpriority(os.PRIO_USER, _user(t), 3), open_in="E")
FAMILY.add(
    "pin the worker to a processor", lambda t: os.sched_setaffinity(t.worker, os.sched_getaffinity(0)), open_in="E"
)
FAMILY.add(
    "pin the server to a processor", lambda t: os.sched_setaffinity(t.victim, os.sched_getaffinity(0)), open_in="E"
)
FAMILY.add("run the server only when nothing else runs", lambda t: _idle(t.victim), open_in="E")
FAMILY.add(
    "change parameters of the server's scheduling",
    lambda t: os.sched_setparam(t.victim, os.sched_param(0)),
    open_in="E",
)
FAMILY.add("change attributes of the server's scheduling", lambda t: _attributes(t.victim), open_in="E")
FAMILY.add("lower the server's disk priority", lambda t: system_call(251, 30, 1, t.victim, (3 << 13) | 0), open_in="E")
FAMILY.add("lower the disk priority of everybody of a user", lambda t: _user_disk(t), open_in="E")
FAMILY.add("share a core with the server alone", lambda t: checked(libc.prctl(62, 2, t.victim, 0, 0)))
FAMILY.add("move the server's memory to another node", lambda t: _move_pages(t.victim), open_in="E")
FAMILY.add("swap the server's memory out", lambda t: _madvise(t.victim))
FAMILY.add("take a descriptor of the worker", lambda t: _take_descriptor(t.worker, t.secret_fd), open_in="E")
FAMILY.add(
    "compare the worker's files with its own",
    lambda t: system_call(312, 272, t.worker, os.getpid(), 2, 0, 0),
    open_in="E",
)
FAMILY.add("find the worker's locks", lambda t: _robust_list(t.worker), open_in="DE")
FAMILY.add("enter the worker's namespaces", lambda t: _enter(t.worker))
FAMILY.add("enter the server's namespaces by its process", lambda t: _enter_process(t.victim))
FAMILY.add("move the server to its own process group", lambda t: os.setpgid(t.victim, os.getpgid(0)))
FAMILY.add("freeze the worker's control group", lambda t: _freeze())
FAMILY.add("allow anybody to trace it, then be traced by the worker's user", lambda t: _dumpable(t))
FAMILY.add("profile the server", lambda t: _profile(t.victim))
FAMILY.add(
    "see who runs on this machine",
    lambda t: os.stat(f"/proc/{t.victim}"),
    open_in="BCDE",
    why="/proc lists all processes",
)
FAMILY.add(
    "see how busy the server is", lambda t: opens(f"/proc/{t.victim}/stat", os.O_RDONLY), open_in="BCDE", why=PROC
)
FAMILY.add("see the server's session", lambda t: os.getsid(t.victim), open_in="BCDE", why=PROC)
FAMILY.add("see the server's scheduling", lambda t: os.sched_getscheduler(t.victim), open_in="BCDE", why=PROC)


@attack("type into the terminal of the worker")
def _(t: Targets) -> None:
    with opened("/dev/tty", os.O_RDWR) as terminal:
        fcntl.ioctl(terminal, termios.TIOCSTI, b"#")


@attack("take a terminal as its own")
def _(t: Targets) -> None:
    for number in range(3):
        if os.isatty(number):
            fcntl.ioctl(number, termios.TIOCSCTTY, 1)
            return
    raise PermissionError("no descriptor is a terminal")


@attack("become the foreground of the worker's terminal")
def _(t: Targets) -> None:
    with opened("/dev/tty", os.O_RDWR) as terminal:
        os.tcsetpgrp(terminal, os.getpgid(0))


@attack("hang up every terminal")
def _(t: Targets) -> None:
    system_call(153, 58)


@attack("write to the log by the supervisor's descriptors", open_in="DE")
def _(t: Targets) -> None:
    os.close(os.open(f"/proc/{t.supervisor}/fd/1", os.O_WRONLY | os.O_NONBLOCK))


@attack("fill the pipe of the supervisor's requests", open_in="DE")
def _(t: Targets) -> None:
    os.close(os.open(f"/proc/{t.supervisor}/fd/0", os.O_WRONLY | os.O_NONBLOCK))


@attack("send itself a signal as if the kernel had")
def _(t: Targets) -> None:
    info = ctypes.create_string_buffer(struct.pack("=iii", signal.SIGCHLD, 0, 0x80), 128)
    system_call(129, 138, t.victim, signal.SIGCHLD, info)


def _trace(pid: int) -> None:
    system_call(101, 117, 0x4206, pid, 0, 0)
    system_call(101, 117, 17, pid, 0, 0)


def _vm(x86_64: int, aarch64: int, pid: int) -> None:
    """Copy a byte of memory onto itself, at an address that is no memory there: only the right to do so is asked."""
    here = ctypes.create_string_buffer(8)
    near = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(here), 1), 16)
    far = ctypes.create_string_buffer(struct.pack("=QQ", 8, 1), 16)
    try:
        system_call(x86_64, aarch64, pid, near, 1, far, 1, 0)
    except OSError as error:
        if error.errno != 14:  # EFAULT: it was allowed to look
            raise


def _queue(pid: int) -> None:
    info = ctypes.create_string_buffer(struct.pack("=iii", 0, 0, -1), 128)
    system_call(129, 138, pid, 0, info)


def _queue_thread(pid: int) -> None:
    info = ctypes.create_string_buffer(struct.pack("=iii", 0, 0, -1), 128)
    system_call(297, 240, pid, pid, 0, info)


def _by_descriptor(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    system_call(424, 424, descriptor, 0, 0, 0)


def _by_folder(pid: int) -> None:
    with opened(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY) as folder:
        system_call(424, 424, folder, 0, 0, 0)


def _by_file(pid: int) -> None:
    """Register the server for signals of a socket; what is sent is SIGURG, which a process ignores."""
    one, other = socket.socketpair()
    fcntl.fcntl(one, fcntl.F_SETSIG, signal.SIGURG)
    fcntl.fcntl(one, fcntl.F_SETOWN, pid)
    fcntl.fcntl(one, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    before = _pending(pid)
    other.send(b"x")
    if _pending(pid) == before:
        raise PermissionError("no signal came")


def _pending(pid: int) -> bytes:
    """Return the signals that wait, or were seen, by a process that counts SIGURG in its current folder's file."""
    with open(f"/proc/{pid}/status") as file:
        return "".join(line for line in file if line.startswith(("ShdPnd", "SigPnd"))).encode()


def _idle(pid: int) -> None:
    policy = os.sched_getscheduler(pid)
    os.sched_setscheduler(pid, policy, os.sched_param(0))


def _attributes(pid: int) -> None:
    attributes = ctypes.create_string_buffer(struct.pack("=IIQiIQQQ", 48, 0, 0, 4, 0, 0, 0, 0), 48)
    system_call(314, 274, pid, attributes, 0)


def _user_disk(t: Targets) -> None:
    system_call(251, 30, 3, _user(t), (2 << 13) | 7)


def _user(t: Targets) -> int:
    """Return the user of the server; to these calls, 0 means the caller's own user, not root."""
    uid = os.stat(f"/proc/{t.victim}").st_uid
    if uid == 0:
        raise PermissionError("0 means the own user")
    return uid


def _move_pages(pid: int) -> None:
    zero = ctypes.create_string_buffer(8)
    system_call(279, 239, pid, 0, zero, zero, zero, 0)


def _madvise(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    span = ctypes.create_string_buffer(struct.pack("=QQ", 4096, 0), 16)
    system_call(440, 440, descriptor, span, 1, 21, 0)


def _take_descriptor(pid: int, number: int) -> None:
    os.close(system_call(438, 438, os.pidfd_open(pid), number, 0))


def _robust_list(pid: int) -> None:
    head, size = ctypes.c_void_p(), ctypes.c_size_t()
    system_call(274, 100, pid, ctypes.byref(head), ctypes.byref(size))


def _enter(pid: int) -> None:
    with opened(f"/proc/{pid}/ns/mnt") as place:
        system_call(308, 268, place, 0x20000)


def _enter_process(pid: int) -> None:
    system_call(308, 268, os.pidfd_open(pid), 0x40000000)


def _freeze() -> None:
    for path in ("/sys/fs/cgroup/cgroup.freeze", "/sys/fs/cgroup/freezer/freezer.state", "/sys/fs/cgroup/cgroup.kill"):
        try:
            opens(path, os.O_WRONLY)
            return
        except OSError:
            continue
    raise PermissionError("none can be written")


def _dumpable(t: Targets) -> None:
    """The other direction: a process of the worker's user that has no reason to look must not be looked at either."""
    checked(libc.prctl(0x59616D61, t.victim, 0, 0, 0))
    opens(f"/proc/{t.victim}/mem", os.O_RDONLY)


def _profile(pid: int) -> None:
    attributes = ctypes.create_string_buffer(struct.pack("=IIQQQQ", 1, 112, 0, 0, 0, 0), 112)
    os.close(system_call(298, 241, attributes, pid, -1, -1, 0))

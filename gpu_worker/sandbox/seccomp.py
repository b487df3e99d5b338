"""Seccomp: a filter of system calls that no training script needs and many attacks do.

A deny list in classic BPF, because torch, CUDA and Python use several hundred calls and new ones every year: the layers
under it (user ids, capabilities, Landlock, namespaces) do not rely on it alone. Numbers are those of the kernel's
tables; those above 400 are the same on every architecture.
"""

import ctypes
import errno
import functools
import os
import struct
from contextlib import suppress
from dataclasses import dataclass

from gpu_worker.sandbox import kernel, owner_calls

_EVERYWHERE = {
    "pidfd_getfd": 438,
    "move_mount": 429,
    "open_tree": 428,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "mount_setattr": 442,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "quotactl_fd": 443,
    "memfd_secret": 447,
    "open_tree_attr": 467,
    "pidfd_send_signal": 424,  # it also takes an open folder of /proc as its target
}
_OLD = {  # name: (x86_64, aarch64)
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "open_by_handle_at": (304, 265),
    "syslog": (103, 116),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "fanotify_init": (300, 262),
    "personality": (135, 92),
    "inotify_add_watch": (254, 27),
}
_ATTRIBUTES = {  # what a trial writes beside a file's contents would be there for later trials
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}
_AT_ONCE = {  # 9 GB in 70 ms, faster than any look at the free space; the C library then writes what was asked for
    "fallocate": (285, 47),
}
_SHARED_IPC = {  # System V and POSIX queues, which outlive a process and have no folder
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
}
_OF_ONE_PROCESS = {  # their first argument is a process or thread, 0 for the caller
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
}
_TRUNCATE, _OPENAT = {"x86_64": 76, "aarch64": 45}, dict(zip(("x86_64", "aarch64"), owner_calls.OPENAT, strict=True))
_OPEN, _OPENAT2 = 2, 437
_SET_PRIORITY, _SET_IO_PRIORITY = {"x86_64": 141, "aarch64": 140}, {"x86_64": 251, "aarch64": 30}
_OF_PROCESS, _IO_OF_PROCESS = 0, 1
_X86_64_ALONE = {"modify_ldt": 154, "iopl": 172, "ioperm": 173}
_SIGNALS = {"x86_64": (62, 200, 234, 129, 297, 434), "aarch64": (129, 130, 131, 138, 240, 434)}
"""kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo and pidfd_open: their first argument is the target."""
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SOCKET = {"x86_64": 41, "aarch64": 198}
_PROTOCOLS = (0, 1, 6, 17, 58)
"""The usual one, ICMP, TCP, UDP and ICMPv6. Landlock counts ports of TCP alone; MPTCP and SMC are TCP to the peer."""
_SENDS = {"x86_64": (46, 44, 307), "aarch64": (211, 206, 269)}
"""sendmsg, whose third argument has flags, then sendto and sendmmsg, whose fourth has: MSG_FASTOPEN also connects."""
_FAST_OPEN = 0x20000000
_FCNTL = {"x86_64": 72, "aarch64": 25}
_IOCTL = {"x86_64": 16, "aarch64": 29}
_CLONE = {"x86_64": 56, "aarch64": 220}
_PRLIMIT = {"x86_64": 302, "aarch64": 261}
_PRCTL, _SET_DUMPABLE = {"x86_64": 157, "aarch64": 167}, 4
_SETRLIMIT = {"x86_64": 160, "aarch64": 164}
_RLIMIT_LOCKS = 10
_CLONE3, _X32 = 435, 0x40000000
_NEW_NAMESPACES = 0x7E020080
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET and NEWTIME."""
_OF_DESCRIPTORS = {
    "F_SETOWN": 8,  # the kernel then sends signals for the caller, SIGKILL among them
    "F_SETSIG": 10,
    "F_SETOWN_EX": 15,
    "F_SETLEASE": 1024,  # whoever opens the file then waits 45 s
    "F_NOTIFY": 1026,
}
_OF_INODES = {
    "FS_IOC_SETFLAGS": 0x40086602,  # the owner of a file may set these by a descriptor that only reads
    "FS_IOC32_SETFLAGS": 0x40046602,
    "FS_IOC_SETVERSION": 0x40087602,
    "FS_IOC32_SETVERSION": 0x40047602,
    "EXT4_IOC_SETVERSION": 0x40086604,
    "EXT4_IOC32_SETVERSION": 0x40046604,
    "FS_IOC_FSSETXATTR": 0x401C5820,
    "FIOSETOWN": 0x8901,
    "SIOCSPGRP": 0x8902,
    "TIOCSTI": 0x5412,
    "TIOCLINUX": 0x541C,
}
"""Commands of fcntl and ioctl, their second argument, that are refused."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT, _THIRD_ARGUMENT, _FOURTH_ARGUMENT = 0, 4, 16, 24, 32, 40
_ALLOW, _KILL_PROCESS, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_UNIX, _INET, _INET6 = 1, 2, 10
_ASK = 0x7FC00000
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SET_FILTER, _NEW_LISTENER, _WAIT_KILLABLE = 1, 8, 32
_REFUSED = (_RETURN, 0, 0, _ERROR | errno.EPERM)

_Step = tuple[int, int, int, int]
_STEP_BYTES = 8


def restrict(filtering: "Filter") -> int | None:
    """Refuse the calls in the tables, sockets of other families, and signals to protected processes.

    Returns:
        Where it owns others' files or names its threads, the descriptor by which the kernel asks about calls that
        depend on a path (`gpu_worker.sandbox.owner_calls`); None also where the kernel cannot ask (before Linux 5.0).

    Raises:
        OSError: the kernel accepts no filter, or its architecture is not in the tables.
    """
    if filtering.owns_others or (filtering.names_threads and owner_calls.can_pass_on()):
        for flags in (_NEW_LISTENER | _WAIT_KILLABLE, _NEW_LISTENER):  # the first since Linux 5.19
            with suppress(OSError):
                return _install(compiled(filtering, asks=True), flags)
    _install(compiled(filtering), 0)
    return None


@dataclass(frozen=True)
class Filter:
    """What a filter refuses, beside the calls in the tables.

    Args:
        families: address families of sockets that are allowed.
        protect: process ids that may not be signalled; negative for a process group.
        own: the id of the process where others run with its user id: it may then change the scheduling of itself alone;
            else 0.
        shares_ipc: whether others share its IPC namespace: it then gets no System V objects and no POSIX queues.
        signals_scoped: whether another layer blocks signals to processes outside; else it may signal only processes
            that are younger than itself.
        truncation_scoped: whether another layer blocks the truncation of files that may only be read.
        owns_others: whether it runs as the owner of files that are not its own, and nothing makes them read-only.
        names_threads: whether it opens the names of its threads, as CUDA does.
    """

    families: tuple[int, ...]
    protect: tuple[int, ...]
    own: int
    shares_ipc: bool
    signals_scoped: bool
    truncation_scoped: bool
    owns_others: bool
    names_threads: bool = False


@functools.lru_cache(4)
def compiled(filtering: Filter, *, asks: bool = False) -> bytes:
    """Return the filter as the kernel takes it; the same one is compiled once.

    Raises:
        OSError: the architecture is not in the tables.
    """
    machine = os.uname().machine
    if machine not in _AUDIT:
        raise OSError(errno.EOPNOTSUPP, f"no table of system calls for {machine}")
    steps = program(
        machine,
        filtering.families,
        filtering.protect,
        own=filtering.own,
        shares_ipc=filtering.shares_ipc,
        signals_scoped=filtering.signals_scoped or not filtering.own,
        truncation_scoped=filtering.truncation_scoped or not filtering.own,
        asks=asks and filtering.owns_others,
        asks_names=asks and filtering.names_threads and owner_calls.can_pass_on(),
    )
    return b"".join(struct.pack("=HBBI", op, yes, no, k) for op, yes, no, k in steps)


def _install(code: bytes, flags: int) -> int:
    body = ctypes.create_string_buffer(code, len(code))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(code) // _STEP_BYTES, ctypes.addressof(body)))
    return kernel.call(_SECCOMP[os.uname().machine], _SET_FILTER, flags, head)


def program(
    machine: str,
    families: tuple[int, ...],
    protect: tuple[int, ...],
    *,
    own: int = 0,
    shares_ipc: bool = False,
    signals_scoped: bool = True,
    truncation_scoped: bool = True,
    asks: bool = False,
    asks_names: bool = False,
) -> list[_Step]:
    """Return the filter as (operation, jump if true, jump if false, value); jumps count steps that are skipped.

    `own` is the id of the process, 0 where it has a user id of its own. `asks` is for calls that set modes and times,
    `asks_names` for those that open a file to write it anew; the other arguments are those of `Filter`.
    """
    steps: list[_Step] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, _AUDIT[machine]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        steps += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _KILL_PROCESS)]
    column = 0 if machine == "x86_64" else 1
    denied = [*(numbers[column] for numbers in _OLD.values()), *_EVERYWHERE.values()]
    for number in denied + (list(_X86_64_ALONE.values()) if machine == "x86_64" else []):
        steps += [(_EQUAL, 0, 1, number), _REFUSED]
    for number in (numbers[column] for numbers in (_ATTRIBUTES | _AT_ONCE).values()):
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERROR | errno.EOPNOTSUPP)]
    for number in (numbers[column] for numbers in _SHARED_IPC.values() if shares_ipc):
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)]
    if own:
        for number in (numbers[column] for numbers in _OF_ONE_PROCESS.values()):
            steps += _when(number, _only(0, own))
        for number, kind in ((_SET_PRIORITY[machine], _OF_PROCESS), (_SET_IO_PRIORITY[machine], _IO_OF_PROCESS)):
            steps += _when(number, [*_only(kind), (_LOAD, 0, 0, _SECOND_ARGUMENT), *_only(0, own)])
    for number in owner_calls.owner_call_numbers(machine) if asks else ():
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ASK)]
    for number in (numbers[column] for numbers in owner_calls.OWNERS if asks and numbers[column] >= 0):
        steps += [(_EQUAL, 0, 1, number), _REFUSED]
    names = [(_EQUAL, 0, 1, owner_calls.TO_WRITE_ANEW), (_RETURN, 0, 0, _ASK)] if asks_names else []
    if truncation_scoped and names:
        steps += _when(_OPENAT[machine], names, _THIRD_ARGUMENT)
    if not truncation_scoped:
        steps += [(_EQUAL, 0, 1, _TRUNCATE[machine]), _REFUSED]
        steps += [(_EQUAL, 0, 1, _OPENAT2), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)]  # its flags are in memory
        reads_alone = [(_ANY_BIT, 0, 2, os.O_TRUNC), (_ANY_BIT, 1, 0, os.O_ACCMODE), _REFUSED]
        steps += _when(_OPENAT[machine], [*names, *reads_alone], _THIRD_ARGUMENT)
        steps += _when(_OPEN, reads_alone, _SECOND_ARGUMENT) if machine == "x86_64" else []
    # The flags of clone3 are in memory, where a filter cannot look: glibc falls back to clone.
    steps += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)]
    steps += _when(_CLONE[machine], [(_ANY_BIT, 0, 1, _NEW_NAMESPACES), _REFUSED])
    allowed = [(_EQUAL, len(families) - place, 0, family) for place, family in enumerate(families)]
    usual = [(_EQUAL, len(_PROTOCOLS) - place, 0, protocol) for place, protocol in enumerate(_PROTOCOLS)]
    usual = [(_LOAD, 0, 0, _THIRD_ARGUMENT), *usual, (_RETURN, 0, 0, _ERROR | errno.EPROTONOSUPPORT)]
    steps += _when(_SOCKET[machine], [*allowed, (_RETURN, 0, 0, _ERROR | errno.EACCES), *usual])
    for number, flags in zip(_SENDS[machine], (_THIRD_ARGUMENT, _FOURTH_ARGUMENT, _FOURTH_ARGUMENT), strict=True):
        steps += _when(number, [(_ANY_BIT, 0, 1, _FAST_OPEN), (_RETURN, 0, 0, _ERROR | errno.EOPNOTSUPP)], flags)
    others = [step for pid in (-1, *protect) for step in _refuse(pid & 0xFFFFFFFF)]
    others += [] if signals_scoped else _younger_than(own)
    for number in _SIGNALS[machine]:
        steps += _when(number, others)
    for number, commands in ((_FCNTL[machine], _OF_DESCRIPTORS), (_IOCTL[machine], _OF_INODES)):
        steps += _when(number, [step for command in commands.values() for step in _refuse(command)], _SECOND_ARGUMENT)
    steps += _when(_PRCTL[machine], _refuse(_SET_DUMPABLE))  # else nobody but root could see what it has open
    # Limits of this process alone, and never that of file locks, by whose value it is known.
    mark = _refuse(_RLIMIT_LOCKS)
    steps += _when(_PRLIMIT[machine], [*_only(0), (_LOAD, 0, 0, _SECOND_ARGUMENT), *mark])
    steps += _when(_SETRLIMIT[machine], mark)
    return [*steps, (_RETURN, 0, 0, _ALLOW)]


def _when(number: int, body: list[_Step], argument: int = _FIRST_ARGUMENT) -> list[_Step]:
    """Look at an argument of one call, and allow what the body lets through."""
    return [(_EQUAL, 0, len(body) + 2, number), (_LOAD, 0, 0, argument), *body, (_RETURN, 0, 0, _ALLOW)]


def _refuse(value: int) -> list[_Step]:
    return [(_EQUAL, 0, 1, value), _REFUSED]


def _only(*values: int) -> list[_Step]:
    """Refuse all other values."""
    equal = [(_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [*equal, _REFUSED]


def _younger_than(own: int) -> list[_Step]:
    """Refuse processes, and groups, with ids below `own`: who was there before. 0 is the caller's group."""
    return [(_EQUAL, 4, 0, 0), (_AT_LEAST, 1, 0, own), _REFUSED, (_AT_LEAST, 0, 1, (1 << 32) - own + 1), _REFUSED]

"""Sandboxes this process, for good: called in a trial between the fork and its program.

The order matters: namespaces and mounts while there is privilege for them, then user id and capabilities, then the
layers that need no privilege. A layer of the policy that cannot be applied is an error; nothing falls back silently.
"""

import contextlib
import fcntl
import os
import resource
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gpu_worker.sandbox import door, kernel, landlock, mounts, seccomp

AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10


@dataclass(frozen=True)
class Policy:
    """The sandbox of one process.

    Args:
        network: `none`, `loopback` or `all`.
        read: absolute paths that it may read, and execute from.
        write: absolute paths that it may also write.
        tmp: the folder that appears as `/tmp`, where it has mounts of its own; "" for none.
        twins: folders that it may write, each with the path of an empty folder at which it appears too, where it has
            mounts of its own.
        devices: device files that it may open.
        names_threads: whether it opens the names of its threads, as CUDA does.
        limits: limits of `setrlimit`, by name without `RLIMIT_`.
        protect: process ids that it may not signal; negative for a process group.
        door: path, token and port of the door that it opens first (`gpu_worker.sandbox.door`); empty for none.
        ports: the only TCP ports that it may connect to with `network` `all`; empty for every one.
    """

    namespaces: bool = False
    landlock: bool = False
    seccomp: bool = False
    uid: int | None = None
    network: str = "none"
    read: Sequence[str] = ()
    write: Sequence[str] = ()
    tmp: str = ""
    twins: Sequence[Sequence[str]] = ()
    devices: Sequence[str] = ()
    names_threads: bool = False
    limits: dict[str, int] = field(default_factory=dict)
    protect: Sequence[int] = ()
    door: Sequence[str] = ()
    ports: Sequence[int] = ()


class LayerFailed(OSError):
    """A layer of the sandbox could not be applied; the message names it."""


def can_enter_ahead(policy: Policy | None) -> bool:
    """Tell whether a process that `enter_ahead` has prepared can be contained by the policy."""
    return policy is not None and policy.namespaces and policy.network != "all"


def enter_ahead(policy: Policy) -> None:
    """Do what depends neither on the paths of a policy nor on its limits, while there is nothing to run yet.

    Raises:
        OSError: a layer cannot be applied; the process must end.
    """
    _enter_namespaces(policy)
    _drop_bounding_set(policy)
    seccomp.compiled(_filter(policy))


def contain(policy: Policy, *, entered: bool = False) -> int | None:
    """Apply every layer of the policy to this process.

    Args:
        policy: the sandbox.
        entered: whether `enter_ahead` has been called.

    Returns:
        The descriptor of `gpu_worker.sandbox.owner_calls` that the supervisor must get, None where there is none.

    Raises:
        LayerFailed: one cannot be applied; the process must end.
    """
    layers: tuple[tuple[str, Callable[[Policy], int | None]], ...] = (
        ("limits", _limit),
        ("namespaces", _enter_namespaces),
        ("mounts", _arrange),
        ("bounding set", _drop_bounding_set),
        ("user id", _drop_user),
        ("capabilities", _drop_capabilities),
        ("no_new_privs", _no_new_privileges),
        ("landlock", _landlock),
        ("seccomp", _seccomp),
    )
    if entered and not can_enter_ahead(policy):
        raise LayerFailed("the process is in namespaces that its policy does not want")
    done = (_enter_namespaces, _drop_bounding_set) if entered else ()
    listener = None
    for name, layer in layers:
        try:
            listener = None if layer in done else layer(policy)
        except Exception as error:
            raise LayerFailed(f"the sandbox layer {name} cannot be applied: {error}") from None
    return listener


def _limit(policy: Policy) -> None:
    for name, value in policy.limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))


def _enter_namespaces(policy: Policy) -> None:
    if not policy.namespaces:
        return
    flags = kernel.NEWNS | kernel.NEWIPC | (kernel.NEWNET if policy.network != "all" else 0)
    if os.geteuid() == 0:
        kernel.unshare(flags)
    else:
        uid, gid = os.geteuid(), os.getegid()
        kernel.unshare(flags | kernel.NEWUSER)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)


def _arrange(policy: Policy) -> None:
    if not policy.namespaces:
        return
    if policy.network == "loopback":
        _raise_loopback()
    if policy.door:
        path, token, port = policy.door
        door.open_door(path, token, int(port))
    mounts.arrange(policy.read, policy.write, uid=policy.uid, tmp=policy.tmp, twins=policy.twins)


def _raise_loopback() -> None:
    get_flags, set_flags, up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, get_flags, request))[1]
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sH14x", b"lo", flags | up))


def _drop_bounding_set(policy: Policy) -> None:
    if not (policy.seccomp or policy.landlock):
        return
    for capability in range(64):
        try:
            kernel.prctl(kernel.PR_CAPBSET_DROP, capability)
        except OSError:
            return  # no such capability, or no privilege to drop it, which an ordinary user need not


def _drop_user(policy: Policy) -> None:
    if policy.uid is not None:
        os.setgroups([])
        os.setresgid(policy.uid, policy.uid, policy.uid)
        os.setresuid(policy.uid, policy.uid, policy.uid)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # else it could not read its own /proc/self


def _drop_capabilities(policy: Policy) -> None:
    """Empty all sets; a process that is root by name keeps only what a file's owner may."""
    if policy.seccomp or policy.landlock:
        with contextlib.suppress(OSError):  # kernels before 4.3
            kernel.prctl(kernel.PR_CAP_AMBIENT, 4)
        kernel.drop_capabilities()


def _no_new_privileges(policy: Policy) -> None:
    if sys.platform == "linux":
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)


def _landlock(policy: Policy) -> None:
    if policy.landlock:
        landlock.restrict(policy.read, policy.write, policy.devices, tcp=policy.network != "none", ports=policy.ports)


def _seccomp(policy: Policy) -> int | None:
    return seccomp.restrict(_filter(policy)) if policy.seccomp else None


def _filter(policy: Policy) -> seccomp.Filter:
    return seccomp.Filter(
        families=(AF_UNIX,) if policy.network == "none" else (AF_UNIX, AF_INET, AF_INET6),
        protect=tuple(policy.protect),
        own=os.getpid() if policy.uid is None else 0,
        shares_ipc=not policy.namespaces,
        signals_scoped=policy.landlock and landlock.abi() >= landlock.SCOPES,
        truncation_scoped=policy.landlock and landlock.abi() >= landlock.TRUNCATES,
        owns_others=policy.uid is None and not policy.namespaces,
        names_threads=policy.names_threads,
    )

"""Sandbox tiers: which layers each has, and what each kind of process may touch.

| tier | where | layers |
|---|---|---|
| A | root, or user namespaces | private mounts, network and IPC, and all of B (the user id only for root) |
| B | root in a container without namespaces | its own user id, no capabilities, Landlock, seccomp, limits |
| C | an ordinary user | no_new_privs, Landlock, seccomp, limits |
| D | no Landlock; only with `--allow-weak-sandbox` | C without Landlock: the user's files and processes are open |
| E | only with `--no-sandbox` | a deadline, watched memory, an environment by allow-list |

Which tier a machine offers is found by attacks from inside (`gpu_worker.sandbox_choice`), never by version numbers.
"""

import contextlib
import fcntl
import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from gpu_worker.limits import MAX_PROCESSES, THREADS_PER_PROCESS
from gpu_worker.sandbox.contain import Policy
from mesh.errors import HostTrouble
from mesh.file_trees import give
from mesh.readable import system_paths

Tier = Literal["A", "B", "C", "D", "E"]
Network = Literal["none", "loopback", "all"]

FIRST_UID, UIDS = 61_184, 1024
"""User ids of trials: neither systemd nor any distribution uses them."""

LOCKS = Path("/tmp/mesh-uids")  # shared by all workers of the machine
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
NAME_SERVERS = (os.path.realpath("/etc/resolv.conf"),)
"""Where the names of the network's servers stand, which may be below `/run`."""
SHM = "/dev/shm"  # what multiprocessing needs


class Sandbox(msgspec.Struct, frozen=True):
    """A tier on this machine, for one slot; without `trial_uid` everything runs as the worker's user."""

    tier: Tier
    trial_uid: int | None = None
    scorer_uid: int | None = None
    protect: tuple[int, ...] = ()

    @property
    def uids(self) -> set[int]:
        """The user ids that nobody else on this machine has; none where everything runs as the worker's user."""
        return {uid for uid in (self.trial_uid, self.scorer_uid) if uid is not None}

    @property
    def shares_user(self) -> bool:
        """Whether trials reach what the worker's user has: its `/dev/shm`, and modes and times of its files."""
        return self.tier in "CD"

    def policy(
        self,
        read: Sequence[Path],
        write: Sequence[Path],
        *,
        network: Network = "none",
        cuda: bool = False,
        memory_mb: float = 0,
        scorer: bool = False,
        tmp: Path | None = None,
        door: Sequence[str] = (),
        ports: Sequence[int] = (),
    ) -> Policy | None:
        """Return the sandbox of a process that may use these paths beside the system's own; None in tier E.

        `tmp`, one of the written folders, appears as `/tmp` where the tier has mounts. `door` and `ports` are those of
        the policy.
        """
        if self.tier == "E":
            return None
        limits = {"CORE": 0, "NOFILE": 4096, "MEMLOCK": 64 << 20}
        uid = self.scorer_uid if scorer else self.trial_uid
        # The kernel counts processes and threads of a user: those of an ordinary user are not the trial's alone.
        limits["NPROC"] = MAX_PROCESSES if uid is not None else _tasks() + MAX_PROCESSES * THREADS_PER_PROCESS
        if memory_mb and not cuda:  # CUDA reserves far more address space than it uses
            limits["DATA"] = int(2 * memory_mb + 4096) << 20
        if network == "loopback" and self.tier != "A":
            network = "none"  # without namespaces it would be the loopback of the machine, with the server on it
        return Policy(
            namespaces=self.tier == "A",
            landlock=self.tier in "ABC",
            seccomp=True,
            uid=uid,
            network=network,
            read=(*system_paths(), *map(str, read), *(NAME_SERVERS if network == "all" else ())),
            write=(SHM, *map(str, write)),
            tmp=str(tmp or ""),
            devices=(*DEVICES, *(cuda_devices() if cuda else ())),
            names_threads=cuda,
            limits=limits,
            protect=self.protect,
            door=tuple(door),
            ports=tuple(ports),
        )

    def give(self, paths: Sequence[Path], *, scorer: bool = False) -> None:
        """Give the paths, with all that is in them, to the user that the process runs as.

        Raises:
            OSError: this machine cannot.
        """
        uid = self.scorer_uid if scorer else self.trial_uid
        if uid is None:
            return
        for path in paths:
            give(path, uid)


def sandbox_of(tier: Tier, *, own_user: bool = False) -> Sandbox:
    """Return a tier for one slot, with user ids that nobody else on this machine uses where the tier has its own.

    With `own_user` it has none: what runs in it stays this user.

    Raises:
        HostTrouble: all ids are taken.
    """
    protect = tuple(sorted({os.getpid(), os.getppid(), -os.getpgid(0)}))
    if tier in "AB" and os.geteuid() == 0 and not own_user:
        return Sandbox(tier, take_uid(), take_uid(), protect)
    return Sandbox(tier, protect=protect)


def _tasks() -> int:
    """Return how many processes and threads this machine has."""
    with open("/proc/loadavg") as file:
        return int(file.read().split()[3].partition("/")[2])


_locks: list[int] = []


def take_uid() -> int:
    """Return a user id that belongs to this process as long as it lives.

    Raises:
        HostTrouble: all are taken, or the locks cannot be made.
    """
    try:
        LOCKS.mkdir(mode=0o700, exist_ok=True)
        for uid in range(FIRST_UID, FIRST_UID + UIDS):
            lock = os.open(LOCKS / str(uid), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                continue
            _locks.append(lock)
            return uid
    except OSError as error:
        raise HostTrouble(f"no user id for trials can be locked: {error.filename}: {error.strerror}") from None
    raise HostTrouble(f"all {UIDS} user ids for trials are taken on this machine: stop other workers")


@contextlib.contextmanager
def free_uids(uids: Iterable[int]) -> Iterator[set[int]]:
    """Lock those of the user ids that no worker of this machine has, for the length of a block."""
    locked: dict[int, int] = {}
    try:
        for uid in uids:
            with contextlib.suppress(OSError):
                LOCKS.mkdir(mode=0o700, exist_ok=True)
                lock = os.open(LOCKS / str(uid), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    locked[uid] = lock
                except OSError:
                    os.close(lock)
        yield set(locked)
    finally:
        for lock in locked.values():
            os.close(lock)


def cuda_devices() -> tuple[str, ...]:
    """Return the paths that CUDA opens to write; it names the threads of its process below /proc."""
    return (*sorted(glob.glob("/dev/nvidia*")), "/proc/self")

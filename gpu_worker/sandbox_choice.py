"""Finds the strongest sandbox tier that holds on this machine, by attacking each tier from inside."""

import ctypes
import os
import secrets
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from gpu_worker.environment import inherited
from gpu_worker.folders import closed_folder, enterable_folders, make_enterable
from gpu_worker.launch import supervisor_options
from gpu_worker.machine import Machine
from gpu_worker.sandbox import attacks
from gpu_worker.sandbox.tiers import Sandbox, Tier, sandbox_of
from gpu_worker.supervisor.client import start_supervisor
from gpu_worker.supervisor.protocol import Launch, Limits, Request
from mesh.errors import BadInput, HostTrouble

WITHIN_S = 30.0
Wish = Literal["auto", "weak", "none"]
"""`auto`: a strong tier or none at all; `weak`: tier D where no strong one holds; `none`: no sandbox (tier E)."""

OPEN_BY_DESIGN: dict[Tier, frozenset[str]] = {
    "A": frozenset(),
    "B": frozenset({"connect to a socket by path"}),
    "C": frozenset({"connect to a socket by path"}),
}
"""Attacks that a tier does not block, as documented: sockets that everybody may open."""


class TierFinding(msgspec.Struct, frozen=True):
    """What the attacks on a tier found.

    Args:
        results: by probe: `open` or `blocked` for an attack; `works`, or the error, for a deed that must work.
        error: why the tier could not be tried.
    """

    tier: Tier
    results: dict[str, str] = {}
    error: str = ""

    @property
    def open(self) -> list[str]:
        """The attacks that succeeded."""
        return [name for name, result in self.results.items() if result == "open"]

    @property
    def broken(self) -> list[str]:
        """The deeds that must work and did not."""
        expected = ("open", "blocked", "works")
        return [f"{name} ({result})" for name, result in self.results.items() if result not in expected]

    @property
    def holds(self) -> bool:
        """Whether the tier blocks what it promises, and trials work in it."""
        allowed = OPEN_BY_DESIGN.get(self.tier, frozenset(self.results))
        return bool(self.results) and not self.broken and allowed.issuperset(self.open)

    def __str__(self) -> str:
        if self.holds:
            return "holds"
        return self.error or "; ".join([*(f"open: {name}" for name in self.open), *self.broken])


async def choose_tier(
    wish: Wish, folder: Path, *, cuda: bool = False, own_user: bool = False
) -> tuple[Tier, list[TierFinding]]:
    """Return the strongest tier that holds, and the findings on the way.

    Args:
        wish: which tiers are allowed.
        folder: where trials will run; the self-test runs in it.
        cuda: whether trials use a GPU, so that CUDA must start in the tier.
        own_user: whether what runs in it stays this user, as a program does that has a login of this user.

    Raises:
        HostTrouble: no strong tier holds, and the wish allows no weaker one.
    """
    if wish == "none":
        return "E", []
    findings: list[TierFinding] = []
    for tier in candidates(own_user=own_user):
        found = await try_tier(tier, folder, cuda=cuda, own_user=own_user)
        findings.append(found)
        if found.holds:
            return tier, findings
    if wish == "weak":
        return "D", findings
    why = "; ".join(f"tier {found.tier}: {found}" for found in findings) or "this is not Linux"
    raise HostTrouble(
        f"no sandbox holds on this machine ({why}); use --allow-weak-sandbox or --no-sandbox if you trust all proposals"
    )


def starts_cuda(machine: Machine) -> bool:
    """Tell whether slots of the machine have a GPU, and CUDA starts without a sandbox."""
    if all(slot.device == "cpu" for slot in machine.slots):
        return False
    command = [sys.executable, "-I", "-c", attacks.START_CUDA]
    try:
        return subprocess.run(command, capture_output=True, timeout=WITHIN_S).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def candidates(*, own_user: bool = False) -> list[Tier]:
    """Return the tiers that this user can try here, strongest first; tier B is that of other users."""
    if sys.platform != "linux":
        return []
    return ["A", "B", "C"] if os.geteuid() == 0 and not own_user else ["A", "C"]


async def try_tier(tier: Tier, folder: Path, *, cuda: bool = False, own_user: bool = False) -> TierFinding:
    """Attack a tier from inside and return what was found; arguments as of `choose_tier`."""
    try:
        sandbox = sandbox_of(tier, own_user=own_user)
        make_enterable(folder)
        with (
            enterable_folders(),
            tempfile.TemporaryDirectory(prefix="selftest-", dir=folder) as name,
            targets(Path(name)) as target,
        ):
            return await _attack(sandbox, Path(name), target, cuda=cuda)
    except (HostTrouble, OSError) as error:
        return TierFinding(tier, error=str(error))


async def _attack(sandbox: Sandbox, folder: Path, target: Mapping[str, Any], *, cuda: bool) -> TierFinding:
    folder.chmod(0o711)
    work, program = folder / "work", folder / "attacks.py"
    work.mkdir()
    program.write_bytes(Path(attacks.__file__).read_bytes())
    program.chmod(0o444)
    sandbox.give([work])
    policy = sandbox.policy([program], [work], cuda=cuda)
    aim = msgspec.json.encode({**target, "work": str(work), "cuda": cuda}).decode()
    async with start_supervisor(options=supervisor_options(sandbox)) as supervisor:
        env = inherited() | {"MESH_RUN_TOKEN": supervisor.token, "TMPDIR": str(work)}
        launch = Launch((sys.executable, "-I", str(program), aim), env, str(work), policy)
        ended = await supervisor.run(Request(launch, Limits(WITHIN_S, memory_mb=4096)))
    try:
        return TierFinding(sandbox.tier, msgspec.json.decode(ended.out, type=dict[str, str]))
    except msgspec.MsgspecError:
        last = (ended.err.strip().splitlines() or [ended.why or f"exit code {ended.rc}"])[-1]
        return TierFinding(sandbox.tier, error=f"the self-test did not run: {last}")


_LONGEST_FOLDER = 100
"""Bytes of a folder's path in which a socket can be: the path of a socket has at most 107."""


@contextmanager
def targets(folder: Path) -> Iterator[dict[str, Any]]:
    """Set up the targets of the attacks: files, sockets, and this process itself."""
    secret, evaluator = folder / "secret", folder / "evaluator.py"
    secret.write_text("a key")
    secret.chmod(0o600)
    evaluator.write_text("print(1)")
    evaluator.chmod(0o444)
    abstract, key = f"mesh-{secrets.token_hex(8)}", secrets.randbelow(2**31 - 1) + 1
    with (
        _for_socket(folder) as near,
        _segment(key),
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as by_path,
        socket.socket(socket.AF_UNIX) as by_name,
    ):
        path = near / "socket"
        by_path.bind(str(path))
        by_path.listen()
        path.chmod(0o777)
        by_name.bind("\0" + abstract)
        by_name.listen()
        yield {
            "pid": os.getpid(),
            "secret": str(secret),
            "evaluator": str(evaluator),
            "home": str(Path.home()),
            "tcp": tcp.getsockname()[1],
            "abstract": abstract,
            "segment": key,
            "socket": str(path),
        }


@contextmanager
def _for_socket(folder: Path) -> Iterator[Path]:
    """Give the folder, or one with a shorter path where a socket's path would be too long in it."""
    if len(os.fsencode(folder)) <= _LONGEST_FOLDER:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="mesh-") as short:
        os.chmod(short, 0o711)
        yield Path(short)


@contextmanager
def _segment(key: int) -> Iterator[None]:
    """Make a segment of System V memory for the length of a block; do without where the kernel has none."""
    libc = ctypes.CDLL(None, use_errno=True)
    made = libc.shmget(key, 4096, 0o1666) if sys.platform == "linux" else -1
    try:
        yield
    finally:
        if made >= 0:
            libc.shmctl(made, 0, None)


def closed_to_trials(tier: Tier, folder: Path) -> tuple[str, str] | None:
    """Return why tier B does not hold, and the cure, where other users cannot enter the folder of runs of root.

    Tier A covers closed folders.

    Args:
        tier: the tier that holds, here or in another folder.
        folder: where trials run.
    """
    closed = closed_folder(folder) if os.geteuid() == 0 and tier != "A" else None
    if closed is None:
        return None
    mode = stat.S_IMODE(closed.stat().st_mode)
    return (
        f"tier B runs trials as other users, which cannot enter {closed} (mode {mode:o})",
        f"run `chmod o+x {closed}`, or set MESH_HOME to a folder that others may enter",
    )


def check_wish(*, weak: bool, none: bool) -> Wish:
    """Return the wish that command-line flags stand for.

    Raises:
        BadInput: they contradict each other.
    """
    if weak and none:
        raise BadInput("--allow-weak-sandbox and --no-sandbox exclude each other")
    return "none" if none else "weak" if weak else "auto"

"""What can happen to a swarm: each trouble is done to the real processes and files of one home."""

import os
import random
import shutil
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.to_thread
import psutil

from tests.support.small_disk import SmallDisk

FULL_S = (1.0, 6.0)
STOPPED_S = (0.5, 5.0)
CACHES = ("code/**/*", "data/**/*", "boards/*", "mesh.duckdb*", "server/server.json", "server/nats.conf", "read/*")
"""Every file of a home that can be made again; the store of the server and the folders of runs cannot."""
DELETED = ("code", "code/tiny.git", "data", "boards", "read", "logs", "server/store.lock", "server/server.json")


class Scene:
    """The home of a swarm, the processes that use it, its disk, the clock of its guests, and the dice."""

    def __init__(self, home: Path, dice: random.Random, disk: SmallDisk | None, clock: Path) -> None:
        self.home, self.dice, self.disk, self.clock = home, dice, disk, clock
        self.happened: list[str] = []

    async def members(self) -> list[psutil.Process]:
        """Return what `processes` does; to look at all processes of a machine may take long."""
        return await anyio.to_thread.run_sync(self.processes)

    def processes(self) -> list[psutil.Process]:
        """Return every process that works for this home, by its arguments, its environment or its folder."""
        found = []
        for process in psutil.process_iter(["pid"]):
            with suppress(psutil.Error):
                if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE and self._is_ours(process):
                    found.append(process)
        return found

    def _is_ours(self, process: psutil.Process) -> bool:
        home = str(self.home)
        texts: list[str] = list(process.cmdline())
        with suppress(psutil.Error):
            texts += process.environ().values()
        return any(home in text for text in texts)


def damage(path: Path, dice: random.Random) -> str:
    """Damage one file, and say how."""
    data = path.read_bytes()
    at = dice.randrange(max(1, len(data)))
    how, changed = dice.choice(
        [
            ("truncated", data[:at]),
            ("zeroed", bytes(len(data))),
            (
                "a bit flipped",
                data[:at] + bytes([(data[at] if data else 0) ^ (1 << dice.randrange(8))]) + data[at + 1 :],
            ),
            ("emptied", b""),
            ("garbage", dice.randbytes(min(len(data), 100_000) + 10)),
        ]
    )
    with suppress(OSError):
        path.chmod(0o644)
    path.write_bytes(changed)
    return how


async def kill_one(scene: Scene) -> str:
    """Kill any one process."""
    found = await scene.members()
    victim = scene.dice.choice(found)
    name = _name(victim)
    with suppress(psutil.Error):
        victim.send_signal(signal.SIGKILL)
    return f"killed {name}"


async def kill_some(scene: Scene) -> str:
    """Kill several processes at a time."""
    found = await scene.members()
    victims = scene.dice.sample(found, min(len(found), scene.dice.randint(2, 5)))
    names = [_name(victim) for victim in victims]
    for victim in victims:
        with suppress(psutil.Error):
            victim.send_signal(signal.SIGKILL)
    return f"killed {', '.join(names)}"


async def kill_all(scene: Scene) -> str:
    """Kill every process, as a machine that is switched off does, but for what the disk remembers."""
    for victim in await scene.members():
        with suppress(psutil.Error):
            victim.send_signal(signal.SIGKILL)
    return "killed all"


async def stop_one(scene: Scene) -> str:
    """Stop a process for a while."""
    victim = scene.dice.choice(await scene.members())
    name, seconds = _name(victim), scene.dice.uniform(*STOPPED_S)
    with suppress(psutil.Error):
        victim.send_signal(signal.SIGSTOP)
    await anyio.sleep(seconds)
    with suppress(psutil.Error):
        victim.send_signal(signal.SIGCONT)
    return f"stopped {name} for {seconds:.1f} s"


async def damage_some(scene: Scene) -> str:
    """Damage up to three files of caches."""
    files = [path for kind in CACHES for path in scene.home.glob(kind) if path.is_file() and not path.is_symlink()]
    done = []
    for path in scene.dice.sample(files, min(len(files), scene.dice.randint(1, 3))):
        with suppress(OSError):
            done.append(f"{path.relative_to(scene.home)} {damage(path, scene.dice)}")
    return "; ".join(done) or "no cache to damage"


async def delete_some(scene: Scene) -> str:
    """Delete a cache, or a file that tells where the server is."""
    name = scene.dice.choice(DELETED)
    path = scene.home / name
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    return f"deleted {name}"


async def put_nonsense(scene: Scene) -> str:
    """Put something else in the place of a cache."""
    name = scene.dice.choice(
        ["boards/tiny.msgpack", "code/tiny.git/HEAD", "code/tiny.git/index.lock", "server/x.ports"]
    )
    path = scene.home / name
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(scene.dice.randbytes(500))
    return f"wrote nonsense to {name}"


async def fill_disk(scene: Scene) -> str:
    """Take all the space of the disk for a while."""
    if scene.disk is None:
        return "no disk to fill"
    seconds = scene.dice.uniform(*FULL_S)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await anyio.to_thread.run_sync(scene.disk.fill)
        await anyio.sleep(0.2)
    scene.disk.free()
    return f"disk full for {seconds:.1f} s"


async def jump_clock(scene: Scene) -> str:
    """Set the clock of the guests forward or back, or right."""
    wrong_s = scene.dice.choice([-30 * 86_400, -3600, -2, 0, 2, 3600, 30 * 86_400])
    scene.clock.write_text(str(wrong_s), encoding="utf-8")
    return f"set the clock of the guests {wrong_s:+,} s wrong"


TROUBLES: dict[Callable[[Scene], Awaitable[str]], int] = {
    kill_one: 5,
    kill_some: 2,
    kill_all: 1,
    stop_one: 3,
    damage_some: 5,
    delete_some: 2,
    put_nonsense: 1,
    fill_disk: 2,
    jump_clock: 3,
}
"""Every trouble, and how often it comes."""


def _name(process: psutil.Process) -> str:
    try:
        words = process.cmdline()
    except psutil.Error:
        return "a process"
    known = ("nats-server", "gpu_worker.supervisor", "gpu_worker", "analytics", "curator", "critic", "explorer", "up")
    return next((name for name in known if any(name in word for word in words)), Path(words[0]).name if words else "?")

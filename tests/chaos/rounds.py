"""One round: a swarm lives through random trouble, comes to rest, and is looked at."""

import datetime as dt
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.abc
import msgspec

from analytics.projector import replay
from mesh import settings
from mesh.errors import MeshError
from mesh.events import NotePosted
from mesh.follow import Follower
from mesh.jetstream import connect
from mesh.server import embedded, find_url
from mesh.sql_protocol import Query, ask
from mesh.wire import Post
from tests.chaos.invariants import broken, posts_at_wrong_times, read_log, rows
from tests.chaos.troubles import TROUBLES, Scene
from tests.support.arenas import ARENA, SCORE, TRAIN, write_arena
from tests.support.small_disk import SmallDisk
from tests.support.swarm import Swarm, swarm_of

START_WITHIN_S = 120
END_WITHIN_S = 120
REST_WITHIN_S = 180
PREPARE = """
import os, pathlib
for part in ("public", "private"):
    (pathlib.Path(os.environ["MESH_OUT"]) / part).mkdir(parents=True, exist_ok=True)
    (pathlib.Path(os.environ["MESH_OUT"]) / part / "data.bin").write_bytes(part.encode() * 1000)
"""
CHECK = """
import os, pathlib
assert (pathlib.Path(os.environ["MESH_{name}"]) / "data.bin").read_bytes() == b"{part}" * 1000, "wrong data"
"""


class Report(msgspec.Struct):
    """What a round was and what it showed; `odd_times` are posts of members whose clock was wrong."""

    number: int
    seconds: float = 0.0
    troubles: int = 0
    entries: int = 0
    notes: int = 0
    runs: int = 0
    odd_times: int = 0
    wrong: list[str] = []
    happened: list[str] = []


class _Round:
    def __init__(self, number: int, folder: Path, dice: random.Random, disk: SmallDisk | None) -> None:
        self.report = Report(number, wrong=[], happened=[])
        self.folder, self.home = folder, (disk.folder if disk else folder) / "home"
        self.scene = Scene(self.home, dice, disk, folder / "clock")
        self.acknowledged: dict[str, int] = {}
        self.environ = {**os.environ, "MESH_HOME": str(self.home), "MESH_PARENT": "stdin"}
        self.environ.pop("MESH_NATS", None)

    async def live(self, seconds: float) -> None:
        """Run the swarm for some seconds of trouble, then end it."""
        arena = self.folder / "arena"
        write_arena(
            arena,
            arena=ARENA.replace("[trial]", 'prepare = ["python", "prepare.py"]\n[trial]'),
            train=CHECK.format(name="DATA", part="public") + TRAIN,
            score=CHECK.format(name="PRIVATE", part="private") + SCORE,
        )
        (arena / "prepare.py").write_text(PREPARE, encoding="utf-8")
        here = ["--arena", "tiny", "--home", str(self.home)]
        up = [sys.executable, "-m", "mesh_cli", "up", str(arena), "--slots", "2", "--explorers", "2"]
        clock = [sys.executable, "-m", "tests.chaos.jumping_clock", str(self.scene.clock)]
        guests = {
            "second": [*clock, "gpu_worker", "--name", "second", "--slots", "1", "--device", "cpu", *here],
            "guest": [*clock, "mesh.agent", "explorer", "--name", "guest", *here],
        }
        with anyio.CancelScope() as living:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._keep, "up", up)
                with anyio.fail_after(START_WITHIN_S):
                    while await self._head() < 8:
                        await anyio.sleep(0.2)
                for name, command in guests.items():
                    tasks.start_soon(self._keep, name, command)
                tasks.start_soon(self._post_notes)
                end = time.monotonic() + seconds
                while time.monotonic() < end or not (self.report.troubles and self.acknowledged):
                    await self._trouble()
                await anyio.sleep(1)
                living.cancel()

    async def _trouble(self) -> None:
        dice = self.scene.dice
        await anyio.sleep(dice.expovariate(1 / 1.5))
        if not await self.scene.members():
            return
        [trouble] = dice.choices(list(TROUBLES), list(TROUBLES.values()))
        self.report.happened.append(f"{dt.datetime.now(dt.UTC):%H:%M:%S} {await trouble(self.scene)}")
        self.report.troubles += 1

    async def _head(self) -> int:
        with suppress(MeshError):
            async with connect(find_url(None, self.home), patience_s=2) as hub:
                return (await hub.state("tiny")).seq
        return 0

    async def _keep(self, name: str, command: Sequence[str]) -> None:
        """Run a process, and start it again when it dies; end it with at most two signals, and see that it ends."""
        while True:
            with (self.folder / f"{name}.log").open("ab") as log:
                process = await anyio.open_process(
                    command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=self.environ, start_new_session=True
                )
            try:
                self.report.happened.append(f"{name} ended with exit code {await process.wait()}")
            finally:
                with anyio.CancelScope(shield=True):
                    await self._end(name, process)
            await anyio.sleep(1)

    async def _end(self, name: str, process: anyio.abc.Process) -> None:
        if process.returncode is None:
            for within_s in (END_WITHIN_S / 2, END_WITHIN_S / 2):  # a worker without a server waits for the second
                if process.returncode is None:
                    process.send_signal(signal.SIGTERM)
                with anyio.move_on_after(within_s):
                    await process.wait()
        if process.returncode is None:
            self.report.wrong.append(f"{name} did not end within {END_WITHIN_S} s of the first SIGTERM")
            process.kill()
        await process.aclose()

    async def _post_notes(self) -> None:
        """Post notes as fast as they are confirmed, some with far-off times, and some nonsense."""
        while True:
            with suppress(MeshError):
                async with connect(find_url(None, self.home), name="poster", patience_s=5) as hub:
                    bus = await hub.arena("tiny")
                    while True:
                        post = Post.new("poster", NotePosted(channel="general", text="x" * 100))
                        if self.scene.dice.random() < 0.2:
                            year = self.scene.dice.choice([1900, 1970, 2038, 2999])
                            post = msgspec.structs.replace(post, at=dt.datetime(year, 1, 1, tzinfo=dt.UTC))
                        self.acknowledged[post.id] = await bus.post(post)
                        if self.scene.dice.random() < 0.1:
                            subject = f"mesh.tiny.note.posted.{post.id}x.stranger"
                            await hub.link.nc.publish(subject, self.scene.dice.randbytes(40))
                        await anyio.sleep(0.05)
            await anyio.sleep(0.2)

    async def rest(self) -> None:
        """Let a worker finish what was asked for, then look at the log, the projection and the processes."""
        report = self.report
        async with self._rested() as (url, swarm):
            log = await read_log(url, "tiny")
            report.wrong += broken(log, self.acknowledged)
            report.entries, report.notes = len(log), len(self.acknowledged)
            async with connect(url) as hub:
                bus = await hub.arena("tiny")
                with anyio.fail_after(REST_WITHIN_S):
                    while await self._folded(bus) < len(log):
                        await anyio.sleep(0.2)
                await swarm.end("projector")
                again = self.folder / "again.duckdb"
                await replay(bus, again, until=len(log))
        lived, folded = rows(settings.database(self.home)), rows(again)
        report.wrong += [f"{name} is not the same after a replay" for name in folded if folded[name] != lived[name]]
        report.runs, report.odd_times = len(folded["runs"]), posts_at_wrong_times(again)

    async def _folded(self, bus: object) -> int:
        with suppress(MeshError):
            return (await ask(bus, Query(sql="SELECT 1"))).as_of.get("tiny", 0)  # type: ignore[arg-type]
        return 0

    @asynccontextmanager
    async def _rested(self) -> AsyncIterator[tuple[str, Swarm]]:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(embedded(settings.server_dir(self.home)))
            hub = await stack.enter_async_context(connect(server.url, outage_s=60))
            swarm = await stack.enter_async_context(swarm_of(self.home, server.url))
            bus = await hub.arena("tiny")
            follower = Follower(bus)
            await follower.catch_up()
            # Whoever measured a score does not audit it: one that has measured nothing may do every run that is left.
            swarm.commands["worker"] = ["last" if word == "worker" else word for word in swarm.commands["worker"]]
            await swarm.start("worker", "projector")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(follower.follow)
                with anyio.fail_after(REST_WITHIN_S):
                    await follower.until(lambda board: not board.unfinished)
                await swarm.end("worker")
                tasks.cancel_scope.cancel()
            yield server.url, swarm

    def look_at_processes(self) -> None:
        """Nobody is left, and nobody was surprised."""
        end = time.monotonic() + 60
        while (left := self.scene.processes()) and time.monotonic() < end:
            time.sleep(0.1)
        for process in left:
            with suppress(Exception):
                self.report.wrong.append(f"process {process.pid} is left: {' '.join(process.cmdline())[:200]}")
                process.kill()
        for path in [*self.folder.glob("*.log"), *self.home.glob("logs/*.log"), self.home.parent / "swarm.log"]:
            text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
            for words in ("Traceback (most recent", "Task was destroyed", "never retrieved", "was never awaited"):
                if words in text:
                    self.report.wrong.append(f"{path} has {text.count(words)} times {words!r}")


async def run_round(
    number: int, folder: Path, dice: random.Random, disk: SmallDisk | None, *, seconds: float
) -> Report:
    """Run one round in an empty folder, and report; `disk` is where the home lies, if it can be filled."""
    began = time.monotonic()
    this = _Round(number, folder, dice, disk)
    try:
        await this.live(seconds)
        await this.rest()
    except BaseException as error:
        this.report.wrong.append(f"{type(error).__name__}: {error}")
        if not isinstance(error, Exception):
            raise
    this.look_at_processes()
    this.report.seconds = time.monotonic() - began
    (folder / "happened.txt").write_text("\n".join([*this.report.happened, "", *this.report.wrong]), encoding="utf-8")
    return this.report

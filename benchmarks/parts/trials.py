"""A real worker process on a real server, with runs to execute: for benchmarks of trials.

Every run is of another proposal, so that its code must be fetched; proposals are shared before anything is timed. Times
are the server's, of the entries in the log.
"""

import datetime as dt
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import psutil

from benchmarks.parts.arena_text import arena_text
from benchmarks.parts.harness import say
from mesh import events as e
from mesh import settings
from mesh.bus import ArenaBus
from mesh.code import CodeStore
from mesh.foreign_folder import describe
from mesh.jetstream import connect
from mesh.open_arena import open_arena
from mesh.server import embedded
from mesh.wire import Post

ARENA = arena_text("bench", budget_s=10, deadline_s=60, trial='preload = ["torch"]')
SCORE = """
import os, pathlib
print(pathlib.Path(os.environ["MESH_OUT"], "score.json").read_text())
"""
AUTHOR = "bench"
WITHIN_S = 900


class Run(msgspec.Struct):
    """A requested run, and how it ended."""

    requested: dt.datetime
    ended: dt.datetime | None = None
    finish: e.RunFinished | None = None

    @property
    def seconds(self) -> float:
        """Time from the request to the finish."""
        assert self.ended
        return (self.ended - self.requested).total_seconds()

    @property
    def metrics(self) -> Mapping[str, float]:
        """The numbers that its scorer printed."""
        outcome = self.finish.outcome if self.finish else None
        if not isinstance(outcome, e.Scored):
            raise RuntimeError(f"a trial of the benchmark has no score: {outcome}")
        return outcome.metrics


class Trials:
    """An arena with one worker; `ask` requests runs of the proposals that `prepare` made."""

    def __init__(self, bus: ArenaBus, opened: e.ArenaOpened, code: CodeStore, files: Mapping[str, str]) -> None:
        self._bus, self._opened, self._code, self._files = bus, opened, code, files
        self._proposals: list[e.ProposalPosted] = []
        self._runs: dict[str, Run] = {}
        self._changed = anyio.Event()
        self.joined: e.WorkerJoined | None = None
        self.finished = 0
        self.name, self.url, self.home = bus.arena, "", Path()
        self.pids: dict[str, int] = {}
        """Processes of the system, by what they are."""

    async def open(self) -> None:
        """Fetch the baseline, which proposals change."""
        await self._code.pull(self._opened.base_commit)

    async def prepare(self, count: int) -> None:
        """Make and share `count` proposals."""
        for _ in range(count):
            files = {name: text.encode() for name, text in self._files.items() if name != "arena.toml"}
            for name in self._opened.spec.artifact.editable:
                files[name] += f"\n# {uuid.uuid4().hex}\n".encode()
            parents, base = [self._opened.base_commit], self._opened.base_commit
            made = self._code.commit(files, parents=parents, message="t", author=AUTHOR, at=dt.datetime.now(dt.UTC))
            await self._code.push(made.commit, base=base)
            how = e.Origin(how="human")
            proposal = e.ProposalPosted(tree=made.tree, commit=made.commit, title="t", origin=how)
            await self._bus.post(Post.new(AUTHOR, proposal))
            self._proposals.append(proposal)

    async def ask(self, count: int) -> list[Run]:
        """Request `count` runs at once; return them when all are finished."""
        trial = self._opened.spec.trial
        names = [uuid.uuid4().hex for _ in range(count)]
        requests = [
            e.RunRequested(
                run=name,
                lane="explore",
                proposal=proposal.tree,
                commit=proposal.commit,
                seed=1,
                budget_s=trial.budget_s,
                deadline_s=trial.deadline_s,
            )
            for name, proposal in zip(names, (self._proposals.pop() for _ in names), strict=True)
        ]
        await self._bus.post_all(Post.new(AUTHOR, request) for request in requests)
        while not all(name in self._runs and self._runs[name].finish for name in names):
            await self._changed.wait()
        return [self._runs[name] for name in names]

    async def one_by_one(self, count: int) -> list[Run]:
        """Request one run after the other, each when the one before is finished."""
        return [run for _ in range(count) for run in await self.ask(1)]

    async def until_finished(self, count: int) -> None:
        """Wait until so many runs are finished, whoever requested them."""
        while self.finished < count:
            await self._changed.wait()

    async def follow(self) -> None:
        """Follow the log until cancelled."""
        async with aclosing(self._bus.read(follow=True)) as batches:
            async for batch in batches:
                for entry in batch:
                    match entry.post.event if entry.post else None:
                        case e.RunRequested(run=run):
                            self._runs[run] = Run(entry.time)
                        case e.RunFinished(run=run) as finish:
                            self._runs[run].ended, self._runs[run].finish = entry.time, finish
                            self.finished += 1
                        case e.WorkerJoined() as joined:
                            self.joined = joined
                        case e.NotePosted(channel="ops", text=text):
                            say(text)
                self._changed.set()
                self._changed = anyio.Event()

    async def until_joined(self) -> e.WorkerJoined:
        """Wait for the worker."""
        while self.joined is None:
            await self._changed.wait()
        return self.joined


def per_second(runs: Sequence[Run]) -> float:
    """Return the rate (1/s) of runs that were requested at once."""
    ends = [run.ended for run in runs if run.ended]
    return len(runs) / (max(ends) - min(run.requested for run in runs)).total_seconds()


@asynccontextmanager
async def trials(
    slots: int, *, train: str = "", options: Sequence[str] = (), task: Mapping[str, str] | None = None
) -> AsyncIterator[Trials]:
    """Run `python -m gpu_worker` on an arena whose trial is `train`, in the sandbox that it chooses, warmed up.

    `task` are the files of another task in its place.
    """
    files = task or {"arena.toml": ARENA, "train.py": train, "score.py": SCORE}
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "arena").mkdir()
        for file, text in files.items():
            (folder / "arena" / file).write_text(text)
        if task:
            say(describe(folder / "arena"))
        async with embedded(settings.server_dir(folder)) as server, connect(server.url, patience_s=60) as hub:
            bus, opened = await open_arena(hub, folder / "arena", home=folder)
            found = Trials(bus, opened, CodeStore(settings.code_dir(folder / "author", bus.arena), bus), files)
            found.url, found.home = server.url, folder
            found.pids["server"] = next(p.pid for p in psutil.Process().children() if "nats" in p.name())
            await found.open()
            command = [
                sys.executable,
                "-m",
                "gpu_worker",
                "--arena",
                bus.arena,
                "--device",
                "cpu",
                "--nats",
                server.url,
            ]
            command += ["--home", str(folder / "home"), "--slots", str(slots), *options]
            with anyio.fail_after(WITHIN_S):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(found.follow)
                    async with await anyio.open_process(command, stdout=None, stderr=None) as worker:
                        found.pids["worker"] = worker.pid
                        try:
                            joined = await found.until_joined()
                            say(f"{slots} slots of {joined.worker_class}, sandbox of tier {joined.tier}")
                            await found.prepare(4 * slots)
                            await found.ask(4 * slots)  # to warm up
                            yield found
                        finally:
                            worker.terminate()
                            with anyio.CancelScope(shield=True), anyio.move_on_after(10):
                                await worker.wait()
                    tasks.cancel_scope.cancel()

"""A worker takes runs, reports how they ended, and hands back those that it cannot execute."""

import datetime as dt
import re
import textwrap
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.abc
import msgspec
import pytest

from gpu_worker.sandbox_choice import Wish
from gpu_worker.worker import run_worker
from mesh import frozen_data, settings
from mesh.arena import evaluator_hash
from mesh.bus import ArenaBus
from mesh.code import CodeStore
from mesh.events import (
    ArenaOpened,
    Event,
    Failed,
    Origin,
    ProposalPosted,
    RunFinished,
    RunRequested,
    Scored,
    WorkerJoined,
    WorkerLeft,
)
from mesh.machine_price import MachinePrice
from mesh.memory import MemoryHub
from mesh.spec import ArenaSpec, ArtifactSpec, ObjectiveSpec, ScoreSpec, TrialSpec
from mesh.wire import Post
from tests.support.daemons import ESCAPING, alive

E = TypeVar("E", bound=Event)
SCORE = """
import json, os, pathlib
print("scoring")
print((pathlib.Path(os.environ["MESH_OUT"]) / "score.json").read_text())
"""
WRITE = "import json, os, pathlib, sys, time\nout = pathlib.Path(os.environ['MESH_OUT'])\n"
SPEC = ArenaSpec(
    name="a",
    objective=ObjectiveSpec(metric="loss", direction="minimize", bounds=(0, 100)),
    artifact=ArtifactSpec(editable=("train.py",)),
    trial=TrialSpec(command=("python", "train.py"), budget_s=1, deadline_s=50, memory_gb=0.25),
    score=ScoreSpec(how="command", command=("python", "score.py"), deadline_s=20),
)


class Arena:
    """A tiny arena on a bus in memory, and what a test asks of it."""

    def __init__(self, bus: ArenaBus, folder: Path) -> None:
        self.bus, self.home = bus, folder / "home"
        self.code = CodeStore(folder / "author.git", bus)
        self.base = self.base_tree = ""

    async def open(
        self,
        spec: ArenaSpec = SPEC,
        *,
        score: str = SCORE,
        frozen: str = "",
        evaluator: str = "",
        train: str = "",
        files: Mapping[str, str] | None = None,
    ) -> None:
        texts = files or {"train.py": train, "score.py": textwrap.dedent(score)}
        contents = {name: text.encode() for name, text in texts.items()}
        commit = self.code.commit(contents, message="base", author="ann", at=dt.datetime.now(dt.UTC))
        await self.code.push(commit.commit)
        self.base, self.base_tree = commit.commit, commit.tree
        opened = ArenaOpened(
            version=1,
            spec=spec,
            base_commit=commit.commit,
            base_tree=commit.tree,
            evaluator=evaluator or evaluator_hash(spec, contents),
            data=frozen,
        )
        await self.post(opened)

    async def post(self, event: Event) -> int:
        return await self.bus.post(Post.new("ann", event))  # type: ignore[arg-type]

    async def request(self, train: str, run: str = "r1", *, deadline_s: float = 50, **fields: str) -> None:
        files = {"train.py": (WRITE + textwrap.dedent(train)).encode(), "score.py": b"print('{\"loss\": 0}')"}
        at = dt.datetime.now(dt.UTC)
        made = self.code.commit(files, parents=[self.base], message=run, author="ann", at=at)
        await self.code.push(made.commit, base=self.base)
        if not any(e.key("") == made.tree for e in await self.all(ProposalPosted)):
            origin = Origin(how="human")
            await self.post(ProposalPosted(tree=made.tree, commit=made.commit, title=run, origin=origin))
        asked = RunRequested(
            run=run, lane="explore", proposal=made.tree, commit=made.commit, seed=7, budget_s=1, deadline_s=deadline_s
        )
        await self.post(msgspec.structs.replace(asked, **fields))

    async def all(self, kind: type[E]) -> list[E]:
        async with aclosing(self.bus.read()) as batches:
            return [e.post.event async for b in batches for e in b if e.post and isinstance(e.post.event, kind)]

    @asynccontextmanager
    async def worker(
        self, slots: int = 1, sandbox: Wish = "auto", price_per_hour_usd: float | None = None
    ) -> AsyncIterator[anyio.abc.TaskGroup]:
        """A worker that is told to stop when the block ends."""
        ready = anyio.Event()
        with anyio.fail_after(300):
            async with anyio.create_task_group() as tasks:

                async def work() -> None:
                    await run_worker(
                        self.bus,
                        name="w",
                        slots=slots,
                        device="cpu",
                        home=self.home,
                        sandbox=sandbox,
                        price=MachinePrice(price_per_hour_usd),
                        on_ready=ready.set,
                    )

                tasks.start_soon(work)
                await ready.wait()
                yield tasks
                tasks.cancel_scope.cancel()

    async def finished(self, run: str = "r1") -> RunFinished:
        while True:
            for event in await self.all(RunFinished):
                if event.run == run:
                    return event
            await anyio.sleep(0.02)

    async def run(self, train: str, *, deadline_s: float = 50, sandbox: Wish = "auto") -> RunFinished:
        await self.request(train, deadline_s=deadline_s)
        async with self.worker(sandbox=sandbox):
            return await self.finished()


@pytest.fixture
async def arena(tmp_path: Path) -> Arena:
    return Arena(await MemoryHub().arena("a", create=True), tmp_path)


GOOD = "(out / 'score.json').write_text(json.dumps({'loss': 1.5, 'accuracy': 0.5}))\n"


async def test_a_trial_is_scored_and_its_finish_carries_all_measurements(arena: Arena) -> None:
    await arena.open()
    report = """
    report = open(os.environ["MESH_REPORT"], "a", buffering=1)
    for step in range(200):
        report.write(json.dumps({"step": step, "value": 1 / (step + 1)}) + "\\n")
    report.write("garbage\\n")
    print("seed", os.environ["MESH_SEED"], os.environ["MESH_BUDGET_S"], os.environ["MESH_DEVICE"])
    """
    done = await arena.run(GOOD + textwrap.dedent(report))
    assert done.outcome == Scored(value=1.5, metrics={"loss": 1.5, "accuracy": 0.5})
    assert len(done.curve) <= 64
    assert done.curve[-1].step == 199
    assert re.fullmatch(r"seed \d+ 1 cpu", done.log_tail)
    [joined], [left] = await arena.all(WorkerJoined), await arena.all(WorkerLeft)
    assert (done.attempt, done.tier, done.environment) == (1, joined.tier, joined.environment)
    assert 0 < done.trial_s < 50
    assert 0 < done.score_s < 50
    assert done.peak_memory_mb > 1
    assert (joined.slots, joined.tier in "ABC", joined.boot) == (1, True, left.boot)
    assert joined.worker_class == done.worker_class
    assert not list(settings.runs_dir(arena.home).iterdir())


@pytest.mark.parametrize(
    ("train", "reason", "words"),
    [
        ("time.sleep(60)", "timeout", "exceeded its 1 s deadline"),
        ("b = bytearray(600_000_000); time.sleep(60)", "out_of_memory", "used more than its 0.25 GB of memory"),
        ("raise MemoryError('no room')", "out_of_memory", "no room"),
        ("raise ValueError('bad shape')", "crash", "exit code 1: ValueError: bad shape"),
        ("os.kill(os.getpid(), 11)", "crash", "SIGSEGV"),
        ("pass", "no_score", "FileNotFoundError"),
        ("(out / 'score.json').write_text('well')", "no_score", "must be a JSON object of numbers; it printed well"),
        ("(out / 'score.json').write_text('{\"x\": 1}')", "no_score", "did not give the metric 'loss'; it gave x"),
        ("(out / 'score.json').write_text('{\"loss\": NaN}')", "bad_score", "not finite"),
        ("(out / 'score.json').write_text('{\"loss\": 101}')", "bad_score", "outside [0, 100]"),
    ],
)
async def test_every_failure_is_one_sentence(arena: Arena, train: str, reason: str, words: str) -> None:
    await arena.open()
    done = await arena.run(train, deadline_s=1 if reason == "timeout" else 50)
    assert isinstance(done.outcome, Failed)
    assert (done.outcome.reason, words in done.outcome.message) == (reason, True), done.outcome


async def test_a_score_that_the_trial_prints_is_marked_as_self_reported(arena: Arena) -> None:
    await arena.open(msgspec.structs.replace(SPEC, score=ScoreSpec(how="stdout", pattern=r"^loss: (\S+)$")))
    done = await arena.run("print('loss: 9'); print('loss: 2.5')")
    assert done.outcome == Scored(value=2.5, metrics={"loss": 2.5}, self_reported=True)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("while True: pass", "scoring used more than its 0.2 s of CPU time"),
        ("import time; time.sleep(60)", "its deadline of 0.2 s of CPU time allows 6 s of wall time"),
    ],
)
async def test_scoring_that_takes_too_long_gives_no_score(arena: Arena, code: str, sentence: str) -> None:
    score = ScoreSpec(how="command", command=("python", "score.py"), deadline_s=0.2)
    await arena.open(msgspec.structs.replace(SPEC, score=score), score=code)
    done = await arena.run("pass")
    assert isinstance(done.outcome, Failed)
    assert (done.outcome.reason, sentence in done.outcome.message) == ("no_score", True)


async def test_a_tree_that_escapes_leaves_no_survivor(arena: Arena) -> None:
    tag = uuid.uuid4().hex
    await arena.open()
    body = f"import subprocess\nsubprocess.run([sys.executable, '-c', {ESCAPING!r}, {tag!r}])\n"
    done = await arena.run(GOOD + body)
    assert isinstance(done.outcome, Scored)
    assert alive(tag) == []


@pytest.mark.parametrize(
    ("folder", "ends"), [("../score", "1.5"), (".", "the trial changed score.py, which is protected")]
)
async def test_a_trial_cannot_change_how_it_is_scored(arena: Arena, folder: str, ends: str) -> None:
    await arena.open()
    cheat = f"""
    os.makedirs({folder!r}, exist_ok=True)
    pathlib.Path({folder!r}, "score.py").unlink(missing_ok=True)
    pathlib.Path({folder!r}, "score.py").write_text("print('{{\\"loss\\": 0}}')")
    """
    done = await arena.run(GOOD + textwrap.dedent(cheat), sandbox="none")
    told = done.outcome.message.partition(":")[0] if isinstance(done.outcome, Failed) else str(done.outcome.value)
    assert told == ends


async def test_modules_that_a_trial_plants_are_not_what_the_scorer_imports(arena: Arena) -> None:
    await arena.open()
    finish = await arena.run(
        """
        (out / "score.json").write_text(json.dumps({"loss": 5.0}))
        lie = 'print({"loss": 0}); import os; os._exit(0)'
        for folder in {".", os.environ["MESH_OUT"], os.environ["TMPDIR"], os.environ["HOME"]}:
            for name in ("sitecustomize.py", "usercustomize.py", "json.py", "pathlib.py"):
                pathlib.Path(folder, name).write_text(lie)
            pathlib.Path(folder, "twin").hardlink_to(pathlib.Path(folder, "json.py"))
        """
    )
    assert finish.outcome == Scored(value=5.0, metrics={"loss": 5.0})


async def test_a_trial_that_puts_links_and_pipes_in_place_of_its_folders_harms_nobody(
    arena: Arena, tmp_path: Path
) -> None:
    await arena.open()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    mean = f"""
    import shutil
    shutil.rmtree(out)
    out.symlink_to({str(precious)!r})
    os.unlink(os.environ["MESH_REPORT"])
    os.mkfifo(os.environ["MESH_REPORT"])
    os.makedirs("locked/inner")
    os.chmod("locked", 0)
    time.sleep(0.7)
    """
    done = await arena.run(mean, sandbox="none")
    assert isinstance(done.outcome, Failed)
    assert done.outcome.reason == "no_score"
    assert (precious / "file").read_text() == "kept"
    assert precious.stat().st_mode & 0o777 == 0o755
    assert (precious / "file").stat().st_mode & 0o200
    assert not list(settings.runs_dir(arena.home).iterdir())


async def test_a_trial_whose_user_has_no_entry_in_a_table_has_a_name_all_the_same(arena: Arena) -> None:
    await arena.open()
    train = """
    import getpass
    print(getpass.getuser())
    """
    done = await arena.run(train + GOOD)
    assert done.log_tail == "mesh"


async def test_a_trial_sees_only_what_it_is_given(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    for part in ("public", "private"):
        (tmp_path / "data" / part).mkdir(parents=True)
        (tmp_path / "data" / part / "x").write_text(part)
    score = """
    import json, os, pathlib
    answer = pathlib.Path(os.environ["MESH_PRIVATE"], "x").read_text()
    print(json.dumps({"loss": len(answer)}))
    """
    await arena.open(score=score, frozen=await frozen_data.freeze(tmp_path / "data", arena.bus))
    train = """
    print(pathlib.Path(os.environ["MESH_DATA"], "x").read_text())
    print(*sorted(os.environ))
    print(open(f"/proc/{os.getppid()}/environ").read().count("secret"))
    """
    done = await arena.run(train, sandbox="none")
    assert done.outcome == Scored(value=7, metrics={"loss": 7})
    public, names, secrets = done.log_tail.splitlines()
    assert (public, secrets) == ("public", "0")
    assert {n for n in names.split() if n.startswith("MESH_")} == {
        f"MESH_{n}" for n in ("SEED", "BUDGET_S", "DEVICE", "THREADS", "DATA", "OUT", "REPORT", "RUN_TOKEN")
    }
    assert "OPENAI_API_KEY" not in names


async def test_a_run_is_left_to_another_worker_than_the_one_it_should_avoid(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpu_worker.triage.MAX_DECLINES", 1000)  # the other one may take long to begin
    await arena.open()
    write = '(out / "score.json").write_text(json.dumps({"loss": 5.0}))'
    async with arena.worker(), arena.worker(slots=3):
        with anyio.fail_after(200):
            while len(joined := await arena.all(WorkerJoined)) < 2:
                await anyio.sleep(0.01)
            for number in range(3):
                await arena.request(write + f"  # {number}", run=f"r{number}", avoid=joined[0].boot)
            ends = [await arena.finished(f"r{number}") for number in range(3)]
    assert {end.worker for end in ends} == {joined[1].boot}


async def test_a_worker_that_is_alone_executes_also_runs_that_it_should_avoid(arena: Arena) -> None:
    await arena.open()
    async with arena.worker():
        with anyio.fail_after(200):
            while not (joined := await arena.all(WorkerJoined)):
                await anyio.sleep(0.01)
            await arena.request('(out / "score.json").write_text(json.dumps({"loss": 5.0}))', avoid=joined[0].boot)
            assert (await arena.finished()).worker == joined[0].boot

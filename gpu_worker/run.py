"""One run from its files to its outcome: the trial, its curve, then the scorer."""

import os
import shutil
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated

import anyio
import anyio.to_thread
import msgspec

from gpu_worker.gpu_gauge import Gauge, Reading, Watch, open_gauge
from gpu_worker.launch import (
    Launch,
    environment,
    evaluation_launch,
    lay_out,
    predict_launch,
    runner,
    score_launch,
    trial_launch,
)
from gpu_worker.machine import Slot
from gpu_worker.outcome import command_outcome, evaluator_outcome, stdout_outcome, trial_failure
from gpu_worker.sandbox.tiers import PROCESSES, Network, Sandbox
from gpu_worker.supervisor.client import Supervisor
from gpu_worker.supervisor.protocol import Ending
from mesh import arena
from mesh.errors import HostTrouble
from mesh.events import ArenaOpened, CurvePoint, Failed, RunRequested, Scored
from mesh.spec import ArenaSpec

CURVE_POINTS = 64
LOG_TAIL = 4000
READ_REPORT_EVERY_S = (0.05, 0.3)
"""Between these bounds the curve of a trial is read, fifty times in its budget."""
MAX_REPORT_LINE = 400
TOLD_AT_ONCE = 16
MAX_REPORT_READ = 256 * 1024
OF_TRIAL = ("trial", "out", "tmp", "report.jsonl")
"""What a trial may write, by its names in the run's folder."""


class Result(msgspec.Struct, frozen=True):
    """What came of a run, before it is a fact; hashes are of what was really laid out."""

    outcome: Scored | Failed
    code: str
    data: str
    evaluator: str
    trial: Ending
    score_s: float
    curve: tuple[CurvePoint, ...]
    log_tail: str
    gpu: Reading = Reading()


class Job(msgspec.Struct, frozen=True):
    """Everything that a run needs: the request, the arena, and the files of base and proposal."""

    request: RunRequested
    opened: ArenaOpened
    base: dict[str, bytes]
    proposal: dict[str, bytes]
    data: Path


async def execute(
    job: Job,
    slot: Slot,
    keeper: Supervisor,
    sandbox: Sandbox,
    run: Path,
    *,
    begun: anyio.Event,
    tell: Callable[[bytes], Awaitable[None]],
    killed: Callable[[], bool],
    gauge: Callable[[str], Gauge | None] = open_gauge,
) -> Result:
    """Run a trial, then score it, in folders of their own under `run`, which the caller deletes.

    The trial starts when it is laid out and `begun` is set.

    Raises:
        HostTrouble: this machine cannot do it; says nothing about the proposal.
    """
    spec, request = job.opened.spec, job.request
    editable = spec.artifact.editable
    files = arena.overlay(spec, job.base, job.proposal)
    await _laid_out(_prepare_trial, run, files | runner(spec), editable, sandbox)
    env = environment(slot, run, token=keeper.token, seed=request.seed, data=job.data)
    memory_mb = spec.trial.memory_gb * 1024
    report = _Report(run / "report.jsonl", tell, request.budget_s)
    deadline_s = request.deadline_s if spec.trial.command else spec.score.deadline_s
    launch = (trial_launch if spec.trial.command else evaluation_launch)(spec, request, run, env)
    launch = _hold_trial(launch, sandbox, spec, slot, run, job.data)
    await begun.wait()
    async with _watched(gauge, slot, keeper) as watch, anyio.create_task_group() as tasks:
        tasks.start_soon(report.watch)
        ended = await keeper.run(
            launch,
            deadline_s=deadline_s,
            memory_mb=memory_mb,
            disk_mb=spec.trial.disk_gb * 1024,
            processes=PROCESSES,
            watch=[str(run)],
        )
        tasks.cancel_scope.cancel()
    await report.read()
    outcome: Scored | Failed | None = trial_failure(spec, ended, deadline_s)
    gpu, score_s = watch.reading(), 0.0
    if gpu.exceeded:
        outcome = Failed(reason="out_of_memory", message=_took_too_much("the trial", gpu, slot))
    if outcome is None and killed():
        outcome = Failed(reason="killed", message=f"the run was stopped after {ended.seconds:.1f} s")
    elif outcome is None and spec.score.how == "stdout":
        outcome = stdout_outcome(spec, ended)
    elif outcome is None and not spec.trial.command:
        outcome = evaluator_outcome(spec, ended)
    elif outcome is None:
        await _laid_out(_prepare_score, run, files, editable, sandbox)
        launch = _hold_scorer(score_launch(spec, run, env, job.data), sandbox, spec, slot, run, job.data)
        async with _watched(gauge, slot, keeper) as watch:
            scored = await keeper.run(
                launch,
                deadline_s=spec.score.deadline_s,
                memory_mb=memory_mb,
                disk_mb=spec.trial.disk_gb * 1024,
                processes=PROCESSES,
                watch=[str(run)],
                beside=_hold_predictor(predict_launch(spec, run, env), sandbox, spec, slot, run, job.data),
            )
        score_s = scored.seconds
        if watch.reading().exceeded:
            outcome = Failed(reason="no_score", message=_took_too_much("scoring", watch.reading(), slot))
        elif scored.why == "killed":
            outcome = Failed(reason="killed", message="the run was stopped while it was scored")
        else:
            outcome = command_outcome(spec, scored)
    assert outcome is not None
    log = f"{ended.out[-LOG_TAIL // 2 :]}\n{ended.err[-LOG_TAIL // 2 :]}".strip()
    code, evaluator = arena.digest(files.items()), arena.evaluator_hash(spec, job.base)
    return Result(outcome, code, job.opened.data, evaluator, ended, score_s, report.thinned(), log, gpu)


@asynccontextmanager
async def _watched(gauge: Callable[[str], Gauge | None], slot: Slot, keeper: Supervisor) -> AsyncIterator[Watch]:
    """Read the GPU, and kill what takes more of it than the slot has; all of a device that is the slot's is no cap.

    Raises:
        HostTrouble: the GPU is gone.
    """
    opened = await anyio.to_thread.run_sync(gauge, slot.cuda_index) if slot.cuda_index else None
    watch = Watch(opened, keeper.process.pid, slot.gpu_memory_mb if slot.gpu_share < 1 else 0)

    async def kill_when_exceeded() -> None:
        await watch.until_exceeded()
        await keeper.kill()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kill_when_exceeded)
            yield watch
            tasks.cancel_scope.cancel()
    finally:
        if opened:
            opened.close()


def _took_too_much(who: str, gpu: Reading, slot: Slot) -> str:
    return f"{who} used {gpu.peak_mb:,.0f} MB of GPU memory, more than its slot's {slot.gpu_memory_mb:,.0f} MB"


def _hold_trial(launch: Launch, sandbox: Sandbox, spec: ArenaSpec, slot: Slot, run: Path, data: Path) -> Launch:
    """Hold what is a stranger's: it reads its files and the public data, and writes its own folders."""
    policy = sandbox.hold(
        [run / "trial", data / "public"],
        [run / name for name in OF_TRIAL],
        network=_network(spec),
        cuda=slot.device != "cpu",
        memory_mb=spec.trial.memory_gb * 1024,
    )
    return msgspec.structs.replace(launch, policy=policy, warm=bool(spec.trial.preload))


def _hold_scorer(launch: Launch, sandbox: Sandbox, spec: ArenaSpec, slot: Slot, run: Path, data: Path) -> Launch:
    """Hold the arena's own scorer, which looks at what a stranger left, and may see the private data."""
    policy = sandbox.hold(
        [run / "score", run / "out", data],
        [run / "score-tmp"],
        cuda=slot.device != "cpu",
        memory_mb=spec.trial.memory_gb * 1024,
        scorer=True,
    )
    return msgspec.structs.replace(launch, policy=policy, warm=bool(spec.trial.preload))


def _hold_predictor(
    launch: Launch | None, sandbox: Sandbox, spec: ArenaSpec, slot: Slot, run: Path, data: Path
) -> Launch | None:
    """Hold the stranger's code that answers the scorer: it reads what the trial left, and writes scratch alone."""
    if launch is None:
        return None
    policy = sandbox.hold(
        [run / "score", run / "out", data / "public"],
        [run / "tmp"],
        cuda=slot.device != "cpu",
        memory_mb=spec.trial.memory_gb * 1024,
    )
    return msgspec.structs.replace(launch, policy=policy, warm=bool(spec.trial.preload))


def _network(spec: ArenaSpec) -> Network:
    match spec.trial.network:
        case "loopback":
            return "loopback"
        case True:
            return "all"
        case False:
            return "none"


async def _laid_out(
    prepare: Callable[[Path, dict[str, bytes], tuple[str, ...], Sandbox], None],
    run: Path,
    files: dict[str, bytes],
    editable: tuple[str, ...],
    sandbox: Sandbox,
) -> None:
    try:
        await anyio.to_thread.run_sync(prepare, run, files, editable, sandbox)
    except OSError as error:
        raise HostTrouble(f"a run cannot be laid out in {run.parent}: {error.strerror}") from None


def _prepare_trial(run: Path, files: dict[str, bytes], editable: tuple[str, ...], sandbox: Sandbox) -> None:
    delete(run)
    lay_out(run / "trial", files, editable)
    for name in ("out", "tmp"):
        (run / name).mkdir()
    (run / "report.jsonl").touch()
    run.chmod(0o711)
    sandbox.give([run / name for name in OF_TRIAL])


def _prepare_score(run: Path, files: dict[str, bytes], editable: tuple[str, ...], sandbox: Sandbox) -> None:
    """Lay out the scorer's folders now that no process of the trial lives; whatever it put in their place goes."""
    for name in ("score", "score-tmp"):
        delete(run / name)
    lay_out(run / "score", files, editable)
    (run / "score-tmp").mkdir()
    sandbox.give([run / "score-tmp"], scorer=True)
    _freeze(run / "out")


def _freeze(folder: Path) -> None:
    """Make what the trial left read-only. Only files and folders stay: no link or pipe for a scorer to be led along."""
    if folder.is_symlink() or not folder.is_dir():
        delete(folder)
        folder.mkdir(parents=True)
    for root, folders, names in os.walk(folder, topdown=False):
        os.chmod(root, 0o700)
        for path in (Path(root) / name for name in (*names, *folders)):
            kind = path.lstat().st_mode
            if stat.S_ISREG(kind):
                path.chmod(0o444)
            elif not stat.S_ISDIR(kind):
                path.unlink()
        os.chmod(root, 0o555)


def delete(path: Path) -> None:
    """Delete a folder, file or link, whatever its permissions, as far as possible; links are never followed."""
    if path.is_symlink() or path.is_file():
        with suppress(OSError):
            path.unlink()
        return
    if path.is_dir():
        with suppress(OSError):
            path.chmod(0o700)
        for root, folders, _ in os.walk(path):
            for inner in (Path(root) / name for name in folders):
                with suppress(OSError):
                    if not inner.is_symlink():
                        inner.chmod(0o700)
        shutil.rmtree(path, ignore_errors=True)


class _Line(msgspec.Struct):
    step: Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
    value: float
    fraction: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None


class _Report:
    """The curve that a trial writes, line by line; garbage is skipped.

    A line may say what `fraction` of the budget is used; without, it is wall time over the budget's seconds.
    """

    def __init__(self, path: Path, tell: Callable[[bytes], Awaitable[None]], budget_s: float) -> None:
        self._path, self._tell, self._budget_s = path, tell, budget_s
        self._began = anyio.current_time()
        self._offset, self._points = 0, list[CurvePoint]()

    async def watch(self) -> None:
        while True:
            await anyio.sleep(min(max(self._budget_s / 50, READ_REPORT_EVERY_S[0]), READ_REPORT_EVERY_S[1]))
            await self.read()

    async def read(self) -> None:
        """Take in what is new, at most `MAX_REPORT_READ` bytes of it."""
        data = self._new()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole) or (len(data) if len(data) > MAX_REPORT_LINE else 0)
        lines = [line for line in whole.splitlines() if len(line) <= MAX_REPORT_LINE]
        points: list[CurvePoint] = []
        for line in lines:
            with suppress(msgspec.MsgspecError):
                found = msgspec.json.decode(line, type=_Line)
                at_s = anyio.current_time() - self._began
                used = min(1.0, at_s / self._budget_s) if found.fraction is None else found.fraction
                points.append(CurvePoint(found.step, found.value, round(at_s, 2), round(used, 3)))
        self._points += points
        for point in points[-TOLD_AT_ONCE:]:
            await self._tell(msgspec.json.encode(point))
        if len(self._points) > 4 * CURVE_POINTS:
            self._points = list(self.thinned())

    def _new(self) -> bytes:
        """Read on; a trial that puts a pipe or a link there is not waited for."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError:
            return b""
        try:
            return os.pread(descriptor, MAX_REPORT_READ, self._offset) if _is_file(descriptor) else b""
        except OSError:
            return b""
        finally:
            os.close(descriptor)

    def thinned(self) -> tuple[CurvePoint, ...]:
        """Return at most `CURVE_POINTS` points, the last one among them."""
        step = -(-len(self._points) // CURVE_POINTS) or 1
        return tuple(self._points[::-1][::step][::-1])


def _is_file(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)

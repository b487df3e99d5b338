"""One run, top-down: lay out the trial, run it, then score it in a process of its own.

RunRequested ─ launch ─▶ Request ─ supervisor ─▶ Ending ─ outcome ─▶ Scored | Failed
"""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
from msgspec.structs import replace

from gpu_worker.budget import TrialBudget, score_budget, trial_budget
from gpu_worker.build_cache import BuildCache, Builds, why_not_cached
from gpu_worker.curve import Curve
from gpu_worker.file_score import read_score, remove_stale
from gpu_worker.folders import (
    BadOutput,
    changed_protected,
    lay_out_closed,
    lay_out_score,
    lay_out_trial,
    open_trial,
)
from gpu_worker.gpu_gauge import Gauge, MemoryWatch, Reading, open_gauge
from gpu_worker.item_file import KeptItems, with_items
from gpu_worker.judge.session import Session
from gpu_worker.launch import Site, runner, score_request, trial_request
from gpu_worker.machine import Slot
from gpu_worker.outcome import (
    changed_sentence,
    evaluator_stages,
    file_outcome,
    score_outcome,
    trial_outcome,
    unanswered,
)
from gpu_worker.sandbox.tiers import Sandbox
from gpu_worker.seeds import told_seed
from gpu_worker.stages import RunStep, screened, steps_of
from gpu_worker.supervisor.client import Supervisor
from gpu_worker.supervisor.protocol import Ending
from gpu_worker.task_environment import OWN_ENVIRONMENT, TaskEnvironment, hidden_program, redacted
from mesh import arena
from mesh.editable_paths import editable_paths
from mesh.errors import HostTrouble
from mesh.events import (
    PROOF,
    ArenaOpened,
    CurvePoint,
    Failed,
    JudgeUse,
    RunRequested,
    Scored,
    ScreenedOut,
    StageEnd,
    StageEnds,
)
from mesh.hidden_files import is_hidden
from mesh.leavings import is_empty_folder
from mesh.own_seeds import with_other_seeds

LOG_TAIL = 4000
"""Characters of a trial's output that a finished run keeps."""


class RunInputs(msgspec.Struct, frozen=True):
    """What a run needs: the request, the arena, its files and the proposal's, its frozen data, its hidden files.

    `trials` is the number of candidates that had a result before the run was requested. `evaluator` is the hash of all
    that decides a score; without it, it is computed.
    """

    request: RunRequested
    opened: ArenaOpened
    base: dict[str, bytes]
    proposal: dict[str, bytes]
    data: Path
    hidden: dict[str, bytes] = {}
    trials: int = 0
    evaluator: str = ""


class Result(msgspec.Struct, frozen=True):
    """How a run ended, before it is a fact; the hashes are of the files that were laid out.

    Seconds, CPU time and memory are of all its trials and scorings, the budget and what was used of it of the last one.
    """

    outcome: Scored | Failed
    code: str
    data: str
    evaluator: str
    trial_s: float
    score_s: float
    cpu_s: float
    peak_memory_mb: float
    budget: TrialBudget
    used_s: float
    predict_s: float
    curve: tuple[CurvePoint, ...]
    log_tail: str
    gpu: Reading = Reading()
    items: KeptItems | None = None
    stages: StageEnds = ()
    own_seeds: int = 0
    judge: JudgeUse | None = None
    build_cache: str = ""


async def execute(
    inputs: RunInputs,
    slot: Slot,
    supervisor: Supervisor,
    sandbox: Sandbox,
    folder: Path,
    *,
    begun: anyio.Event,
    tell: Callable[[bytes], Awaitable[None]],
    killed: Callable[[], bool],
    gauge: Callable[[str], Gauge | None] = open_gauge,
    environment: TaskEnvironment = OWN_ENVIRONMENT,
    judge: Session | None = None,
    builds: Builds | None = None,
    is_laid_out: bool = False,
) -> Result:
    """Run a trial and score it, in stages where the arena has them.

    Args:
        inputs: the request and its files.
        slot: the slot that it runs in.
        supervisor: the supervisor of that slot.
        sandbox: the sandbox of that slot.
        folder: where it runs; the caller deletes it.
        begun: the trial starts when it is laid out and this is set.
        tell: called with each new point of the learning curve, as JSON.
        killed: whether the swarm has stopped the run.
        gauge: opens the gauge of a GPU by its CUDA index.
        environment: the interpreter of its processes, and what else they have of this machine.
        judge: what its scoring may ask of models; None for nothing.
        builds: what earlier builds left, for arenas with `artifact.cache`.
        is_laid_out: whether `lay_out_ahead` has made the folder.

    Raises:
        HostTrouble: this machine cannot do it; says nothing about the proposal.
    """
    opened, request = inputs.opened, inputs.request
    told = told_seed(opened, request)
    site = Site(opened.spec, request, folder, slot, sandbox, inputs.data, supervisor.token, told, inputs.trials)
    site = replace(site, environment=environment, judge=judge)
    files, varied, own_seeds = _artifact(inputs)
    cache: BuildCache | None = None
    unused = why_not_cached(sandbox.tier) if opened.spec.artifact.cache else ""
    if builds and opened.spec.artifact.cache and not unused:
        accepted = arena.overlay(opened.spec, inputs.base, inputs.base) | runner(opened.spec)
        cache = await anyio.to_thread.run_sync(builds.of, opened, accepted, environment)
        site = replace(site, at=str(cache.at))
    running = _Running(
        site, supervisor, varied, frozenset(inputs.base), inputs.hidden, begun, tell, killed, gauge, cache, is_laid_out
    )
    outcome: Scored | Failed | None = None
    stages: list[StageEnd] = []
    for step in steps_of(opened.spec, request, opened.base_tree):
        before_s, scored_s = running.trial_s, running.score_s
        outcome = await running.trial(step) if step.has_trial else None
        outcome = outcome or await running.score(step)
        outcome = screened(step, unanswered(outcome, judge.trouble()) if judge else outcome)
        if step.name:
            value = None if isinstance(outcome, Failed) and not isinstance(outcome, ScreenedOut) else outcome.value
            spent = {"trial_s": running.trial_s - before_s, "score_s": running.score_s - scored_s}
            stages.append(StageEnd(stage=step.name, value=value, **{k: round(s, 3) for k, s in spent.items()}))
        if isinstance(outcome, Failed):
            outcome = replace(outcome, message=hidden_program(outcome.message, environment))
            break
    assert outcome is not None
    assert running.last is not None
    if cache and isinstance(outcome, Scored):
        await anyio.to_thread.run_sync(cache.fill, folder / "trial")
    trial = running.last
    log = f"{trial.out[-LOG_TAIL // 2 :]}\n{trial.err[-LOG_TAIL // 2 :]}".strip()
    return Result(
        outcome=outcome,
        code=arena.hash_of(files.items()),
        data=opened.data,
        evaluator=inputs.evaluator or arena.evaluator_hash(opened.spec, inputs.base | inputs.hidden),
        trial_s=running.trial_s,
        score_s=running.score_s,
        cpu_s=running.cpu_s,
        peak_memory_mb=running.peak_memory_mb,
        budget=running.budget,
        used_s=running.used_s,
        predict_s=running.predict_s,
        curve=running.curve,
        log_tail=log,
        gpu=running.gpu,
        items=None if isinstance(outcome, Failed) else running.items,
        stages=evaluator_stages(trial) if not opened.spec.trial.command else tuple(stages),
        own_seeds=own_seeds,
        judge=judge.use() if judge else None,
        build_cache=cache.told if cache else unused,
    )


def lay_out_ahead(inputs: RunInputs, sandbox: Sandbox, folder: Path, environment: TaskEnvironment) -> bool:
    """Lay out the first trial of a run while the trial before it goes on, closed to that; `execute` opens it.

    Returns:
        Whether the run begins with a trial, so that the folder is there.

    Raises:
        OSError: this machine cannot.
    """
    step = next(iter(steps_of(inputs.opened.spec, inputs.request, inputs.opened.base_tree)))
    if step.has_trial:
        files = _artifact(inputs)[1] | runner(step.spec)
        lay_out_closed(folder, files, sandbox, data=inputs.data, home=environment.links)
    return step.has_trial


def _artifact(inputs: RunInputs) -> tuple[dict[str, bytes], dict[str, bytes], int]:
    """Return the files of a run as they were proposed, as they run, and how many seeds of their own are others."""
    spec, request = inputs.opened.spec, inputs.request
    files = arena.overlay(spec, inputs.base, inputs.proposal)
    if request.lane in PROOF and spec.trial.own_seeds == "vary" and spec.objective.noise == "measured":
        return files, *with_other_seeds(files, editable_paths(spec, files), told_seed(inputs.opened, request))
    return files, files, 0


class _Running:
    """The processes of one run, one after the other, and what they took together.

    The budget, the curve and the GPU's reading are those of the last trial, the items those of the last stage.
    """

    def __init__(
        self,
        site: Site,
        supervisor: Supervisor,
        files: dict[str, bytes],
        base: frozenset[str],
        hidden: dict[str, bytes],
        begun: anyio.Event,
        tell: Callable[[bytes], Awaitable[None]],
        killed: Callable[[], bool],
        gauge: Callable[[str], Gauge | None],
        cache: BuildCache | None = None,
        is_laid_out: bool = False,
    ) -> None:
        self._cache, self._is_laid_out = cache, is_laid_out
        self._site, self._supervisor, self._files, self._hidden = site, supervisor, files, hidden
        self._base = base
        self._begun, self._tell, self._killed, self._gauge = begun, tell, killed, gauge
        self.last: Ending | None = None
        self.trial_s = self.score_s = self.cpu_s = self.peak_memory_mb = self.used_s = self.predict_s = 0.0
        self.budget = trial_budget(site.spec, site.request.budget_s, site.slot, sees_gpu=False)
        self.curve: tuple[CurvePoint, ...] = ()
        self.gpu = Reading()
        self.items: KeptItems | None = None

    async def trial(self, step: RunStep) -> Scored | Failed | None:
        """Run the trial of a step; return what its end decides, None where it has to be scored."""
        request, supervisor, slot, folder = self._site.request, self._supervisor, self._site.slot, self._site.folder
        if step.budget_s:
            request = replace(request, budget_s=step.budget_s)
        site = replace(self._site, spec=step.spec, request=request, stage=step.name if step.budget_s else "")
        files, editable = self._files | runner(step.spec), editable_paths(step.spec, self._files)
        if self._is_laid_out:
            self._is_laid_out = False
            await _in_thread(partial(open_trial, folder, site.sandbox, data=site.data), folder)
        else:
            begin = self._cache.begin if self._cache else None
            lay_out = partial(lay_out_trial, data=site.data, home=site.environment.links, begin=begin)
            await _in_thread(partial(lay_out, folder, files, editable, site.sandbox), folder)
        if step.spec.score.file:
            remove_stale(folder / "trial", step.spec.score.file)
        await self._begun.wait()
        async with _watched(self._gauge, slot, supervisor) as watch:
            budget = trial_budget(step.spec, request.budget_s, slot, sees_gpu=watch.sees)
            to_run = trial_request(site, budget)
            watch.limit_s = budget.limit_s if budget.counts == "gpu" else 0.0

            def used_s() -> float:
                return watch.open_s if budget.counts == "gpu" else supervisor.used_s

            curve = Curve(folder / "report.jsonl", self._tell, request.budget_s, used_s)
            if step.budget_s:  # a short trial is no point of the curve by which runs are compared
                trial = await supervisor.run(to_run)
            else:
                async with curve.followed():
                    trial = await supervisor.run(to_run)
        trial = self._redacted(trial)
        self.last, self.budget, self.used_s, self.gpu = trial, budget, used_s(), watch.reading()
        self.curve = curve.points()
        self.trial_s, self.cpu_s = self.trial_s + trial.seconds, self.cpu_s + trial.cpu_s
        self.peak_memory_mb = max(self.peak_memory_mb, trial.peak_memory_mb)
        outcome = trial_outcome(
            step.spec,
            trial,
            to_run.limits,
            self.gpu,
            slot.gpu_memory_mb,
            killed=self._killed(),
            budget=budget,
            used_s=self.used_s,
        )
        if outcome is None or isinstance(outcome, Scored):
            may_change = step.spec.artifact.writes
            kept = {n: b for n, b in files.items() if n not in editable and not is_hidden(may_change, n)}
            kept = {n: b for n, b in kept.items() if not is_empty_folder(n, b)}
            kept.pop(step.spec.score.file, None)
            if outcome is None and step.spec.score.how == "file":
                read = partial(read_score, step.spec.score, step.spec.objective.metric, folder / "trial")
                outcome = file_outcome(step.spec, await anyio.to_thread.run_sync(read))
            changed = await anyio.to_thread.run_sync(changed_protected, folder / "trial", kept)
            return Failed(reason="no_score", message=changed_sentence(changed)) if changed else outcome
        return outcome

    async def score(self, step: RunStep) -> Scored | Failed:
        """Score the output of the last trial."""
        slot, sandbox, folder = self._site.slot, self._site.sandbox, self._site.folder
        keys = self._site.environment.keys
        predicts, editable = bool(step.spec.score.predict), editable_paths(step.spec, self._files)
        try:
            home, data = self._site.environment.links, self._site.data
            lay_out = partial(lay_out_score, predicts=predicts, hidden=self._hidden, home=home, data=data)
            lay_out = partial(lay_out, unseen=self._files.keys() - self._base)
            await _in_thread(partial(lay_out, folder, self._files, editable, sandbox), folder)
        except BadOutput as error:
            return Failed(reason="no_score", message=str(error))
        site = replace(self._site, spec=step.spec, stage=step.name)
        to_score = score_request(site, score_budget(step.spec, slot))
        async with _watched(self._gauge, slot, self._supervisor) as watch:
            scored = self._redacted(await self._supervisor.run(to_score))
        self.score_s, self.predict_s = self.score_s + scored.seconds, self.predict_s + scored.beside_s
        found = score_outcome(step.spec, scored, to_score.limits, watch.reading(), slot.gpu_memory_mb)
        if step.left:
            return found
        read = partial(with_items, step.spec.objective, found, Path(to_score.launch.env["MESH_ITEMS"]))
        outcome, self.items = await anyio.to_thread.run_sync(read)
        if name := next((n for n, key in keys.items() if self.items and key.encode() in self.items.data), ""):
            self.items = None
            return Failed(reason="no_score", message=f"the items have the value of the key {name} in them")
        return outcome

    def _redacted(self, ending: Ending) -> Ending:
        """Take the values of keys out of what a process printed, before anybody reads it."""
        keys = self._site.environment.keys
        if not keys:
            return ending
        return dataclasses.replace(ending, out=redacted(ending.out, keys), err=redacted(ending.err, keys))


@asynccontextmanager
async def _watched(
    gauge: Callable[[str], Gauge | None], slot: Slot, supervisor: Supervisor
) -> AsyncIterator[MemoryWatch]:
    """Read the GPU while the block runs, and kill the command when it takes more than the slot or its budget has.

    A slot that has a whole device has no cap.

    Raises:
        HostTrouble: the GPU is gone.
    """
    opened = await anyio.to_thread.run_sync(gauge, slot.cuda_index) if slot.cuda_index else None
    watch = MemoryWatch(opened, supervisor.process.pid, slot.gpu_memory_mb if slot.gpu_share < 1 else 0)

    if opened is None:
        yield watch
        return

    async def kill_when_exceeded() -> None:
        await watch.until_exceeded()
        await supervisor.kill()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kill_when_exceeded)
            yield watch
            tasks.cancel_scope.cancel()
    finally:
        opened.close()


async def _in_thread(lay_out: Callable[[], None], folder: Path) -> None:
    try:
        await anyio.to_thread.run_sync(lay_out)
    except OSError as error:
        raise HostTrouble(f"the files of a run cannot be written to {folder.parent}: {error.strerror}") from None

"""One run, top-down: lay out the trial, run it, then score it in a process of its own.

RunRequested ─ launch ─▶ Request ─ supervisor ─▶ Ends ─ outcome ─▶ Scored | Failed
"""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.to_thread
import msgspec
from msgspec.structs import replace

from gpu_worker.budget import TrialBudget
from gpu_worker.build_cache import BuildCache, Builds, why_not_cached
from gpu_worker.folders import (
    lay_out_closed,
)
from gpu_worker.gpu_gauge import Gauge, Reading, open_gauge
from gpu_worker.item_file import KeptItems
from gpu_worker.judge.session import Session
from gpu_worker.launch import Site, runner
from gpu_worker.machine import Slot
from gpu_worker.outcome import (
    evaluator_stages,
    unanswered,
)
from gpu_worker.running import InThread, RunProcesses, decided
from gpu_worker.sandbox.tiers import Sandbox
from gpu_worker.seeds import told_seed
from gpu_worker.stages import RunStep, screened, steps_of
from gpu_worker.supervisor.client import Supervisor
from gpu_worker.task_environment import OWN_ENVIRONMENT, TaskEnvironment, hidden_program
from mesh import arena
from mesh.editable_paths import editable_paths
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


Ends = Callable[[], Awaitable[Scored | Failed]]


class EndedRun(NamedTuple):
    """A run whose processes have all ended: the seconds that they took, and what judges what they left."""

    seconds: float
    judge: Callable[[], Awaitable[Result]]


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
    in_thread: InThread = anyio.to_thread.run_sync,
    is_laid_out: bool = False,
) -> EndedRun:
    """Run a trial and score it, in stages where the arena has them; what is left to do needs the slot no more.

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
        in_thread: lays out its folders in a thread; each is ready when it returns.
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
    running = RunProcesses(
        site,
        supervisor,
        varied,
        frozenset(inputs.base),
        inputs.hidden,
        begun,
        tell,
        killed,
        gauge,
        in_thread,
        cache,
        is_laid_out,
    )
    stages: list[StageEnd] = []

    async def measured(step: RunStep) -> Ends:
        """Run the processes of a step; return what judges them and notes the stage."""
        before_s, scored_s = running.trial_s, running.score_s
        judged = await running.step(step)
        spent = {"trial_s": running.trial_s - before_s, "score_s": running.score_s - scored_s}

        async def outcome() -> Scored | Failed:
            found = await judged()
            assert found is not None, "a step is scored by its last process"
            found = screened(step, unanswered(found, judge.trouble()) if judge else found)
            if step.name:
                value = None if isinstance(found, Failed) and not isinstance(found, ScreenedOut) else found.value
                stages.append(StageEnd(stage=step.name, value=value, **{k: round(s, 3) for k, s in spent.items()}))
            if isinstance(found, Failed):
                return replace(found, message=hidden_program(found.message, environment))
            return found

        return outcome

    async def result(ending: Ends) -> Result:
        outcome, trial = await ending(), running.last
        assert trial is not None, "the first step has a trial"
        if cache and isinstance(outcome, Scored):
            await anyio.to_thread.run_sync(cache.fill, folder / "trial")
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
            log_tail=f"{trial.out[-LOG_TAIL // 2 :]}\n{trial.err[-LOG_TAIL // 2 :]}".strip(),
            gpu=running.gpu,
            items=None if isinstance(outcome, Failed) else running.items,
            stages=evaluator_stages(trial) if not opened.spec.trial.command else tuple(stages),
            own_seeds=own_seeds,
            judge=judge.use() if judge else None,
            build_cache=cache.told if cache else unused,
        )

    *earlier, last = steps_of(opened.spec, request, opened.base_tree)
    for step in earlier:
        ended = await (await measured(step))()
        if isinstance(ended, Failed):
            ending = decided(ended)
            break
    else:
        ending = await measured(last)
    return EndedRun(running.trial_s + running.score_s, partial(result, ending))


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

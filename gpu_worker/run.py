"""One run, top-down: lay out the trial, run it, then score it in a process of its own.

RunRequested ─ launch ─▶ Request ─ supervisor ─▶ Ending ─ outcome ─▶ Scored | Failed
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from gpu_worker.budget import TrialBudget, score_budget, trial_budget
from gpu_worker.curve import Curve
from gpu_worker.folders import BadOutput, lay_out_score, lay_out_trial
from gpu_worker.gpu_gauge import Gauge, MemoryWatch, Reading, open_gauge
from gpu_worker.item_file import KeptItems, with_items
from gpu_worker.launch import Site, runner, score_request, trial_request
from gpu_worker.machine import Slot
from gpu_worker.outcome import score_outcome, trial_outcome
from gpu_worker.sandbox.tiers import Sandbox
from gpu_worker.seeds import told_seed
from gpu_worker.supervisor.client import Supervisor
from gpu_worker.supervisor.protocol import Ending
from mesh import arena
from mesh.errors import HostTrouble
from mesh.events import ArenaOpened, CurvePoint, Failed, RunRequested, Scored

LOG_TAIL = 4000
"""Characters of a trial's output that a finished run keeps."""


class RunInputs(msgspec.Struct, frozen=True):
    """What a run needs: the request, the arena, its files and the proposal's, its frozen data, its hidden files.

    `trials` is the number of candidates that had a result before the run was requested.
    """

    request: RunRequested
    opened: ArenaOpened
    base: dict[str, bytes]
    proposal: dict[str, bytes]
    data: Path
    hidden: dict[str, bytes] = {}
    trials: int = 0


class Result(msgspec.Struct, frozen=True):
    """How a run ended, before it is a fact; the hashes are of the files that were laid out."""

    outcome: Scored | Failed
    code: str
    data: str
    evaluator: str
    trial: Ending
    score_s: float
    budget: TrialBudget
    used_s: float
    predict_s: float
    curve: tuple[CurvePoint, ...]
    log_tail: str
    gpu: Reading = Reading()
    items: KeptItems | None = None


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
) -> Result:
    """Run a trial and score it.

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

    Raises:
        HostTrouble: this machine cannot do it; says nothing about the proposal.
    """
    spec, request = inputs.opened.spec, inputs.request
    told = told_seed(inputs.opened, request)
    site = Site(spec, request, folder, slot, sandbox, inputs.data, supervisor.token, told, inputs.trials)
    files = arena.overlay(spec, inputs.base, inputs.proposal)

    lay_out = partial(lay_out_trial, data=inputs.data)
    await _in_thread(lay_out, folder, files | runner(spec), spec.artifact.editable, sandbox)
    await begun.wait()
    async with _watched(gauge, slot, supervisor) as watch:
        budget = trial_budget(spec, request.budget_s, slot, sees_gpu=watch.sees)
        to_run = trial_request(site, budget)
        watch.limit_s = budget.limit_s if budget.counts == "gpu" else 0.0

        def used_s() -> float:
            return watch.open_s if budget.counts == "gpu" else supervisor.used_s

        curve = Curve(folder / "report.jsonl", tell, request.budget_s, used_s)
        async with curve.followed():
            trial = await supervisor.run(to_run)
    used = used_s()
    limits, gpu, room_mb = to_run.limits, watch.reading(), slot.gpu_memory_mb
    outcome = trial_outcome(spec, trial, limits, gpu, room_mb, killed=killed(), budget=budget, used_s=used)
    score_s = predict_s = 0.0
    items: KeptItems | None = None
    if outcome is None:
        try:
            lay_out = partial(lay_out_score, predicts=bool(spec.score.predict), hidden=inputs.hidden)
            await _in_thread(lay_out, folder, files, spec.artifact.editable, sandbox)
        except BadOutput as error:
            outcome = Failed(reason="no_score", message=str(error))
    if outcome is None:
        to_score = score_request(site, score_budget(spec, slot))
        async with _watched(gauge, slot, supervisor) as watch:
            scored = await supervisor.run(to_score)
        found = score_outcome(spec, scored, to_score.limits, watch.reading(), room_mb)
        score_s, predict_s = scored.seconds, scored.beside_s
        read = partial(with_items, spec.objective, found, Path(to_score.launch.env["MESH_ITEMS"]))
        checked = await anyio.to_thread.run_sync(read)
        outcome, items = checked[0], checked[1]

    log = f"{trial.out[-LOG_TAIL // 2 :]}\n{trial.err[-LOG_TAIL // 2 :]}".strip()
    code, evaluator = arena.hash_of(files.items()), arena.evaluator_hash(spec, inputs.base | inputs.hidden)
    return Result(
        outcome=outcome,
        code=code,
        data=inputs.opened.data,
        evaluator=evaluator,
        trial=trial,
        score_s=score_s,
        budget=budget,
        used_s=used,
        predict_s=predict_s,
        curve=curve.points(),
        log_tail=log,
        gpu=gpu,
        items=items,
    )


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

    async def kill_when_exceeded() -> None:
        await watch.until_exceeded()
        await supervisor.kill()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kill_when_exceeded)
            yield watch
            tasks.cancel_scope.cancel()
    finally:
        if opened:
            opened.close()


async def _in_thread(
    lay_out: Callable[[Path, dict[str, bytes], tuple[str, ...], Sandbox], None],
    folder: Path,
    files: dict[str, bytes],
    editable: tuple[str, ...],
    sandbox: Sandbox,
) -> None:
    try:
        await anyio.to_thread.run_sync(lay_out, folder, files, editable, sandbox)
    except OSError as error:
        raise HostTrouble(f"the files of a run cannot be written to {folder.parent}: {error.strerror}") from None

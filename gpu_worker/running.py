"""The processes of one run, one after the other: each is laid out, run, and judged by what it left."""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from msgspec.structs import replace

from gpu_worker.budget import score_budget, trial_budget
from gpu_worker.build_cache import BuildCache
from gpu_worker.curve import Curve
from gpu_worker.file_score import read_score, remove_stale
from gpu_worker.folders import BadOutput, changed_protected, lay_out_score, lay_out_trial, open_trial
from gpu_worker.gpu_gauge import Gauge, MemoryWatch, Reading
from gpu_worker.item_file import KeptItems, with_items
from gpu_worker.launch import Site, runner, score_request, trial_request
from gpu_worker.machine import Slot
from gpu_worker.outcome import changed_sentence, file_outcome, score_outcome, trial_outcome
from gpu_worker.stages import RunStep
from gpu_worker.supervisor.client import Supervisor
from gpu_worker.supervisor.protocol import Ending
from gpu_worker.task_environment import redacted
from mesh.editable_paths import editable_paths
from mesh.errors import HostTrouble
from mesh.events import CurvePoint, Failed, Scored
from mesh.hidden_files import is_hidden
from mesh.leavings import is_empty_folder

Judge = Callable[[], Awaitable[Scored | Failed | None]]
"""Returns what the end of a process decides, None where what it left has to be scored by another one."""
InThread = Callable[[Callable[[], None]], Awaitable[None]]
"""Runs a function in a thread and waits for it."""


class RunProcesses:
    """The processes of one run, one after the other, and what they took together.

    The budget, the curve and the GPU's reading are those of the last trial, the items those of the last stage.

    Args:
        site: where the run is executed, and with what.
        supervisor: the supervisor of its slot.
        files: the artifact as it runs.
        base: the paths that the arena's own artifact has.
        hidden: the arena's hidden files.
        begun: the first trial starts when it is laid out and this is set.
        tell: called with each new point of the learning curve, as JSON.
        killed: whether the swarm has stopped the run.
        gauge: opens the gauge of a GPU by its CUDA index.
        in_thread: lays out folders in a thread; each is ready when it returns.
        cache: what earlier builds left.
        is_laid_out: whether the folder of the first trial is there.
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
        in_thread: InThread,
        cache: BuildCache | None = None,
        is_laid_out: bool = False,
    ) -> None:
        self._cache, self._is_laid_out = cache, is_laid_out
        self._site, self._supervisor, self._files, self._hidden = site, supervisor, files, hidden
        self._base, self._in_thread = base, in_thread
        self._begun, self._tell, self._killed, self._gauge = begun, tell, killed, gauge
        self.last: Ending | None = None
        self.trial_s = self.score_s = self.cpu_s = self.peak_memory_mb = self.used_s = self.predict_s = 0.0
        self.budget = trial_budget(site.spec, site.request.budget_s, site.slot, sees_gpu=False)
        self.curve: tuple[CurvePoint, ...] = ()
        self.gpu = Reading()
        self.items: KeptItems | None = None

    async def step(self, step: RunStep) -> Judge:
        """Run the trial of a step and what scores it; return what judges them. No process of it lives then."""
        judge = await self._trial(step) if step.has_trial else None
        if judge is None or step.spec.score.how == "command":
            outcome = await judge() if judge else None
            return decided(outcome) if outcome else await self._score(step)
        return judge

    async def _trial(self, step: RunStep) -> Judge:
        request, supervisor, slot, folder = self._site.request, self._supervisor, self._site.slot, self._site.folder
        if step.budget_s:
            request = replace(request, budget_s=step.budget_s)
        site = replace(self._site, spec=step.spec, request=request, stage=step.name if step.budget_s else "")
        files, editable = self._files | runner(step.spec), editable_paths(step.spec, self._files)
        if self._is_laid_out:
            self._is_laid_out = False
            await self._lay_out(partial(open_trial, folder, site.sandbox, data=site.data))
        else:
            begin = self._cache.begin if self._cache else None
            lay_out = partial(lay_out_trial, data=site.data, home=site.environment.links, begin=begin)
            await self._lay_out(partial(lay_out, folder, files, editable, site.sandbox))
        if step.spec.score.file:
            remove_stale(folder / "trial", step.spec.score.file)
        budget = trial_budget(step.spec, request.budget_s, slot, sees_gpu=False)
        to_run = trial_request(site, budget)  # while the fact that the run begins is posted
        await self._begun.wait()
        async with _watched(self._gauge, slot, supervisor) as watch:
            if watch.sees:
                budget = trial_budget(step.spec, request.budget_s, slot, sees_gpu=True)
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

        async def judge() -> Scored | Failed | None:
            if isinstance(outcome, Failed):
                return outcome
            return await anyio.to_thread.run_sync(_unless_changed, step, outcome, folder / "trial", files, editable)

        return judge

    async def _score(self, step: RunStep) -> Judge:
        """Score the output of the last trial."""
        slot, sandbox, folder = self._site.slot, self._site.sandbox, self._site.folder
        keys = self._site.environment.keys
        predicts, editable = bool(step.spec.score.predict), editable_paths(step.spec, self._files)
        try:
            home, data = self._site.environment.links, self._site.data
            lay_out = partial(lay_out_score, predicts=predicts, hidden=self._hidden, home=home, data=data)
            lay_out = partial(lay_out, unseen=self._files.keys() - self._base)
            await self._lay_out(partial(lay_out, folder, self._files, editable, sandbox))
        except BadOutput as error:
            return decided(Failed(reason="no_score", message=str(error)))
        site = replace(self._site, spec=step.spec, stage=step.name)
        to_score = score_request(site, score_budget(step.spec, slot))
        async with _watched(self._gauge, slot, self._supervisor) as watch:
            scored = self._redacted(await self._supervisor.run(to_score))
        self.score_s, self.predict_s = self.score_s + scored.seconds, self.predict_s + scored.beside_s
        found = score_outcome(step.spec, scored, to_score.limits, watch.reading(), slot.gpu_memory_mb)
        if step.left:
            return decided(found)

        async def judge() -> Scored | Failed:
            read = partial(with_items, step.spec.objective, found, Path(to_score.launch.env["MESH_ITEMS"]))
            outcome, self.items = await anyio.to_thread.run_sync(read)
            if name := next((n for n, key in keys.items() if self.items and key.encode() in self.items.data), ""):
                self.items = None
                return Failed(reason="no_score", message=f"the items have the value of the key {name} in them")
            return outcome

        return judge

    async def _lay_out(self, lay_out: Callable[[], None]) -> None:
        folder = self._site.folder
        try:
            await self._in_thread(lay_out)
        except OSError as error:
            raise HostTrouble(f"the files of a run cannot be written to {folder.parent}: {error.strerror}") from None

    def _redacted(self, ending: Ending) -> Ending:
        """Take the values of keys out of what a process printed, before anybody reads it."""
        keys = self._site.environment.keys
        if not keys:
            return ending
        return dataclasses.replace(ending, out=redacted(ending.out, keys), err=redacted(ending.err, keys))


def decided(outcome: Scored | Failed) -> Callable[[], Awaitable[Scored | Failed]]:
    """Return what judges something that is judged already."""

    async def judge() -> Scored | Failed:
        return outcome

    return judge


def _unless_changed(
    step: RunStep, outcome: Scored | None, folder: Path, files: Mapping[str, bytes], editable: Sequence[str]
) -> Scored | Failed | None:
    """Return the outcome of a trial, which may stand in a file, unless it changed what is protected."""
    spec = step.spec
    kept = {n: b for n, b in files.items() if n not in editable and not is_hidden(spec.artifact.writes, n)}
    kept = {n: b for n, b in kept.items() if not is_empty_folder(n, b)}
    kept.pop(spec.score.file, None)
    found: Scored | Failed | None = outcome
    if outcome is None and spec.score.how == "file":
        found = file_outcome(spec, read_score(spec.score, spec.objective.metric, folder))
    changed = changed_protected(folder, kept)
    return Failed(reason="no_score", message=changed_sentence(changed)) if changed else found


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

"""The worker's loop: take a run, execute it, say how it ended; hand it back whenever the trouble is its own.

A lease is extended while the trial lives. A second attempt may run beside a first one that was believed dead; the first
finish in the log counts, and the other worker learns of it when it posts. A worker that drains takes no more runs,
finishes those that it has, and leaves.
"""

import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, closing, nullcontext, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from gpu_worker.cleanup import claim, clear_leftovers
from gpu_worker.gpu_gauge import Gauge, open_gauge
from gpu_worker.launch import slot_environment
from gpu_worker.machine import Machine, Slot, capped, survey
from gpu_worker.prefetch import Supply
from gpu_worker.run import Result, delete, execute
from gpu_worker.sandbox.tiers import Sandbox, Tier, sandbox_of
from gpu_worker.sandbox_choice import Wish, choose, try_tier
from gpu_worker.supervisor.client import Supervisor, SupervisorDied, supervisor
from mesh import settings
from mesh.board import Run
from mesh.bus import ArenaBus
from mesh.bus import Job as Delivery
from mesh.errors import AlreadyPosted, BusError, HostTrouble, ObjectMissing, leaf
from mesh.events import (
    LANES,
    AnyEvent,
    Cost,
    Failed,
    NotePosted,
    RunFinished,
    RunRequested,
    RunStarted,
    Scored,
    WorkerJoined,
    WorkerLeft,
)
from mesh.follow import Follower
from mesh.settings import host
from mesh.wire import Post

LEASE_S = 5.0
EXTEND_EVERY_S = 1.5
MAX_ATTEMPTS = 3
RETRY_AFTER_S = 3.0
KILL_AGAIN_S = 0.3
OTHER_CLASS_S = 5.0
HAND_BACK_S = 2.0
DECLINE, DECLINED_S = 3, 0.2
"""How often a worker leaves a run to others that it had better not do, and how long they have to take it."""

Terms = tuple[tuple[str, ...], Slot]


async def run_worker(
    bus: ArenaBus,
    *,
    name: str,
    slots: int | None = None,
    slots_per_gpu: int = 1,
    device: str = "auto",
    home: Path,
    sandbox: Wish = "auto",
    draining: anyio.Event | None = None,
    on_ready: Callable[[], None] | None = None,
) -> str:
    """Take runs of an arena until it is closed; return why it ended. Cancelling hands the runs back.

    `sandbox` allows weaker tiers where no strong one holds; once `draining` is set the worker ends as soon as its runs
    are finished; `on_ready` is called once it has joined.

    Raises:
        BadInput: the device or the number of slots cannot be had.
        BusError: the log is out of reach or refuses us.
        HostTrouble: no sandbox that is allowed here, or strong enough for the arena, holds on this machine.
    """
    machine = await anyio.to_thread.run_sync(survey, device, slots, slots_per_gpu)
    tier, _ = await choose(sandbox, settings.runs_dir(home))
    return await Worker(bus, name, home, machine, tier, draining or anyio.Event()).live(on_ready)


class Worker:
    """One life of a worker on one arena; `nvml` is what stands in for pynvml in a test."""

    nvml: Any = None

    def __init__(
        self, bus: ArenaBus, name: str, home: Path, machine: Machine, tier: Tier, draining: anyio.Event
    ) -> None:
        self.boot = uuid.uuid4().hex
        self._bus, self._name, self._home, self._machine = bus, name, home, machine
        self._tier, self._draining = tier, draining
        self._follower = Follower(bus, snapshot=settings.snapshot_file(home, bus.arena))
        self._supply = Supply(bus, home, lambda: self._follower.board)
        self._folder = settings.runs_dir(home) / self.boot
        self._dirty: dict[int, set[Path]] = {}
        self._handed_back: Counter[str] = Counter()
        self._declined: Counter[str] = Counter()

    async def live(self, on_ready: Callable[[], None] | None = None) -> str:
        """Join, work in every slot, leave."""
        await self._follower.catch_up()
        if self._follower.board.closed:
            return self._why()
        if unfit := self._unfit():
            raise HostTrouble(unfit)
        await anyio.to_thread.run_sync(clear_leftovers, settings.runs_dir(self._home))
        await self._post(
            WorkerJoined(
                boot=self.boot,
                worker_class=self._machine.worker_class,
                device=self._machine.device,
                slots=len(self._machine.slots),
                memory_mb=self._machine.memory_mb,
                tier=self._tier,
                host=host(),
                environment=self._machine.environment,
            )
        )
        if on_ready:
            on_ready()
        try:
            async with anyio.create_task_group() as following:
                following.start_soon(self._follower.follow)
                async with anyio.create_task_group() as tasks:
                    for slot in self._machine.slots:
                        tasks.start_soon(self._serve, slot)
                following.cancel_scope.cancel()
        finally:
            with anyio.move_on_after(3, shield=True), suppress(BusError):
                reason = "drained" if self._draining.is_set() else "stopped"
                reason = "arena closed" if self._follower.board.closed else reason
                await self._post(WorkerLeft(boot=self.boot, reason=reason))
            delete(self._folder)
        return self._why()

    @property
    def _is_over(self) -> bool:
        """Whether no more runs are taken."""
        return self._follower.board.closed is not None or self._draining.is_set()

    def _why(self) -> str:
        return f"arena {self._bus.arena} is closed" if self._follower.board.closed else "drained"

    async def _serve(self, place: Slot) -> None:
        """Keep a supervisor and give it runs; after trouble of our own, first see that the machine works again.

        Meanwhile the driver of a GPU is held open, so that it need not start anew for every run.
        """
        said = ""
        sandbox = sandbox_of(self._tier)
        while not self._is_over:
            preload, slot = self._terms(place)
            try:
                gauge = await anyio.to_thread.run_sync(self._open_gauge, slot.cuda_index)
                with closing(gauge) if gauge else nullcontext():
                    async with supervisor(preload, slot_environment(slot)) as keeper:
                        await anyio.to_thread.run_sync(claim, self._folder, keeper.token)
                        await self._take_runs(place, keeper, sandbox, (preload, slot))
            except* HostTrouble as group:
                trouble = leaf(group)
                if str(trouble) != said:
                    said = str(trouble)
                    text = f"worker {self._name} slot {slot.number} handed its work back: {said}"
                    await self._post(NotePosted(channel="ops", text=text))
                if not isinstance(trouble, SupervisorDied):
                    await self._until_held(slot)
            finally:
                for run in self._dirty.pop(slot.number, ()):
                    await anyio.to_thread.run_sync(delete, run)

    def _terms(self, place: Slot) -> Terms:
        """Return what the arena wants of a slot: modules imported ahead, and how much of its GPU."""
        opened = self._follower.board.opened
        return (opened.spec.trial.preload, capped(place, opened.spec.worker.gpu_memory_gb)) if opened else ((), place)

    def _open_gauge(self, device: str) -> Gauge | None:
        alone = sum(slot.cuda_index == device for slot in self._machine.slots) == 1
        return open_gauge(device, alone=alone, library=self.nvml)

    def _unfit(self) -> str:
        """Return why this worker may not run the arena: a weaker sandbox, or less GPU memory, than it demands."""
        if self._follower.board.opened is None:
            return ""
        wanted, demands = self._follower.board.spec.worker, f"arena {self._bus.arena} demands"
        if self._tier > wanted.tier:
            return f"{demands} sandbox tier {wanted.tier}, but here holds only {self._tier}"
        has_gb = min(slot.gpu_memory_mb for slot in self._machine.slots) / 1024
        if wanted.gpu_memory_gb and has_gb < wanted.gpu_memory_gb:
            return f"{demands} {wanted.gpu_memory_gb:g} GB of GPU memory per run, but a slot has {has_gb:.1f} GB"
        return ""

    async def _until_held(self, slot: Slot) -> None:
        """After trouble of our own: wait, and go on when the GPU answers and the sandbox holds."""
        while not self._is_over:
            with anyio.move_on_after(RETRY_AFTER_S):
                await self._draining.wait()
            with suppress(HostTrouble):
                if gauge := await anyio.to_thread.run_sync(self._open_gauge, slot.cuda_index):
                    gauge.close()
                if self._tier in "DE" or (await try_tier(self._tier, settings.runs_dir(self._home))).holds:
                    return

    async def _take_runs(self, place: Slot, keeper: Supervisor, sandbox: Sandbox, terms: Terms) -> None:
        """Take runs until the arena is closed, its next version wants another supervisor, or the worker drains."""
        kinds = [f"run.requested.{lane}" for lane in LANES]
        async with aclosing(self._bus.work("workers", kinds, lease_s=LEASE_S)) as jobs:
            while (delivery := await self._next(jobs, keeper)) is not None:
                try:
                    if self._terms(place) != terms or self._draining.is_set():
                        await delivery.hand_back(0)
                        return
                    await self._take(delivery, terms[1], keeper, sandbox)
                except BaseException as error:
                    trouble = isinstance(leaf(error), HostTrouble)
                    event = delivery.entry.post.event if delivery.entry.post else None
                    if trouble and not isinstance(leaf(error), SupervisorDied) and isinstance(event, RunRequested):
                        self._handed_back[event.run] += 1
                    delay_s = HAND_BACK_S if trouble else 0.0
                    with anyio.move_on_after(2, shield=True), suppress(BusError):
                        await delivery.hand_back(delay_s)
                    raise

    async def _next(self, jobs: AsyncGenerator[Delivery], keeper: Supervisor) -> Delivery | None:
        """Wait for work; None when the arena is closed or the worker drains.

        Raises:
            SupervisorDied: it died while there was nothing to do.
        """
        found: Delivery | None = None
        async with anyio.create_task_group() as tasks:

            async def until_closed() -> None:
                await self._follower.until(lambda board: board.closed is not None)
                tasks.cancel_scope.cancel()

            async def until_draining() -> None:
                await self._draining.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(until_closed)
            tasks.start_soon(until_draining)
            tasks.start_soon(keeper.died)
            if not self._is_over:
                found = await anext(jobs)
            tasks.cancel_scope.cancel()
        return found

    async def _take(self, delivery: Delivery, slot: Slot, keeper: Supervisor, sandbox: Sandbox) -> None:
        post = delivery.entry.post
        request = post.event if post else None
        if post is None or not isinstance(request, RunRequested):
            await delivery.done()
            return
        await self._follower.reached(delivery.entry.seq)
        known = self._follower.board.runs.get(request.run)
        if known is None or known.seq != delivery.entry.seq or known.finished or not self._follower.board.opened:
            await delivery.done()
        elif request.worker_class not in ("any", self._machine.worker_class) or self._unfit():
            await delivery.hand_back(OTHER_CLASS_S)
        elif request.avoid == self.boot and self._declined[request.run] < DECLINE and self._has_others():
            self._declined[request.run] += 1
            await delivery.hand_back(DECLINED_S)
            await anyio.sleep(2 * DECLINED_S)  # else it might be the first to ask again
        elif known.killed:
            outcome = Failed(reason="killed", message="the run was stopped before it began")
            await self._finish(post, delivery, known.attempts, outcome)
        elif self._lost(known) >= MAX_ATTEMPTS:
            text = f"the run was begun {known.attempts} times and no worker finished it"
            await self._finish(post, delivery, known.attempts, Failed(reason="lost", message=text))
        else:
            await self._execute(post, request, delivery, slot, keeper, sandbox)

    def _has_others(self) -> bool:
        """Tell whether other workers of this class are there."""
        others = (m for boot, m in self._follower.board.workers.items() if boot != self.boot and not m.left)
        its_class = self._machine.worker_class
        return any(isinstance(m.joined, WorkerJoined) and m.joined.worker_class == its_class for m in others)

    def _lost(self, run: Run) -> int:
        """Return how many workers died of a run: not those who left in good order, nor our own handing back."""
        workers = self._follower.board.workers
        others = sum(boot != self.boot and not (boot in workers and workers[boot].left) for boot in run.begun)
        return others + run.begun.count(self.boot) - self._handed_back[run.requested.run]

    async def _execute(
        self,
        post: Post,
        request: RunRequested,
        delivery: Delivery,
        slot: Slot,
        keeper: Supervisor,
        sandbox: Sandbox,
    ) -> None:
        # Attempts are those that the log knows of: handing a run back for want of the right device is none.
        attempt = self._follower.board.runs[request.run].attempts + 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_keep_lease, delivery)
            begun = anyio.Event()
            tasks.start_soon(self._begin, post, attempt, slot.device, begun)
            try:
                job = await self._supply.job(request)
            except ObjectMissing as error:
                await begun.wait()
                await self._finish(post, delivery, attempt, Failed(reason="crash", message=str(error)))
            else:
                folder = self._folder / f"{request.run}-{uuid.uuid4().hex[:8]}"
                self._dirty.setdefault(slot.number, set()).add(folder)
                tasks.start_soon(self._kill_when_told, request.run, keeper)
                if not self._draining.is_set():
                    ahead = len(self._machine.slots)
                    tasks.start_soon(self._supply.fetch_ahead, self._machine.worker_class, ahead)
                result = await execute(
                    job,
                    slot,
                    keeper,
                    sandbox,
                    folder,
                    begun=begun,
                    tell=lambda line: self._bus.tell(f"curve.{request.run}", line),
                    killed=lambda: self._follower.board.runs[request.run].killed,
                    gauge=self._open_gauge,
                )
                await self._finish(post, delivery, attempt, result.outcome, result)
                await anyio.to_thread.run_sync(delete, folder)
                self._dirty[slot.number].discard(folder)
            tasks.cancel_scope.cancel()

    async def _begin(self, post: Post, attempt: int, device: str, begun: anyio.Event) -> None:
        """Say that a run begins, before it does: a trial that takes its worker with it counts as an attempt."""
        assert isinstance(post.event, RunRequested)
        started = RunStarted(run=post.event.run, attempt=attempt, worker=self.boot, device=device)
        await self._follower.reached(await self._post(started, cause=post.id))
        begun.set()

    async def _kill_when_told(self, run: str, keeper: Supervisor) -> None:
        await self._follower.until(lambda board: board.runs[run].killed)
        while True:
            await keeper.kill()
            await anyio.sleep(KILL_AGAIN_S)

    async def _finish(
        self, post: Post, delivery: Delivery, attempt: int, outcome: Scored | Failed, result: Result | None = None
    ) -> None:
        request, opened = post.event, self._follower.board.opened
        assert isinstance(request, RunRequested)
        assert opened is not None
        event = RunFinished(
            run=request.run,
            proposal=request.proposal,
            outcome=outcome,
            worker=self.boot,
            worker_class=self._machine.worker_class,
            attempt=max(1, attempt),
            evaluator=opened.evaluator,
            data=opened.data,
            environment=self._machine.environment,
            tier=self._tier,
        )
        if result:
            event = msgspec.structs.replace(
                event,
                curve=result.curve,
                trial_s=round(result.trial.seconds, 3),
                score_s=round(result.score_s, 3),
                cpu_s=round(result.trial.cpu_s, 3),
                peak_memory_mb=round(result.trial.peak_memory_mb, 1),
                peak_gpu_memory_mb=result.gpu.peak_mb,
                gpu_utilisation=result.gpu.utilisation,
                code=result.code,
                data=result.data,
                evaluator=result.evaluator,
                log_tail=result.log_tail,
                cost=Cost(seconds=round(result.trial.seconds + result.score_s, 3)),
            )
        await self._post(event, cause=post.id)
        with suppress(BusError):  # it may come again, and is then seen to be finished
            await delivery.done()

    async def _post(self, event: AnyEvent, *, cause: str = "") -> int:
        """Post a fact, or find that it was posted; return where it stands."""
        try:
            return await self._bus.post(Post.new(self._name, event, cause=cause))
        except AlreadyPosted as already:
            return already.seq


async def _keep_lease(delivery: Delivery) -> None:
    while True:
        await delivery.extend()
        await anyio.sleep(EXTEND_EVERY_S)

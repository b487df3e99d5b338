"""One attempt at a run: what is given is decided on, executed, and posted as finished, while its lease is extended."""

import math
import uuid
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import assert_never

import anyio
import anyio.abc
import anyio.to_thread
import msgspec

from gpu_worker.build_cache import Builds
from gpu_worker.clearing import Clearing
from gpu_worker.exclusive import turn
from gpu_worker.folders import deleted
from gpu_worker.gpu_gauge import Gauge
from gpu_worker.lease import EXTEND_EVERY_S, Tally, hand_back, keep_lease
from gpu_worker.machine import Slot
from gpu_worker.member import Membership
from gpu_worker.prefetch import Prefetch
from gpu_worker.run import EndedRun, Result, RunInputs, execute, lay_out_ahead
from gpu_worker.run_fact import finished
from gpu_worker.sandbox.tiers import Sandbox
from gpu_worker.starts import Starts
from gpu_worker.supervisor.client import Supervisor
from gpu_worker.triage import DECLINED_S, OTHER_CLASS_S, Drop, End, Execute, Leave, Taker, triage
from mesh import frozen_data, settings
from mesh.bounds import MAX_ATTEMPT
from mesh.bus import Delivery
from mesh.disk import DiskWatch
from mesh.errors import BusError, HostTrouble, MeshError, ObjectMissing, leaf
from mesh.events import PROOF, Failed, RunRequested, Scored
from mesh.live_curves import curve_topic
from mesh.wire import Post

KILL_AGAIN_S = 0.3
SHORT_S = 0.5
"""A run of more seconds than this is worth the wait for the next one: who claims that meanwhile keeps it from others.
"""


class Course:
    """How far a slot's run is: its trial has `begun`; it was `measured`, and its folder is still cleared.

    What a run measured is posted, whatever happens then. Where a run that is staged `follows`, that may begin as soon
    as no process of this one lives; this one is then judged beside it.
    """

    def __init__(self) -> None:
        self.begun, self.measured = anyio.Event(), anyio.Event()
        self.taken_at = anyio.current_time()
        self.is_fetched = self.follows = False

    @property
    def is_launched(self) -> bool:
        """Whether the trial needs the server no more: it is in the log that it begins, and its files are here."""
        return self.begun.is_set() and self.is_fetched

    def end(self) -> None:
        """Note that the run needs the slot no more."""
        self.begun.set()
        self.measured.set()


class Staged(msgspec.Struct, frozen=True):
    """What of a run is ready before its turn: its inputs, and its folder, which is closed until then."""

    inputs: RunInputs
    folder: Path


class Attempts:
    """Takes what the queue delivers to one slot.

    Args:
        endings: where the end of a run is posted while the next one begins. They are not cancelled by trouble of the
            slot: what was measured would be lost.
        clearing: deletes the folders of runs; the slot deletes after trouble what it has not.
        gauge: opens the gauge of a GPU by its CUDA index.
    """

    def __init__(
        self,
        member: Membership,
        prefetch: Prefetch,
        tally: Tally,
        slot: Slot,
        supervisor: Supervisor,
        sandbox: Sandbox,
        endings: anyio.abc.TaskGroup,
        clearing: Clearing,
        gauge: Callable[[str], Gauge | None],
    ) -> None:
        self._member, self._prefetch, self._tally = member, prefetch, tally
        self._slot, self._supervisor, self._sandbox = slot, supervisor, sandbox
        self._endings, self._clearing, self._gauge = endings, clearing, gauge
        self._free = anyio.Semaphore(1)
        self._last_s = math.inf
        self._starts = Starts(member, slot.device)

    @property
    def are_short(self) -> bool:
        """Whether the last run was so short that it is worth while to claim and stage the next one during a run."""
        return self._last_s <= SHORT_S and not self._member.board.spec.trial.exclusive

    async def stage(self, delivery: Delivery) -> Staged | None:
        """Fetch and lay out what a delivery needs while another run goes on; None where that cannot be.

        Nothing is posted, and what is wrong with the run is found again in its turn.
        """
        member, post = self._member, delivery.entry.post
        if post is None or not isinstance(post.event, RunRequested) or self._sandbox.tier in "DE":
            return None
        await member.follower.reached(delivery.entry.seq)
        decision = triage(member.board, post.event, delivery.entry.seq, self._taker(post.event.run, delivery))
        if not isinstance(decision, Execute) or member.board.spec.artifact.cache:
            return None
        folder = self._new_folder()
        with suppress(MeshError, OSError):
            inputs = await self._prefetch.inputs(post.event)
            lay_out = partial(lay_out_ahead, inputs, self._sandbox, folder, member.environment)
            if await anyio.to_thread.run_sync(lay_out):
                return Staged(inputs, folder)
        await self._clearing.clear(folder)
        return None

    async def unstage(self, staged: Staged) -> None:
        """Delete what was laid out for a run that another worker gets."""
        await self._clearing.clear(staged.folder)

    async def close_left(self) -> None:
        """Close what an earlier run left to the next one."""
        await self._clearing.close_left()

    def _new_folder(self) -> Path:
        folder = self._member.runs_folder / uuid.uuid4().hex[:16]  # a name that tells the trial nothing
        self._clearing.folders.add(folder)
        return folder

    async def take(self, delivery: Delivery, course: Course, staged: Staged | None = None) -> None:
        """Decide on a delivery and act: execute the run, hand it back, or end it.

        The end of a run that was executed may still be on its way to the log when this returns.

        Args:
            delivery: what the queue has delivered.
            course: told how far the run is.
            staged: what is ready of it.

        Raises:
            HostTrouble: this machine cannot do it; the delivery is to be handed back.
        """
        member, post = self._member, delivery.entry.post
        if post is None or not isinstance(post.event, RunRequested):
            await delivery.done()
            return
        request = post.event
        await member.follower.reached(delivery.entry.seq)
        decision = triage(member.board, request, delivery.entry.seq, self._taker(request.run, delivery))
        if staged and (not isinstance(decision, Execute) or staged.inputs.opened is not member.board.opened):
            await self.unstage(staged)
            staged = None
        if staged is None:
            await self._clearing.close_left()
        match decision:
            case Drop():
                await delivery.done()
            case Leave(delay_s, declined):
                self._tally.declined[request.run] += declined
                await delivery.hand_back(delay_s)
                if declined:
                    await anyio.sleep(2 * DECLINED_S)  # else it might be the first to ask again
            case End(outcome):
                await self._finish(post, request, delivery, member.board.runs[request.run].attempts, outcome)
            case Execute():
                with member.idleness.run():
                    await self._execute(post, request, delivery, course, staged)
            case never:
                assert_never(never)

    def _taker(self, run: str, delivery: Delivery) -> Taker:
        member, tally = self._member, self._tally
        return Taker(
            boot=member.boot,
            name=member.name,
            worker_class=member.machine.worker_class,
            is_fit=not member.unfit() and member.may_begin(),
            has_others=member.has_others(),
            declines=tally.declined[run],
            handed_back=tally.handed_back[run],
            delivered=delivery.attempt,
        )

    async def _execute(
        self, post: Post, request: RunRequested, delivery: Delivery, course: Course, staged: Staged | None
    ) -> None:
        member, scope = self._member, anyio.CancelScope()
        folder = staged.folder if staged else self._new_folder()
        async with anyio.create_task_group() as tasks, AsyncExitStack() as machine:
            tasks.start_soon(keep_lease, delivery)
            alone, waiting = member.board.spec.trial.exclusive, anyio.CancelScope()
            tasks.start_soon(member.tell_of_waiting, waiting, alone)
            tasks.start_soon(member.cancel_without_server, scope, lambda: course.is_launched)
            with scope:
                is_mine = await machine.enter_async_context(turn(alone=alone, gives_up=member.draining.is_set))
                waiting.cancel()
                if is_mine:
                    run = post, request, delivery, course, staged
                    await self._execute_now(*run, folder, machine.aclose)
            waiting.cancel()
            if scope.cancelled_caught or not is_mine:
                await machine.aclose()
                await self._clearing.clear(folder)
                await delivery.hand_back(0)
            tasks.cancel_scope.cancel()

    async def _execute_now(
        self,
        post: Post,
        request: RunRequested,
        delivery: Delivery,
        course: Course,
        staged: Staged | None,
        folder: Path,
        leave: Callable[[], Awaitable[None]],
    ) -> None:
        """Execute a run; `leave` gives the machine to others before anything waits for the server again."""
        member = self._member
        # Attempts are those in the log: a run that was handed back for want of the right device has none.
        attempt = min(member.board.runs[request.run].attempts + 1, MAX_ATTEMPT)
        async with anyio.create_task_group() as tasks:
            begun = course.begun
            tasks.start_soon(self._begin, post, request, attempt, begun)
            try:
                inputs = staged.inputs if staged else await self._prefetch.inputs(request)
                trials = bisect_left(member.board.judged, delivery.entry.seq)
                inputs = msgspec.structs.replace(inputs, trials=trials)
                course.is_fetched = True
            except ObjectMissing as error:
                course.is_fetched = True
                await begun.wait()
                await leave()
                missing = Failed(reason="crash", message=str(error))
                await self._finish(post, request, delivery, attempt, missing, taken_at=course.taken_at)
            else:
                tasks.start_soon(self._kill_when_stopped, request.run)
                disk = DiskWatch(folder)
                tasks.start_soon(disk.follow)
                if not member.draining.is_set() and not self.are_short:
                    machine = member.machine
                    tasks.start_soon(self._prefetch.fetch_ahead, machine.worker_class, len(machine.slots))
                with member.judging(request.run) as judge:
                    measured = await execute(
                        inputs,
                        self._slot,
                        self._supervisor,
                        self._sandbox,
                        folder,
                        begun=begun,
                        tell=lambda line: member.bus.tell(curve_topic(request.run, member.name), line),
                        killed=lambda: member.board.runs[request.run].killed,
                        gauge=self._gauge,
                        environment=member.environment,
                        judge=judge,
                        builds=Builds(
                            settings.builds_dir(member.home),
                            settings.runs_dir(member.home) / "artifact",
                            member.machine.environment,
                        ),
                        in_thread=self._clearing.in_thread,
                        is_laid_out=staged is not None,
                    )
                self._last_s = measured.seconds
                end = partial(self._end, post, request, delivery, attempt, course.taken_at)
                judged = partial(self._judged, measured, inputs, folder, disk)
                if course.follows:
                    await leave()
                if await self._may_leave(course):
                    self._endings.start_soon(end, judged, self._clearing.leave(folder))
                    course.measured.set()
                else:
                    result = await judged()
                    await leave()
                    await self._free.acquire()
                    self._endings.start_soon(end, result)
                    course.measured.set()
                    await self._clearing.clear(folder)
            tasks.cancel_scope.cancel()

    async def _may_leave(self, course: Course) -> bool:
        """Tell whether the next run may begin before this one is judged, once earlier ones are posted and deleted."""
        if not course.follows:
            return False
        await self._free.acquire()
        await self._clearing.begin_to_leave()
        if not course.follows:  # it was given back meanwhile
            self._free.release()
            self._clearing.rather_not()
        return course.follows

    async def _judged(self, measured: EndedRun, inputs: RunInputs, folder: Path, disk: DiskWatch) -> Result:
        """Judge what a run left.

        Raises:
            HostTrouble: it failed, and perhaps because of this machine.
        """
        result = await measured.judge()
        if isinstance(result.outcome, Failed):
            if trouble := disk.full() or deleted(folder, self._sandbox):
                raise HostTrouble(trouble)  # it says nothing about the proposal
            if not await frozen_data.is_intact(inputs.data):
                raise HostTrouble(f"the prepared data in {inputs.data} changed while a run used it")
        return result

    async def _begin(self, post: Post, request: RunRequested, attempt: int, begun: anyio.Event) -> None:
        """Post that a run begins, before it does: a trial that kills its worker counts as an attempt."""
        await self._starts.post(post, request, attempt)
        begun.set()

    async def _kill_when_stopped(self, run: str) -> None:
        await self._member.follower.until(lambda board: board.runs[run].killed)
        while True:
            await self._supervisor.kill()
            await anyio.sleep(KILL_AGAIN_S)

    async def _end(
        self,
        post: Post,
        request: RunRequested,
        delivery: Delivery,
        attempt: int,
        taken_at: float,
        found: Result | Callable[[], Awaitable[Result]],
        is_judged: anyio.Event | None = None,
    ) -> None:
        """Post what a run has measured, judged first where it is not; its lease is extended meanwhile.

        Raises:
            HostTrouble: it could not be judged, and is handed back.
        """
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(keep_lease, delivery, EXTEND_EVERY_S)
                try:
                    result = found if isinstance(found, Result) else await found()
                except BaseException as error:
                    await hand_back(self._tally, delivery, leaf(error))
                    raise
                finally:
                    if is_judged:
                        is_judged.set()
                if result.items and request.lane in PROOF:  # before the fact: whoever reads that finds them
                    await self._member.bus.put(result.items.fact.sha256, result.items.data)
                await self._finish(post, request, delivery, attempt, result.outcome, result, taken_at)
                tasks.cancel_scope.cancel()
        finally:
            self._free.release()

    async def _finish(
        self,
        post: Post,
        request: RunRequested,
        delivery: Delivery,
        attempt: int,
        outcome: Scored | Failed,
        result: Result | None = None,
        taken_at: float | None = None,
    ) -> None:
        if not await self._starts.may_end(post, request, outcome):
            await delivery.hand_back(OTHER_CLASS_S)  # others may have it
            return
        seconds = 0.0 if taken_at is None else anyio.current_time() - taken_at
        finish = finished(self._member, request, attempt, outcome, result, seconds)
        await self._member.post(finish, cause=post.id)
        self._member.figures.add(finish)
        with suppress(BusError):  # it may be delivered again, and is then seen to be finished
            await delivery.done()

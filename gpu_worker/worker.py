"""A worker: joins an arena, takes runs in each of its slots, leaves.

A lease is extended while a trial runs. Where a worker is believed dead, a second attempt may run beside the first; the
first `run.finished` in the log counts, and the other worker learns of it when it posts. A worker that drains takes no
more runs, finishes those that it has begun, and leaves. One that was cut off, so that others counted it as gone, does
so too, and then joins again in a new life. One whose machine is taken away says so and hands its runs back at once.
"""

import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from gpu_worker.cleanup import clear_leftovers
from gpu_worker.folders import enterable_folders
from gpu_worker.lease import Tally
from gpu_worker.machine import Machine, survey
from gpu_worker.member import Membership
from gpu_worker.own_metrics import WorkerFigures
from gpu_worker.prefetch import Prefetch
from gpu_worker.sandbox.tiers import Tier
from gpu_worker.sandbox_choice import Wish, choose_tier, starts_cuda
from gpu_worker.slot_loop import SlotLoop
from mesh import settings
from mesh.bus import ArenaBus
from mesh.errors import BadInput, BusError, leaf
from mesh.events import NotePosted, WorkerLeft
from mesh.file_trees import delete
from mesh.machine_price import UNKNOWN_PRICE, MachinePrice, from_table
from mesh.money import GHOSTS_S, must_end, why_unpaid
from mesh.roll_call import answer_roll_call
from mesh.silent import report_silent
from mesh.times import duration

_LOOK_EVERY_S = 2.0
"""Seconds between two looks at what is left of a budget."""

_LEAVE_WITHIN_S = 1.0
"""Seconds that a worker whose machine is taken away tries to say so, before it hands its runs back."""


async def run_worker(
    bus: ArenaBus,
    *,
    name: str,
    slots: int | None = None,
    slots_per_gpu: int = 1,
    device: str = "auto",
    home: Path,
    sandbox: Wish = "auto",
    price: MachinePrice = UNKNOWN_PRICE,
    draining: anyio.Event | None = None,
    preempted: anyio.Event | None = None,
    idle_stop_s: float | None = None,
    figures: WorkerFigures | None = None,
    on_ready: Callable[[], None] | None = None,
) -> str:
    """Take runs of an arena until it is closed; return why it ended. Cancelling hands the runs back.

    Args:
        bus: the arena.
        name: its name on the board.
        slots: runs at a time; by default one per GPU, or one per core.
        slots_per_gpu: runs at a time on one GPU.
        device: `auto`, `cpu` or `cuda`.
        home: folder of caches and runs.
        sandbox: whether a weaker sandbox, or none, may be used where no strong one holds.
        price: what the machine costs; where that is known, runs carry their cost in dollars.
        draining: once set, the worker ends when the runs that it has begun are finished.
        preempted: once set, the worker hands its runs back at once and ends: its machine is taken away.
        idle_stop_s: the worker ends when it has had no run for so many seconds; None for never.
        figures: what the worker tells Prometheus of itself.
        on_ready: called once it has joined.

    Raises:
        BadInput: the device, the number of slots, the price or the source of the task's environment is not valid, or
            the price is not known in an arena with a budget of dollars.
        BusError: the log cannot be reached, or refuses us.
        HostTrouble: no sandbox that is allowed here, or strong enough for the arena, holds on this machine.
    """
    machine = await anyio.to_thread.run_sync(survey, device, slots, slots_per_gpu)
    gpus = len({slot.cuda_index for slot in machine.slots})
    price = from_table(price, home, device=machine.device, memory_mb=machine.memory_mb, gpus=gpus)
    cuda = await anyio.to_thread.run_sync(starts_cuda, machine)
    tier, _ = await choose_tier(sandbox, settings.runs_dir(home), cuda=cuda)
    draining, preempted = draining or anyio.Event(), preempted or anyio.Event()
    with enterable_folders():
        while True:
            worker = Worker(
                bus,
                name,
                home,
                machine,
                tier,
                draining,
                price=price,
                preempted=preempted,
                idle_stop_s=idle_stop_s,
                figures=figures,
            )
            why = await worker.live(on_ready)
            if not worker.counted_as_gone or draining.is_set():
                return why
            on_ready = None


class Worker:
    """One life of a worker on one arena; `nvml` is what stands in for pynvml in a test."""

    nvml: Any = None

    def __init__(
        self,
        bus: ArenaBus,
        name: str,
        home: Path,
        machine: Machine,
        tier: Tier,
        draining: anyio.Event,
        *,
        price: MachinePrice = UNKNOWN_PRICE,
        preempted: anyio.Event | None = None,
        idle_stop_s: float | None = None,
        figures: WorkerFigures | None = None,
    ) -> None:
        self.boot = uuid.uuid4().hex
        self.counted_as_gone = self._is_idle = self._has_left = False
        self.unpaid, self._at_end = "", anyio.Event()
        self._preempted, self._idle_stop_s = preempted or anyio.Event(), idle_stop_s
        self._asked_to_drain, leaving = draining, anyio.Event()
        self._member = Membership(bus, self.boot, name, home, machine, tier, leaving, price, figures)
        self._prefetch = Prefetch(bus, home, lambda: self._member.board)

    async def live(self, on_ready: Callable[[], None] | None = None) -> str:
        """Join, serve every slot, leave; return why it ended."""
        member = self._member
        await self._prepare()
        if member.board.closed or self._preempted.is_set():
            return self._why()
        if unpaid := self._unpaid():
            raise BadInput(unpaid)
        if unfit := member.unfit():
            await member.tell_of_lack(unfit)
            raise member.trouble(unfit)
        await anyio.to_thread.run_sync(clear_leftovers, settings.runs_dir(member.home))
        await member.post(member.joined())
        if on_ready:
            on_ready()
        tally = Tally()
        try:
            async with anyio.create_task_group() as following:
                following.start_soon(member.follower.follow)
                following.start_soon(answer_roll_call, member.bus, self.boot, member.name)
                following.start_soon(report_silent, member.bus, member.follower, self.boot)
                following.start_soon(self._drain_when_asked)
                following.start_soon(self._drain_when_counted_as_gone)
                following.start_soon(self._drain_when_idle)
                following.start_soon(self._watch_money)
                following.start_soon(self._watch_end)
                async with anyio.create_task_group() as tasks:
                    for taken_away in (self._preempted, self._at_end):
                        following.start_soon(self._hand_back, taken_away, tasks.cancel_scope)
                    for slot in member.machine.slots:
                        tasks.start_soon(SlotLoop(member, self._prefetch, tally, slot, self.nvml).serve)
                following.cancel_scope.cancel()
        finally:
            if not self._has_left:
                with anyio.move_on_after(3, shield=True), suppress(BusError):
                    await member.post(WorkerLeft(boot=self.boot, reason=self._reason()))
            member.close()
            delete(member.runs_folder)
        return self.unpaid or self._why()

    async def _prepare(self) -> None:
        """Learn where the arena stands and find its environment; end early where the machine is taken away."""
        try:
            async with anyio.create_task_group() as preparing:
                preparing.start_soon(self._cancel_when_preempted, preparing.cancel_scope)
                await self._member.follower.catch_up()
                if not self._member.board.closed:
                    await self._member.find_environment()
                preparing.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise leaf(group) from None

    async def _drain_when_asked(self) -> None:
        await self._asked_to_drain.wait()
        self._member.draining.set()

    async def _drain_when_counted_as_gone(self) -> None:
        await self._member.follower.until(lambda board: self.boot in board.workers and board.workers[self.boot].left)
        if not self._preempted.is_set() and not self._at_end.is_set():
            self.counted_as_gone = True
            self._member.draining.set()

    async def _cancel_when_preempted(self, scope: anyio.CancelScope) -> None:
        await self._preempted.wait()
        scope.cancel()

    async def _drain_when_idle(self) -> None:
        if self._idle_stop_s is not None:
            await self._member.idleness.until_idle(self._idle_stop_s)
            self._is_idle = True
            self._member.draining.set()

    async def _hand_back(self, taken_away: anyio.Event, scope: anyio.CancelScope) -> None:
        """Leave, then hand back what the slots have: so the log says first that no attempt of this worker counts."""
        await taken_away.wait()
        with anyio.move_on_after(_LEAVE_WITHIN_S), suppress(BusError):
            await self._member.post(WorkerLeft(boot=self.boot, reason=self._reason()))
            self._has_left = True
        scope.cancel()

    async def _watch_money(self) -> None:
        """Drain where the budget does not pay for this worker; one without a price stays, and says why it is idle.

        Before it drains, it waits until somebody may have found out that a worker which still counts was killed.
        """
        member = self._member
        while not self.unpaid:
            await member.follower.until(lambda board: self.boot in board.workers and bool(self._unpaid()))
            if member.price.per_hour_usd is None:
                await member.post(NotePosted(channel="ops", text=f"takes no more runs: {self._unpaid()}"))
                return
            with anyio.move_on_after(GHOSTS_S):
                await member.follower.until(lambda board: not self._unpaid())
            self.unpaid = self._unpaid()
        member.draining.set()

    async def _watch_end(self) -> None:
        """Hand everything back before the money is gone, whatever this worker does: building, fetching or nothing."""
        member = self._member
        while not (member.price.per_hour_usd and must_end(member.board, member.clock.now(member.board))):
            await anyio.sleep(_LOOK_EVERY_S)
        self.unpaid = f"the budget of arena {member.bus.arena} is used up"
        self._at_end.set()

    def _unpaid(self) -> str:
        member = self._member
        return why_unpaid(member.board, member.name, self.boot, member.price.per_hour_usd)

    def _reason(self) -> str:
        if self._member.board.closed:
            return "arena closed"
        if self._preempted.is_set():
            return "preempted"
        if self._at_end.is_set():
            return "budget"
        if self._is_idle:
            return "idle"
        return "drained" if self._member.draining.is_set() else "stopped"

    def _why(self) -> str:
        """Return why the worker ended, for people."""
        match self._reason():
            case "preempted":
                return "preempted: its machine is taken away; its runs go to other workers"
            case "idle":
                return f"had no run for {duration(self._idle_stop_s or 0)} (--idle-stop)"
            case _:
                return self._member.why_over()

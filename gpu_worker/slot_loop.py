"""The loop of one slot: keep a supervisor, take runs, and after trouble of this machine wait until it works again."""

from collections.abc import AsyncGenerator
from contextlib import aclosing, closing, nullcontext, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread

from gpu_worker.attempt import Attempts, Course, Staged
from gpu_worker.cleanup import claim_folder
from gpu_worker.clearing import Clearing
from gpu_worker.folders import clear
from gpu_worker.gpu_gauge import Gauge, open_gauge
from gpu_worker.launch import slot_environment, supervisor_options
from gpu_worker.lease import EXTEND_EVERY_S, Tally, hand_back, keep_lease
from gpu_worker.machine import Slot, capped
from gpu_worker.member import Membership
from gpu_worker.prefetch import Prefetch, has_spare_run, next_runs
from gpu_worker.sandbox.tiers import Sandbox, sandbox_of
from gpu_worker.sandbox_choice import starts_cuda, try_tier
from gpu_worker.supervisor.client import Supervisor, SupervisorDied, start_supervisor
from mesh import settings
from mesh.board import Board
from mesh.bus import LEASE_S, REQUESTS, WORKERS, Delivery
from mesh.disk import SCARCE_BELOW_BYTES, full_disk
from mesh.errors import HostTrouble, leaf
from mesh.events import NotePosted
from mesh.spec import EnvironmentSpec

RETRY_AFTER_S = 3.0
FIRST_REST_S = 0.1
HOLD_S, _LOOK_EVERY_S = 1.0, 0.1
"""Seconds that a run waits at most in a slot where another one goes on, and after which the slot looks at it again."""

Terms = tuple[tuple[str, ...], Slot, tuple[str, ...], EnvironmentSpec]
"""What the arena asks of a supervisor: modules to import, the slot with its cap of GPU memory, options, environment."""


class Claim:
    """A run that a slot has been given, and what of it is ready."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.staged: Staged | None = None


class SlotLoop:
    """Serves one slot of a worker; `nvml` is pynvml, or what stands in for it in a test."""

    def __init__(self, member: Membership, prefetch: Prefetch, tally: Tally, slot: Slot, nvml: Any = None) -> None:
        self._member, self._prefetch, self._tally = member, prefetch, tally
        self._slot, self._nvml = slot, nvml
        self._folders = set[Path]()
        self._told = ""

    async def serve(self) -> None:
        """Take runs until the arena is closed or the worker drains.

        The driver of a GPU stays open meanwhile, so that it does not start again for every run.
        """
        deaths, sandbox = 0, await self._own_sandbox()
        while sandbox and not self._member.is_over:
            await self._member.find_environment()
            if unfit := self._member.unfit():
                await self._tell(f"leaves its runs to others: {unfit}")
            if self._is_idle(self._member.board):
                await self._until_wanted()
                continue
            preload, slot, options, _ = terms = self._terms(sandbox)
            python = self._member.environment.python
            began = anyio.current_time()
            try:
                gauge = await anyio.to_thread.run_sync(self._open_gauge, slot.cuda_index)
                with closing(gauge) if gauge else nullcontext():
                    env = self._member.environment.variables | slot_environment(slot)
                    async with start_supervisor(preload, env, options=options, python=python) as supervisor:
                        await anyio.to_thread.run_sync(claim_folder, self._member.runs_folder, supervisor.token)
                        await self._take_runs(supervisor, sandbox, terms)
            except* HostTrouble as group:
                trouble = leaf(group)
                await self._tell(f"handed its run back: {trouble}")
                if isinstance(trouble, SupervisorDied):
                    # One death is a trial's deed and costs no time; a supervisor that dies again and again is ill.
                    deaths = deaths + 1 if anyio.current_time() - began < RETRY_AFTER_S else 0
                    await self._pause(min(RETRY_AFTER_S, FIRST_REST_S * 2**deaths) if deaths > 1 else 0)
                else:
                    await self._until_healthy(slot)
            finally:
                with anyio.CancelScope(shield=True):
                    for folder in list(self._folders):
                        await anyio.to_thread.run_sync(clear, folder, sandbox)
                self._folders.clear()

    async def _own_sandbox(self) -> Sandbox | None:
        """Return the sandbox of this slot once this machine can give one; None where no more runs are taken."""
        while not self._member.is_over:
            try:
                return sandbox_of(self._member.tier)
            except HostTrouble as trouble:
                await self._tell(f"takes no runs: {trouble}")
            await self._pause(RETRY_AFTER_S)
        return None

    async def _tell(self, what: str) -> None:
        """Tell people what troubles this slot, once."""
        if what != self._told:
            self._told = what
            text = f"worker {self._member.name} slot {self._slot.number} {what}"
            await self._member.post(NotePosted(channel="ops", text=text))

    def _is_idle(self, board: Board) -> bool:
        """Tell whether another slot takes all runs: those of an exclusive arena run one at a time."""
        return self._slot.number > 0 and board.opened is not None and board.spec.trial.exclusive

    async def _until_wanted(self) -> None:
        """Wait until the arena is no longer exclusive, or the worker drains."""
        async with anyio.create_task_group() as tasks:

            async def until_draining() -> None:
                await self._member.draining.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(until_draining)
            await self._member.follower.until(lambda board: board.closed is not None or not self._is_idle(board))
            tasks.cancel_scope.cancel()

    def _terms(self, sandbox: Sandbox) -> Terms:
        opened = self._member.board.opened
        if opened is None:
            return (), self._slot, supervisor_options(sandbox), EnvironmentSpec()
        slot = capped(self._slot, opened.spec.worker.gpu_memory_gb)
        preload = (*opened.spec.trial.preload, *self._member.ahead)
        return preload, slot, supervisor_options(sandbox, opened.spec), opened.spec.environment

    async def _take_runs(self, supervisor: Supervisor, sandbox: Sandbox, terms: Terms) -> None:
        """Take runs until no more are taken, or the arena's next version wants another supervisor."""
        trouble: BaseException | None = None
        async with anyio.create_task_group() as endings:
            try:
                await self._take_each(supervisor, sandbox, terms, endings)
            except* HostTrouble as group:
                trouble = leaf(group)  # the ends of earlier runs are posted all the same
        if trouble:
            raise trouble

    async def _take_each(
        self, supervisor: Supervisor, sandbox: Sandbox, terms: Terms, endings: anyio.abc.TaskGroup
    ) -> None:
        async with anyio.create_task_group() as tasks:
            attempts = Attempts(
                self._member,
                self._prefetch,
                self._tally,
                terms[1],
                supervisor,
                sandbox,
                endings,
                Clearing(tasks, self._folders, sandbox),
                self._open_gauge,
            )
            work = self._member.bus.work(WORKERS, REQUESTS, lease_s=LEASE_S, first=self._next_kind)
            async with aclosing(work) as deliveries:
                delivery = await self._next(deliveries, supervisor)
                claim = Claim(delivery) if delivery else None
                while claim is not None:
                    is_over = self._member.draining.is_set() or self._is_idle(self._member.board)
                    if is_over or self._terms(sandbox) != terms:
                        await hand_back(self._tally, claim.delivery)
                        await attempts.close_left()
                        return
                    claim = await self._take_and_ask(attempts, claim, deliveries, supervisor)

    def _next_kind(self) -> str:
        """Return the kind of the request that is next, so that claims and champion are run in turns."""
        following = next_runs(self._member.board, self._member.machine.worker_class, 1)
        return f"run.requested.{following[0].lane}" if following else ""

    async def _take_and_ask(
        self, attempts: Attempts, claim: Claim, deliveries: AsyncGenerator[Delivery], supervisor: Supervisor
    ) -> Claim | None:
        """Take a claim and return the next one, None where `_next` gives none.

        It is asked for while the run is cleared away, or while the run goes on: where runs are short, and more of them
        wait than slots of the fleet are idle. Then it is staged, and given back if the run takes long.
        """
        course, asked = Course(), anyio.Event()
        following: Claim | None = None

        async def ask() -> None:
            nonlocal following
            if attempts.are_short and await self._until_spare(course):
                delivery = await self._next(deliveries, supervisor)
                following = Claim(delivery) if delivery else None
                if following is None or await self._held(attempts, following, course, asked):
                    asked.set()
                    return
                given_back, following = following, None
                await hand_back(self._tally, given_back.delivery)
                if given_back.staged:
                    await attempts.unstage(given_back.staged)
            await course.measured.wait()
            delivery = await self._next(deliveries, supervisor)
            following = Claim(delivery) if delivery else None
            asked.set()
            if delivery:
                await keep_lease(delivery, EXTEND_EVERY_S)

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await attempts.take(claim.delivery, course, claim.staged)
                course.end()
                if not course.follows:
                    await asked.wait()
                tasks.cancel_scope.cancel()
        except BaseException as error:
            if not course.measured.is_set():
                await hand_back(self._tally, claim.delivery, leaf(error))
            if following:
                await hand_back(self._tally, following.delivery)
            raise
        return following

    async def _until_spare(self, course: Course) -> bool:
        """Wait while the run goes on until a run waits that no idle slot takes; return whether there is one."""
        await course.begun.wait()
        async with anyio.create_task_group() as tasks:

            async def until_measured() -> None:
                await course.measured.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(until_measured)
            await self._member.follower.until(has_spare_run)
            tasks.cancel_scope.cancel()
        return not course.measured.is_set()

    async def _held(self, attempts: Attempts, claim: Claim, course: Course, asked: anyio.Event) -> bool:
        """Stage a claim and keep its lease, for good once the run is measured; return False where that takes long."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep_lease, claim.delivery, EXTEND_EVERY_S)
            until = anyio.current_time() + HOLD_S
            claim.staged = await attempts.stage(claim.delivery)
            course.follows = claim.staged is not None
            while not course.measured.is_set():
                with anyio.move_on_after(_LOOK_EVERY_S):
                    await course.measured.wait()
                    break
                if anyio.current_time() > until or not has_spare_run(self._member.board):
                    course.follows = False
                    tasks.cancel_scope.cancel()
                    return False
            asked.set()
            await anyio.sleep_forever()
        return True

    async def _next(self, deliveries: AsyncGenerator[Delivery], supervisor: Supervisor) -> Delivery | None:
        """Wait for a delivery; None when the arena is closed or the worker drains.

        Raises:
            SupervisorDied: it died while there was nothing to do.
        """
        found: Delivery | None = None
        try:
            async with anyio.create_task_group() as tasks:

                async def until_closed() -> None:
                    await self._member.follower.until(lambda board: board.closed is not None)
                    tasks.cancel_scope.cancel()

                async def until_draining() -> None:
                    await self._member.draining.wait()
                    tasks.cancel_scope.cancel()

                tasks.start_soon(until_closed)
                tasks.start_soon(until_draining)
                tasks.start_soon(supervisor.died)
                if not self._member.is_over:
                    found = await anext(deliveries)
                tasks.cancel_scope.cancel()
        except BaseException:
            if found:  # it came at the very moment of the trouble: nobody else would get it until its lease ends
                await hand_back(self._tally, found)
            raise
        return found

    async def _until_healthy(self, slot: Slot) -> None:
        """Wait until the disk has room, the GPU answers and the sandbox holds."""
        member = self._member
        while not member.is_over:
            await self._pause(RETRY_AFTER_S)
            if full_disk(member.home, SCARCE_BELOW_BYTES):
                continue
            with suppress(HostTrouble):
                if gauge := await anyio.to_thread.run_sync(self._open_gauge, slot.cuda_index):
                    gauge.close()
                cuda = await anyio.to_thread.run_sync(starts_cuda, member.machine)
                runs = settings.runs_dir(member.home)
                if member.tier in "DE" or (await try_tier(member.tier, runs, cuda=cuda)).holds:
                    return

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than until the worker drains."""
        with anyio.move_on_after(seconds):
            await self._member.draining.wait()

    def _open_gauge(self, device: str) -> Gauge | None:
        alone = sum(slot.cuda_index == device for slot in self._member.machine.slots) == 1
        return open_gauge(device, alone=alone, library=self._nvml)

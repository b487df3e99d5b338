"""This worker as a member of the swarm: what it is, where the arena stands, and how it posts."""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, aclosing, nullcontext
from pathlib import Path

import anyio
import anyio.to_thread

from gpu_worker.idleness import Idleness
from gpu_worker.judge.proxy import JudgeProxy, open_judge
from gpu_worker.judge.session import Session
from gpu_worker.launch import has_own_network
from gpu_worker.machine import Machine
from gpu_worker.own_metrics import WorkerFigures
from gpu_worker.sandbox.tiers import Tier, sandbox_of
from gpu_worker.supervisor.protocol import PERHAPS
from gpu_worker.task_environment import TaskEnvironment, task_environment, why_unusable
from mesh import settings
from mesh.board import Board
from mesh.built_environment import build_environment
from mesh.bus import ArenaBus
from mesh.code import CodeStore
from mesh.errors import BadInput, HostTrouble, MeshError, ObjectMissing
from mesh.events import AnyEvent, NotePosted, WorkerJoined
from mesh.follow import Follower
from mesh.log_clock import LogClock
from mesh.machine_price import UNKNOWN_PRICE, MachinePrice
from mesh.money import may_begin, why_unpaid
from mesh.settings import host, owner
from mesh.spec import ArenaSpec
from mesh.task_imports import imported_modules
from mesh.wire import Pattern, Post

LONG_WAIT_S, TELL_AGAIN_S = 10.0, 600.0
"""After so long people are told that a run waits for the machine, and not again so soon."""

LATELY, LONGEST_LACK = 5000, 2000
"""Entries among which a worker that lacks something looks whether others of its class have told it already, and the
most characters with which it does.
"""

LOOK_AFTER_S, ANSWERS_WITHIN_S = 5.0, 15.0
"""Seconds without a trial after which a run asks whether the server is there, and in which that has to answer. A new
leader of the server takes less."""


class Membership:
    """One life of a worker on one arena; `boot` names that life.

    Args:
        name: its name on the board.
        home: folder of caches and runs.
        tier: the sandbox that its trials run in.
        draining: once set, the worker takes no more runs.
        price: what the whole machine costs.
        figures: what it tells Prometheus of itself.
    """

    def __init__(
        self,
        bus: ArenaBus,
        boot: str,
        name: str,
        home: Path,
        machine: Machine,
        tier: Tier,
        draining: anyio.Event,
        price: MachinePrice = UNKNOWN_PRICE,
        figures: WorkerFigures | None = None,
    ) -> None:
        self.bus, self.boot, self.name, self.home = bus, boot, name, home
        self.machine, self.tier, self.draining = machine, tier, draining
        self.price, self.clock = price, LogClock()
        swarm = bus if settings.takes_boards() else None
        self.follower = Follower(bus, snapshot=settings.snapshot_file(home, bus.arena), swarm=swarm)
        self.runs_folder = settings.runs_dir(home) / boot
        self.environment = TaskEnvironment()
        self._environment_of: int | None = None
        self._no_environment = ""
        self.trouble: type[MeshError] = HostTrouble
        """The kind of error that `unfit` is: the machine's fault, or that of what the arena wants to have built."""
        self.ahead: tuple[str, ...] = ()
        """Modules that an evaluator imports, if the interpreter of the task has them."""
        self._finding = anyio.Lock()
        self._judges: list[JudgeProxy | None] = [None]
        self._told_of_waiting = -math.inf
        self.idleness, self.figures = Idleness(), figures or WorkerFigures()
        self.figures.name, self.figures.worker_class = name, machine.worker_class
        self.figures.slots, self.figures.idleness, self.figures.unfit = len(machine.slots), self.idleness, self.unfit

    @property
    def board(self) -> Board:
        """Where the arena stands."""
        return self.follower.board

    @property
    def is_over(self) -> bool:
        """Whether no more runs are taken."""
        return self.board.closed is not None or self.draining.is_set()

    def why_over(self) -> str:
        """Return why the worker ended, for people."""
        return f"arena {self.bus.arena} is closed" if self.board.closed else "drained"

    async def find_environment(self) -> None:
        """Find what the arena's `[environment]` names on this machine, once for each version of the arena."""
        async with self._finding:
            opened = self.board.opened
            if opened is None or opened.version == self._environment_of:
                return
            found, why, self.trouble = TaskEnvironment(), "", HostTrouble
            try:
                wanted, built, self.ahead = opened.spec.environment, None, ()
                if wanted.requirements or wanted.lock or (wanted.python and not opened.spec.trial.command):
                    files = await CodeStore(settings.code_dir(self.home, self.bus.arena), self.bus).files(
                        opened.base_commit
                    )
                    if wanted.requirements or wanted.lock:
                        self.trouble = BadInput
                        built = await build_environment(wanted, files, settings.environments_dir(), self._say)
                        self.trouble = HostTrouble
                    self.ahead = _imports_of(opened.spec, files)
                found = await anyio.to_thread.run_sync(task_environment, wanted, self.tier, [self.home], built)
                self._judges.append(
                    await anyio.to_thread.run_sync(
                        open_judge, opened.spec.judge, settings.judge_dir(self.home, self.bus.arena)
                    )
                )
                if not found.is_own and self.tier in "ABC":
                    why = await why_unusable(found, sandbox_of(self.tier), self.runs_folder / "environment")
            except (BadInput, HostTrouble, ObjectMissing) as error:
                why = str(error)
            self.environment, self._no_environment, self._environment_of = found, why, opened.version

    def judging(self, run: str) -> AbstractContextManager[Session | None]:
        """Return a context in which the scoring of a run may ask the arena's models; None where it has none."""
        judge = self._judges[-1]
        if judge is None:
            return nullcontext()
        return judge.session(run, has_own_network=has_own_network(self.tier, self.board.spec))

    def close(self) -> None:
        """End what serves the runs of this life."""
        for judge in filter(None, self._judges):
            judge.close()
        self._judges = [None]

    async def tell_of_waiting(self, scope: anyio.CancelScope, alone: bool) -> None:
        """Tell people why a run waits for the machine, if it still does after `LONG_WAIT_S`; at most once in a while.

        Args:
            scope: cancelled when the run has the machine.
            alone: whether the run waits to be alone, or for one that is.
        """
        with scope:
            await anyio.sleep(LONG_WAIT_S)
            if anyio.current_time() < self._told_of_waiting + TELL_AGAIN_S:
                return
            self._told_of_waiting = anyio.current_time()
            why = (
                "waits to be alone (trial.exclusive): runs of other arenas of this user go on on this machine"
                if alone
                else "waits for a run of another arena on this machine that is to be alone (trial.exclusive)"
            )
            await self._say(f"{why}; times would be wrong otherwise")

    async def cancel_without_server(self, scope: anyio.CancelScope, is_launched: Callable[[], bool]) -> None:
        """Cancel what holds the machine or waits for it where the server is gone: no trial would begin meanwhile.

        Args:
            scope: what to cancel.
            is_launched: whether the trial needs the server no more; then this ends.
        """
        while True:
            await anyio.sleep(LOOK_AFTER_S)
            if is_launched():
                return
            with anyio.move_on_after(ANSWERS_WITHIN_S) as asking:
                await self.bus.head()
            if asking.cancelled_caught and not is_launched():
                scope.cancel()
                return

    async def tell_of_lack(self, unfit: str) -> None:
        """Tell people why this worker does not join, unless one of its class did so lately: a fleet tries again."""
        text = f"a worker of class {self.machine.worker_class} does not join: {unfit}"[:LONGEST_LACK]
        after = max(0, self.board.seq - LATELY)
        async with aclosing(self.bus.read(after, only=[Pattern("note.posted")])) as batches:
            async for batch in batches:
                for entry in batch:
                    if entry.post and isinstance(entry.post.event, NotePosted) and entry.post.event.text == text:
                        return
        await self.bus.post(Post.new(self.name, NotePosted(channel="ops", text=text)))

    async def _say(self, what: str) -> None:
        await self.post(NotePosted(channel="ops", text=f"worker {self.name} {what}"))

    def unfit(self) -> str:
        """Return why this worker may not run the arena (its sandbox, memory, environment, price), "" where it may."""
        if self.board.opened is None:
            return ""
        if unpaid := why_unpaid(self.board, self.name, self.boot, self.price.per_hour_usd):
            return unpaid
        wanted, demands = self.board.spec.worker, f"arena {self.bus.arena} demands"
        if self.tier > wanted.tier:
            return f"{demands} sandbox tier {wanted.tier}, but this worker has tier {self.tier}"
        if self.board.spec.trial.network == "loopback" and self.tier in "BCD":
            return f"{demands} a loopback network for trials alone, which only sandbox tier A has, not tier {self.tier}"
        has_gb = min(slot.gpu_memory_mb for slot in self.machine.slots) / 1024
        if wanted.gpu_memory_gb and has_gb < wanted.gpu_memory_gb:
            return f"{demands} {wanted.gpu_memory_gb:g} GB of GPU memory per run, but a slot has {has_gb:.1f} GB"
        return f"arena {self.bus.arena} cannot run here: {self._no_environment}" if self._no_environment else ""

    def joined(self) -> WorkerJoined:
        """Return the fact that this worker takes runs."""
        return WorkerJoined(
            boot=self.boot,
            worker_class=self.machine.worker_class,
            device=self.machine.device,
            slots=1 if self.board.opened and self.board.spec.trial.exclusive else len(self.machine.slots),
            memory_mb=self.machine.memory_mb,
            price_per_hour_usd=self.price.per_hour_usd,
            tier=self.tier,
            host=host(),
            environment=self.machine.environment,
            provider=self.price.provider,
            instance=self.price.instance,
            spot=self.price.spot,
            price_source=self.price.source,
            owner=owner(),
            answers_by_name=True,
        )

    def cost_usd(self, seconds: float) -> float | None:
        """Return what so many seconds of one slot cost: its part of the machine's price; None for unknown."""
        if self.price.per_hour_usd is None:
            return None
        return round(self.price.per_hour_usd / len(self.machine.slots) * seconds / 3600, 9)

    def may_begin(self) -> bool:
        """Tell whether the arena's budget pays for a run that begins now."""
        return may_begin(self.board, self.clock.now(self.board))

    def has_others(self) -> bool:
        """Tell whether other workers of this class are there."""
        others = (life for boot, life in self.board.workers.items() if boot != self.boot and not life.left)
        worker_class = self.machine.worker_class
        return any(isinstance(o.joined, WorkerJoined) and o.joined.worker_class == worker_class for o in others)

    async def post(self, event: AnyEvent, *, cause: str = "") -> int:
        """Post a fact, or find that it was posted before; return its sequence."""
        return await self.follower.post_once(Post.new(self.name, event, cause=cause))


def _imports_of(spec: ArenaSpec, files: Mapping[str, bytes]) -> tuple[str, ...]:
    """Return the modules that the evaluator of another system and its program import, for a supervisor."""
    if spec.trial.command:
        return ()
    names = (*spec.score.command[1:2], *spec.artifact.editable)
    sources = [files[name].decode(errors="replace") for name in names if name.endswith(".py") and name in files]
    return tuple(f"{PERHAPS}{name}" for name in imported_modules(sources, files, anywhere=True))

"""Brings to this machine what a run needs: the arena's files and data, and a proposal's code, ahead of its turn.

While something else runs, the code of the runs that are probably next is fetched. That is a guess and not a lease:
another worker may take the run. Code that could not be fetched ahead is fetched again in its turn, and only then an
error.
"""

import heapq
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path

import anyio.to_thread

from gpu_worker.run import RunInputs
from mesh import frozen_data, settings
from mesh.arena import evaluator_hash
from mesh.board import Board
from mesh.bus import ArenaBus
from mesh.code import CodeStore
from mesh.errors import HostTrouble, MeshError, ObjectMissing
from mesh.events import LANES, PROOF, ArenaOpened, RunRequested
from mesh.fleet import slots
from mesh.text import short

KEEP_BYTES = 4 * 1024 * 1024
"""Code of one run that is kept in memory until its turn; more is read again from the disk."""

LOOK_AT = 1000
"""The oldest waiting runs, among which the next ones are guessed."""


class Prefetch:
    """The cache of one arena in a home folder; `board` returns where the arena stands."""

    def __init__(self, bus: ArenaBus, home: Path, board: Callable[[], Board]) -> None:
        self._bus, self._home, self._board = bus, home, board
        self._code = CodeStore(settings.code_dir(home, bus.arena), bus)
        self._ahead: dict[str, dict[str, bytes]] = {}
        self._base: tuple[str, dict[str, bytes]] = ("", {})
        self._hidden: tuple[str, dict[str, bytes]] = ("", {})
        self._evaluator: tuple[ArenaOpened | None, str] = (None, "")

    async def inputs(self, request: RunRequested) -> RunInputs:
        """Return the files and data of a run.

        Raises:
            ObjectMissing: nobody has the proposal's commit, or it has other files than the proposal.
            HostTrouble: the arena's own files or data are missing, or cannot be written here.
        """
        opened = self._board().opened
        assert opened is not None
        cache = settings.objects_dir(self._home, self._bus.arena)
        try:
            base = await self._files_of_base(opened)
            frozen = await frozen_data.thaw(opened.data, self._bus, cache)
            if self._hidden[0] != opened.data:
                self._hidden = opened.data, await anyio.to_thread.run_sync(frozen_data.hidden_in, frozen)
        except ObjectMissing as error:
            raise HostTrouble(f"files of the arena itself are missing: {error}") from None
        except OSError as error:
            raise HostTrouble(f"the files of a run cannot be written to {self._home}: {error.strerror}") from None
        if (proposal := self._ahead.get(request.commit)) is None:
            try:
                proposal = await self._code.files(request.commit, base=opened.base_commit)
            except ObjectMissing:
                await self._bus.head()  # waits for the server: that it is away is not the proposal's fault
                proposal = await self._code.files(request.commit, base=opened.base_commit)
        if (tree := self._code.tree(request.commit)) != request.proposal:
            claimed = short(request.proposal)
            raise ObjectMissing(f"proposal {claimed} is not what its commit has: the tree {short(tree)}")
        hidden = self._hidden[1]
        if self._evaluator[0] is not opened:
            self._evaluator = opened, evaluator_hash(opened.spec, base | hidden)
        return RunInputs(request, opened, base, proposal, frozen, hidden, evaluator=self._evaluator[1])

    async def _files_of_base(self, opened: ArenaOpened) -> dict[str, bytes]:
        if self._base[0] != opened.base_commit:
            self._base = opened.base_commit, await self._code.files(opened.base_commit)
        return self._base[1]

    async def fetch_ahead(self, worker_class: str, count: int) -> None:
        """Fetch the code of the `count` runs that are next for a worker of this class, as far as possible.

        It is read while something else runs, and kept in memory until its turn or until other runs are next.
        """
        board = self._board()
        if board.opened is None:
            return
        commits = {request.commit for request in next_runs(board, worker_class, count)}
        for passed in self._ahead.keys() - commits:
            self._ahead.pop(passed)
        for commit in commits - self._ahead.keys():
            with suppress(MeshError, OSError):
                files = await self._code.files(commit, base=board.opened.base_commit)
                if sum(map(len, files.values())) <= KEEP_BYTES:
                    self._ahead[commit] = files


def next_runs(board: Board, worker_class: str, count: int) -> list[RunRequested]:
    """Return the requests that a worker of this class will get next: by lane, then by age.

    The two lanes that prove something are one: the runs of a race are requested seed by seed, challengers and champion.
    In this order a machine that grows slower meanwhile harms all of them alike.
    """
    waiting = (
        (0 if run.requested.lane in PROOF else LANES.index(run.requested.lane), run.seq, run.requested)
        for run in (board.runs[name] for name in islice(board.unfinished, LOOK_AT))
        if not run.attempts and not run.killed and run.requested.worker_class in ("any", worker_class)
    )
    return [request for _, _, request in heapq.nsmallest(count, waiting, key=lambda found: found[:2])]


def has_spare_run(board: Board) -> bool:
    """Tell whether more runs wait than slots of the fleet are idle, so that a busy slot may claim one."""
    begun = waiting = 0
    for name in islice(board.unfinished, LOOK_AT):
        if board.runs[name].attempts:
            begun += 1
        else:
            waiting += 1
    return waiting > max(0, slots(board).total() - begun)

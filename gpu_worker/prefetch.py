"""What a run needs, brought to this machine: the arena's files and data, and a proposal's code, ahead of its turn.

Code is fetched for what is likely next in the queue while something else runs. That is a guess and no lease: another
worker may take the run, and what could not be fetched ahead is fetched again, and complained of, in its turn.
"""

import heapq
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path

from gpu_worker.run import Job
from mesh import frozen_data, settings
from mesh.board import Board
from mesh.bus import ArenaBus
from mesh.code import CodeStore
from mesh.errors import HostTrouble, MeshError, ObjectMissing
from mesh.events import LANES, ArenaOpened, RunRequested

LOOK_AT = 1000
"""Waiting runs, the oldest, among which the next ones are guessed."""


class Supply:
    """The cache of one arena in a home; `board` returns where the arena stands."""

    def __init__(self, bus: ArenaBus, home: Path, board: Callable[[], Board]) -> None:
        self._bus, self._home, self._board = bus, home, board
        self._code = CodeStore(settings.code_dir(home, bus.arena), bus)
        self._base: tuple[str, dict[str, bytes]] = ("", {})

    async def job(self, request: RunRequested) -> Job:
        """Get files and data of a run.

        Raises:
            ObjectMissing: nobody has the proposal's commit.
            HostTrouble: the arena's own files or data cannot be had, or not be kept here.
        """
        opened = self._board().opened
        assert opened is not None
        cache = settings.objects_dir(self._home, self._bus.arena)
        try:
            base = await self._files_of_base(opened)
            frozen = await frozen_data.thaw(opened.data, self._bus, cache)
        except ObjectMissing as error:
            raise HostTrouble(f"what the arena was opened with cannot be had: {error}") from None
        except OSError as error:
            raise HostTrouble(f"a run's files cannot be kept in {self._home}: {error.strerror}") from None
        try:
            proposal = await self._code.files(request.commit, base=opened.base_commit)
        except ObjectMissing:
            await self._bus.head()  # waits for the server: its absence is no fault of the proposal
            proposal = await self._code.files(request.commit, base=opened.base_commit)
        return Job(request, opened, base, proposal, frozen)

    async def _files_of_base(self, opened: ArenaOpened) -> dict[str, bytes]:
        if self._base[0] != opened.base_commit:
            self._base = opened.base_commit, await self._code.files(opened.base_commit)
        return self._base[1]

    async def fetch_ahead(self, worker_class: str, count: int) -> None:
        """Fetch the code of so many runs that are next for a worker of this class, as far as possible."""
        board = self._board()
        if board.opened is None:
            return
        for request in next_runs(board, worker_class, count):
            with suppress(MeshError, OSError):
                await self._code.pull(request.commit, base=board.opened.base_commit)


def next_runs(board: Board, worker_class: str, count: int) -> list[RunRequested]:
    """Return the requests that a worker of this class will be given next: by lane, then by age."""
    waiting = (
        (LANES.index(run.requested.lane), run.seq, run.requested)
        for run in (board.runs[name] for name in islice(board.unfinished, LOOK_AT))
        if not run.attempts and not run.killed and run.requested.worker_class in ("any", worker_class)
    )
    return [request for _, _, request in heapq.nsmallest(count, waiting, key=lambda found: found[:2])]

"""What `mesh up` shows while the swarm runs: lines into a pipe, the leaderboard and latest entries on a terminal."""

import sys

import anyio
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mesh.board import Board
from mesh.events import CritiquePosted
from mesh.follow import Follower
from mesh.leaderboard import MARKED, Ranking, row_score
from mesh.text import printable, short
from mesh.wire import Entry
from mesh_cli.board.lines import Lines
from mesh_cli.live.summary import baseline_of
from mesh_cli.render.colour import Ink, is_coloured

_SHOWN = ("proposal.promoted", "run.finished", "proposal.posted", "note.posted", "worker.joined", "agent.joined")
_RECENT = 12


def is_shown(entry: Entry) -> bool:
    """Tell whether to show an entry; of critiques only those that warn or block."""
    event = entry.post.event if entry.post else None
    return entry.subject.kind in _SHOWN or (isinstance(event, CritiquePosted) and event.verdict != "endorse")


class PlainView:
    """Plain lines on standard output, for pipes and logs."""

    def __init__(self) -> None:
        self._lines = Lines(Ink(is_coloured()), screen=False)

    def take(self, entry: Entry, counts: bool) -> None:
        if counts and is_shown(entry):
            print(self._lines.line(entry), flush=True)

    async def draw(self, follower: Follower) -> None:
        await anyio.sleep_forever()

    def close(self) -> None:
        sys.stdout.flush()


class LiveView:
    """The board and the leaderboard on a terminal."""

    def __init__(self) -> None:
        self._recent: list[str] = []
        self._lines = Lines(Ink(on=False), screen=True)
        self._live = Live(Text(""), console=Console(no_color=not is_coloured()), refresh_per_second=4)
        self._live.start()

    def take(self, entry: Entry, counts: bool) -> None:
        if counts and is_shown(entry):
            self._recent = [*self._recent, self._lines.line(entry)][-_RECENT:]

    async def draw(self, follower: Follower) -> None:
        while True:
            self._live.update(self._view(follower.board))
            await anyio.sleep(0.3)

    def _view(self, board: Board) -> Group:
        metric = board.spec.objective.metric
        ranking = Ranking(board)
        base = baseline_of(ranking)
        title = f"leaderboard of {board.arena}" + ("" if base is None else f" (baseline {base:.4f})")
        rows = ranking.rows()[:8]
        remark = [Text(MARKED)] if any(row.self_reported for row in rows) else []
        table = Table("rank", metric, "state", "proposal", "author", "title", title=title)
        for row in rows:
            cells = (row.rank, row_score(row), row.state, short(row.proposal), row.author)
            table.add_row(*(Text(str(cell)) for cell in cells), Text(printable(row.title, 60)))
        finished = len(board.runs) - len(board.unfinished)
        status = f"{len(board.proposals)} proposals, {finished} runs finished, {len(board.unfinished)} in the queue"
        return Group(
            table, *remark, Panel(Text("\n".join(self._recent), overflow="ellipsis", no_wrap=True), title=status)
        )

    def close(self) -> None:
        self._live.stop()

"""What `mesh up` shows while the swarm runs: lines into a pipe, the leaderboard and latest entries on a terminal."""

import datetime as dt
import sys
import time
from collections import Counter

import anyio
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mesh.board import Board
from mesh.events import CritiquePosted, ModelAsked
from mesh.follow import Follower
from mesh.leaderboard import MARKED, Ranking, row_score
from mesh.model_pauses import why_agents_pause
from mesh.stalled import why_paused
from mesh.text import plain_number, printable, short
from mesh.wire import Entry
from mesh_cli.board.lines import Lines
from mesh_cli.live.headline import models_line, progress_line
from mesh_cli.live.summary import baseline_of
from mesh_cli.render.colour import Ink, is_coloured

_SHOWN = (
    "proposal.promoted",
    "model.asked",
    "run.finished",
    "proposal.posted",
    "note.posted",
    "worker.joined",
    "agent.joined",
)
_RECENT = 40
"""Entries that are kept; as many are shown as the screen has room for."""
_LEADERS, _WIDE = 8, 100
"""Rows of the leaderboard, at most; columns of a screen from which on the author is shown."""
_FRAMES = 8
"""Lines of the title, the table's head and frame, the frame of the entries, and the last line, which stays free."""
_HEADLINE_EVERY_S = 60.0


_COUNTED = {"within_noise": "no better than the champion", "near_duplicate": "near duplicates"}
"""Warnings that decide nothing: the headline counts them, `mesh tail` has each."""


def is_shown(entry: Entry) -> bool:
    """Tell whether to show an entry; of critiques those that block, and warnings that are not counted."""
    event = entry.post.event if entry.post else None
    return entry.subject.kind in _SHOWN or (
        isinstance(event, CritiquePosted) and event.verdict != "endorse" and not _is_counted(event)
    )


def _is_counted(event: CritiquePosted) -> bool:
    return event.verdict == "warn" and event.rule in _COUNTED


class View:
    """What both views know: the time, why answers of models could not be used, and warnings that are only counted."""

    def __init__(self, minutes: float | None) -> None:
        self._began, self._minutes = time.monotonic(), minutes
        self.flaws: Counter[str] = Counter()
        self._warned: Counter[str] = Counter()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def hear(self, entry: Entry) -> None:
        """Remember why an answer of a model could not be used, and count warnings."""
        event = entry.post.event if entry.post else None
        if isinstance(event, ModelAsked):
            self.flaws[event.text] += 1
        if isinstance(event, CritiquePosted) and _is_counted(event):
            self._warned[_COUNTED[event.rule]] += 1

    def headline(self, board: Board, ranking: Ranking) -> str:
        """Return best score, gain, time and cost in one line."""
        left_s = None if self._minutes is None else self._minutes * 60 - self.elapsed_s
        counted = [f"{self._warned[words]} {words}" for words in _COUNTED.values() if self._warned[words]]
        return ", ".join([progress_line(board, ranking, self.elapsed_s, left_s), *counted])


class PlainView(View):
    """Plain lines on standard output, for pipes and logs."""

    def __init__(self, minutes: float | None = None) -> None:
        super().__init__(minutes)
        self._lines = Lines(Ink(is_coloured()), screen=False)

    def take(self, entry: Entry, counts: bool) -> None:
        if counts:
            self.hear(entry)
        if counts and is_shown(entry):
            print(self._lines.line(entry), flush=True)

    async def draw(self, follower: Follower) -> None:
        while True:
            await anyio.sleep(_HEADLINE_EVERY_S)
            board = follower.board
            print(self.headline(board, Ranking(board)), *_silent(board), sep="\n", flush=True)

    def close(self) -> None:
        sys.stdout.flush()


class QuietView(PlainView):
    """The headline alone."""

    def take(self, entry: Entry, counts: bool) -> None:
        if counts:
            self.hear(entry)


class LiveView(View):
    """The headline, the leaderboard and the latest entries on a terminal."""

    def __init__(self, minutes: float | None = None) -> None:
        super().__init__(minutes)
        self._recent: list[str] = []
        self._lines = Lines(Ink(on=False), screen=True)
        self._live = Live(Text(""), console=Console(no_color=not is_coloured()), refresh_per_second=4)
        self._live.start()

    def take(self, entry: Entry, counts: bool) -> None:
        if counts:
            self.hear(entry)
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
        title = f"leaderboard of {board.arena}" + (
            "" if base is None else f" (baseline {plain_number(base, ranking.places)})"
        )
        width, height = self._live.console.size
        words = [self.headline(board, ranking), models_line(board, 0, self.flaws), *_silent(board)]
        head = Text("\n".join(filter(None, words)))
        left = height - len(head.wrap(self._live.console, width)) - _FRAMES
        shown = min(_LEADERS, max(2, left // 2))
        rows = ranking.rows()[:shown]
        remark = [Text(MARKED)] if any(row.self_reported for row in rows) else []
        heads = ["rank", metric, "state", "proposal", *(["author"] if width >= _WIDE else [])]
        table = Table(*heads, title=title, expand=True)
        table.add_column("title", no_wrap=True, overflow="ellipsis", ratio=1)
        for column in table.columns[:-1]:
            column.no_wrap = True
        for row in rows:
            cells = (row.rank, row_score(row, ranking.places), row.state, short(row.proposal), row.author)
            table.add_row(*(Text(str(cell)) for cell in cells[: len(heads)]), Text(printable(row.title, 200)))
        finished = len(board.runs) - len(board.unfinished)
        status = f"{len(board.proposals)} proposals, {finished} runs finished, {len(board.unfinished)} in the queue"
        recent = self._recent[-max(1, left - len(rows) - len(remark)) :]
        return Group(
            head, table, *remark, Panel(Text("\n".join(recent), overflow="ellipsis", no_wrap=True), title=status)
        )

    def close(self) -> None:
        self._live.stop()


def _silent(board: Board) -> list[str]:
    """Return why the search or an agent is silent now, a sentence each."""
    return [*filter(None, [why_paused(board)]), *why_agents_pause(board, dt.datetime.now(dt.UTC))]


def view_of(minutes: float | None, *, quiet: bool) -> "QuietView | LiveView | PlainView":
    """Return what to show: the headline alone, a screen on a terminal, else lines."""
    if quiet:
        return QuietView(minutes)
    return LiveView(minutes) if sys.stdout.isatty() else PlainView(minutes)

"""`mesh top`: leaderboard, queue, workers and board on one screen, by keyboard alone, live.

A view of `mesh_cli.live.feed`, redrawn twice a second. Text from the log goes through `printable` and is not markup.
The only module that knows textual.
"""

import datetime as dt
import os
import time
from collections.abc import Sequence
from typing import ClassVar

import anyio
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, RichLog, Static

from gateway.resolve import Named
from mesh.errors import leaf
from mesh.leaderboard import MARKED, places_of, row_interval, row_score
from mesh.text import printable, short
from mesh_cli.live.feed import RANKED, RECENT, Watch
from mesh_cli.proposals.card import card
from mesh_cli.proposals.describe import about
from mesh_cli.render.colour import colour_of, is_coloured

_LOOK_S = 0.5
BAR = 8
_HELP = """\
tab, shift+tab   go to the next or previous pane
arrows           move in the pane; left and right scroll long lines
page up, page down, home, end   move faster
enter            show the proposal (leaderboard, queue)
/                show only lines with a text; an empty text shows all
escape           close this window, remove the filter
?                show this help
q                quit

This screen is read-only; mesh post and mesh reply write notes.
* """ + MARKED.removeprefix("* ")


async def top(watch: Watch) -> None:
    """Show the screen until the user quits."""
    if not is_coloured():
        os.environ["NO_COLOR"] = "1"  # the only way to tell textual
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch.run)
            await Top(watch).run_async(mouse=False)
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise leaf(group) from None


_WIDE = 100
_WIDE_HEADS = ("rank", "score", "95 % interval", "state", "proposal", "author", "title")
_NARROW_HEADS = ("rank", "score", "state", "proposal", "title")
"""Columns of the leaderboard below this width: otherwise nothing of the title is seen."""


class Words(ModalScreen[None]):
    """A window with some text; several keys close it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter,question_mark", "dismiss", "close")]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="words") as pane:
            pane.border_title = Text(self._title).markup
            yield Static(Text(self._text), markup=False)
        yield Footer()

    async def action_dismiss(self, result: None = None) -> None:
        """Close."""
        self.dismiss(result)


class Top(App[None]):
    """The screen."""

    CSS = """
    #head { height: 1; background: $panel; }
    #ranks { height: 2fr; min-height: 5; border: round $foreground 60%; }
    #middle { height: 1fr; min-height: 5; max-height: 12; }
    #queue { width: 3fr; height: 100%; border: round $foreground 60%; }
    #workers { width: 2fr; height: 100%; border: round $foreground 60%; }
    #ranks, #queue, #workers, #tail { overflow-x: hidden; }
    #tail { height: 2fr; min-height: 4; border: round $foreground 60%; }
    #ranks:focus, #queue:focus, #workers:focus, #tail:focus { border: round $accent; }
    #filter { display: none; height: 1; border: none; padding: 0; }
    #filter.open { display: block; }
    #words { margin: 1 4; border: round $accent; padding: 0 1; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c", "quit", "quit"),
        Binding("slash", "filter", "filter"),
        Binding("question_mark", "help", "help"),
        Binding("escape", "unfilter", "no filter", show=False),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch
        self._filter = ""
        self._shown: tuple[object, ...] = ()
        self._heads: tuple[str, ...] = ()
        self._drawn_seq = 0
        self._next_ranking = 0.0

    def compose(self) -> ComposeResult:
        """Lay out the panes."""
        yield Static(id="head", markup=False)
        yield _Pane(id="ranks")
        with Horizontal(id="middle"):
            yield _Pane(id="queue")
            yield _Pane(id="workers")
        yield RichLog(id="tail", max_lines=RECENT, wrap=True, min_width=20, auto_scroll=False)
        yield Input(id="filter", placeholder="show only lines with this text")
        yield Footer()

    def on_mount(self) -> None:
        """Name the panes and begin to look."""
        titles = {"ranks": "leaderboard", "queue": "queue", "workers": "workers", "tail": "board"}
        for name, title in titles.items():
            self.query_one(f"#{name}").border_title = title
        self.query_one("#queue", _Pane).add_columns("lane", "proposal", "progress", "value", "worker")
        self.query_one("#workers", _Pane).add_columns("worker", "busy", "class")
        self._choose_heads(self.size.width)
        self.query_one("#ranks").focus()
        self.look()
        self.set_interval(_LOOK_S, self.look)

    def on_resize(self, event: Resize) -> None:
        """Leave columns out where they would take the place of the titles."""
        if self._choose_heads(event.size.width):
            self.look()

    def look(self) -> None:
        """Draw what has changed; the clock may still call while the panes go away at the end."""
        if not self.query("#head"):
            return
        for pane in self.query(_Pane):
            pane.fit()
        watch, board = self._watch, self._watch.board
        connected = watch.is_connected()
        self._draw_head(connected)
        self._draw_queue()
        state = (board.seq, watch.is_ready, self._filter, watch.watchman.answering)
        now = time.monotonic()
        if watch.is_ready and state != self._shown and now >= self._next_ranking:
            self._shown = state
            self._draw_ranks()
            self._draw_workers()
            # A long log makes a ranking dear; nine tenths of the time are for everything else.
            self._next_ranking = time.monotonic() + 9 * (time.monotonic() - now)
        self._draw_tail()

    def _choose_heads(self, width: int) -> bool:
        """Give the leaderboard the columns that a width has room for; tell whether they are others."""
        heads = _WIDE_HEADS if width >= _WIDE else _NARROW_HEADS
        if heads == self._heads or not self.query("#ranks"):
            return False
        self._heads, self._shown, self._next_ranking = heads, (), 0.0
        self.query_one("#ranks", _Pane).head(heads)
        return True

    def _draw_head(self, connected: bool) -> None:
        watch, board = self._watch, self._watch.board
        state = "closed" if board.closed else "open"
        parts = [f" {board.arena}", state, f"seq {board.seq}"]
        if self._filter:
            parts.append(f"filter: {printable(self._filter, 20)}")
        if board.champion and board.opened:
            ranking = watch.ranking
            parts.append(f"champion {short(board.champion)} {row_score(ranking.of(board.champion), ranking.places)}")
        if not watch.is_ready:
            parts.append("reading the log …")
        elif not watch.has_workers and not board.closed:
            parts.append("no workers")
        line = Text(" · ".join(parts))
        if not connected:
            line = Text(" DISCONNECTED: waiting for the server ", style="bold reverse") + line
        self.query_one("#head", Static).update(line)

    def _draw_ranks(self) -> None:
        rows = []
        found = self._watch.leaderboard()
        places = places_of(found)
        for row in found[:RANKED]:
            said = short(row.proposal), printable(row.author, 16), printable(row.title, 200)
            numbers = row_score(row, places), row_interval(row, places)
            every: tuple[str | int, ...] = (row.rank, *numbers, row.state, *said)
            cells = tuple(cell for head, cell in zip(_WIDE_HEADS, every, strict=True) if head in self._heads)
            if self._is_shown(row.proposal, *map(str, every)):
                rows.append((row.proposal, cells))
        self.query_one("#ranks", _Pane).show(rows)

    def _draw_queue(self) -> None:
        rows = []
        for queued in self._watch.queue(dt.datetime.now(dt.UTC)):
            shown = "waiting" if not queued.worker else "running" if queued.progress is None else bar(queued.progress)
            value = "" if queued.value is None else f"{queued.value:.4g}"
            cells = (queued.lane, short(queued.proposal), shown, value, printable(queued.worker, 24))
            rows.append((f"{queued.run} {queued.proposal}", cells))
        pane = self.query_one("#queue", _Pane)
        pane.show(rows)
        pane.border_title = f"queue: {len(rows)}"

    def _draw_workers(self) -> None:
        rows = [
            (f"{number} {name}", (printable(name, 24), f"{busy}/{slots}", printable(kind, 24)))
            for number, (name, busy, slots, kind) in enumerate(self._watch.workers())
        ]
        self.query_one("#workers", _Pane).show(rows)

    def _draw_tail(self) -> None:
        log = self.query_one("#tail", RichLog)
        is_at_end = log.is_vertical_scroll_end
        for seq, author, line in list(self._watch.recent):
            if seq > self._drawn_seq:
                self._drawn_seq = seq
                if self._is_shown(line):
                    log.write(Text(line, style=f"color({colour_of(author)})"))
        if is_at_end:
            log.scroll_end(animate=False)

    def _is_shown(self, *texts: str) -> bool:
        return not self._filter or any(self._filter.casefold() in text.casefold() for text in texts)

    def action_filter(self) -> None:
        """Ask for the text of the filter."""
        line = self.query_one("#filter", Input)
        line.add_class("open")
        line.value = self._filter
        line.focus()

    def action_unfilter(self) -> None:
        """Show everything again."""
        self._use_filter("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Filter by what was typed."""
        self._use_filter(event.value.strip())

    def _use_filter(self, text: str) -> None:
        line = self.query_one("#filter", Input)
        if line.has_class("open"):
            line.remove_class("open")
            self.query_one("#ranks").focus()
        self._filter = text
        self._drawn_seq, self._next_ranking = 0, 0.0
        self.query_one("#tail", RichLog).clear()
        self.look()

    def action_help(self) -> None:
        """Say what the keys do."""
        self.push_screen(Words("keys", _HELP))

    async def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Show the details of the proposal of the row."""
        tree = str(event.row_key.value).rpartition(" ")[2]
        ranking = await self._watch.ranking_of(tree)
        board = ranking.board
        if tree in board.proposals and board.opened:
            lines = card(board, about(board, Named("proposal", tree), ranking), ranking)
            self.push_screen(Words(f"proposal {short(tree)}", "\n".join(lines)))


class _Pane(DataTable[Text]):
    """A table in which the cursor stays on its row while others come and go."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("home", "scroll_top", "first", show=False),
        Binding("end", "scroll_bottom", "last", show=False),
    ]

    def __init__(self, *, id: str) -> None:  # noqa: A002 - the name that textual gives it
        super().__init__(id=id, cursor_type="row", show_cursor=True, zebra_stripes=False, cell_padding=1)
        self._rows: list[tuple[str, tuple[object, ...]]] = []
        self._drawn: tuple[int, ...] = ()

    def fit(self) -> None:
        """Draw the rows again if a column has another width: textual keeps lines that it drew before it measured."""
        widths = tuple(column.content_width for column in self.columns.values())
        if widths != self._drawn:
            self._drawn = widths
            self.notify_style_update()
            self.refresh()

    def head(self, heads: Sequence[str]) -> None:
        """Begin again, with these columns."""
        self._rows = []
        self.clear(columns=True)
        self.add_columns(*heads)

    def show(self, rows: Sequence[tuple[str, tuple[object, ...]]]) -> None:
        """Show these rows, each with its key."""
        if list(rows) == self._rows:
            return
        row = self.cursor_row
        selected = self._rows[row][0] if 0 < row < len(self._rows) else None
        self._rows = list(rows)
        self.clear()
        for key, cells in rows:
            self.add_row(*(Text(str(cell)) for cell in cells), key=key)
        # On the first row one looks at the best, whichever it is; further down at one that may move.
        keys = [key for key, _ in rows]
        self.move_cursor(row=keys.index(selected) if selected in keys else min(row, max(0, len(keys) - 1)))


def bar(share: float) -> str:
    """Return a share as a bar with its percentage."""
    full = round(share * BAR)
    return f"{'█' * full}{'░' * (BAR - full)} {share:4.0%}"

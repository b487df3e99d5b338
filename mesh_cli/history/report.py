"""`mesh report`: queries the projector, fetches the code to show, and writes the file whole or not at all."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from anyio.to_thread import run_sync

import mesh
from agents.curation.waiting_claims import waiting_words
from analytics.projector import Projection, replay
from analytics.report.code_diff import Diff, diff_of
from analytics.report.data import ReportData
from analytics.report.document import Document, document
from analytics.report.queries import Ask, report_data
from analytics.sql_server import MAX_ROWS, MAX_TIMEOUT_S, SqlServer
from mesh import settings
from mesh.board import Board
from mesh.errors import BadInput, BusUnavailable, ObjectMissing
from mesh.jetstream import JetStreamBus
from mesh.ruled_out import ruled_out_words
from mesh.sql_protocol import Query
from mesh.sql_protocol import ask as ask_projector
from mesh_cli.connect import board_of, code_store_of
from mesh_cli.projected.asking import from_projector
from mesh_cli.projected.state import projected_state
from mesh_cli.render.output import atomically

FORMS = {".html": "html", ".htm": "html", ".png": "png", ".md": "markdown"}
STDOUT = Path("-")


def report_form(target: Path) -> str:
    """Return the format that a file's suffix asks for; standard output is HTML.

    Raises:
        BadInput: the suffix is unknown, or the folder does not exist.
    """
    if target == STDOUT:
        return "html"
    if target.suffix.lower() not in FORMS:
        raise BadInput(f"report {target} has an unknown format; use a name that ends in .html, .png or .md")
    if not target.parent.is_dir():
        raise BadInput(f"{target} cannot be written: there is no folder {target.parent}")
    return FORMS[target.suffix.lower()]


async def report(
    bus: JetStreamBus, form: str, to_seq: int | None, say: Callable[[str], None] = lambda _: None
) -> tuple[bytes, str]:
    """Return a report of an arena in the format of its name, and its headline.

    Args:
        bus: The bus of the arena.
        form: One of the formats in `FORMS`.
        to_seq: The last entry of the log that counts; None for all.
        say: Is told what is being done.

    Raises:
        BadInput: the arena was never opened, its log is shorter than `to_seq`, or a picture needs matplotlib.
        QueryError: the projector refused or failed.
    """
    say(f"report of arena {bus.arena}: looking for a projector")
    async with projection_to_ask(bus, to_seq, say) as ask:
        data = await report_data(ask, bus.arena)
    say(f"report: the code that changed in {data.finished:,} runs")
    diffs = {} if form == "png" else await _diffs(bus, data)
    remarks = [*filter(None, await _remarks(bus, to_seq))]
    page = document(data, diffs, mesh.__version__, remarks=remarks)
    say(f"report: writing {form}")
    return await run_sync(_rendered, form, data, page), page.headline


async def _remarks(bus: JetStreamBus, to_seq: int | None) -> tuple[str, str]:
    """Return in sentences how many proposals are ruled out, and how many claims wait; "" where none are."""
    if to_seq is None and (state := await from_projector(bus, partial(projected_state, rate_over_s=0.0))):
        return ruled_out_words(state.board), state.waiting
    board = await _board_until(bus, to_seq) if to_seq else await board_of(bus)
    return ruled_out_words(board), waiting_words(board)


async def _board_until(bus: JetStreamBus, seq: int) -> Board:
    """Return the board of an arena as of an entry."""
    board = Board(arena=bus.arena)
    async with aclosing(bus.read(0, until=seq)) as batches:
        async for batch in batches:
            for entry in batch:
                board.fold(entry)
    return board


def _rendered(form: str, data: ReportData, page: Document) -> bytes:
    if form == "markdown":
        from analytics.report.markdown import markdown

        return markdown(page).encode("utf-8", "replace")
    from analytics.report import progress
    from analytics.report.page import html

    if form == "png":
        return progress.png(data, page.title, page.headline)
    pictures = (progress.svg(data), progress.svg(data, progress.NARROW)) if data.runs else ("",)
    return html(page, *pictures).encode("utf-8", "replace")


@asynccontextmanager
async def projection_to_ask(
    bus: JetStreamBus, to_seq: int | None, say: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Ask]:
    """Yield a query function: it asks the running projector, else (with `to_seq` always) a database made here.

    Args:
        bus: The bus of the arena.
        to_seq: The last entry of the log that counts; None for all.
        say: Is told what is being done.

    Raises:
        BadInput: the log is shorter than `to_seq`.
    """
    asked = count(1)

    async def of_projector(sql: str) -> list[list[object]]:
        say(f"report: question {next(asked)} to the projector")
        return (await ask_projector(bus, _query(sql))).rows

    if to_seq is None:
        try:
            await of_projector("SELECT 1")
        except BusUnavailable:
            pass
        else:
            yield of_projector
            return
    elif to_seq > (head := await bus.head()):
        raise BadInput(f"--to-seq is {to_seq}, but the log ends with {head}")
    say("report: no projector answers; reading the log into a database")
    async with AsyncExitStack() as stack:
        projection = await _folded(bus, to_seq, stack)
        server = SqlServer(projection)

        async def of_file(sql: str) -> list[list[object]]:
            return (await server.answer(_query(sql))).rows

        yield of_file


def _query(sql: str) -> Query:
    return Query(sql, max_rows=MAX_ROWS, timeout_s=MAX_TIMEOUT_S)


async def _folded(bus: JetStreamBus, to_seq: int | None, stack: AsyncExitStack) -> Projection:
    """Fold the log into the home's file, or into one of this command's own where another process has that."""
    path = settings.database(settings.home())
    if to_seq is None:
        try:
            await replay(bus, path)
            return await _opened(path, stack)
        except BadInput:
            pass
    path = Path(stack.enter_context(TemporaryDirectory(prefix="mesh-report-"))) / "report.duckdb"
    await replay(bus, path, until=to_seq)
    return await _opened(path, stack)


async def _opened(path: Path, stack: AsyncExitStack) -> Projection:
    projection = await run_sync(Projection.open, path)
    stack.callback(projection.close)
    return projection


async def _diffs(bus: JetStreamBus, data: ReportData) -> dict[str, Diff]:
    """Return the changed lines of the proposals that changed more than knobs, or a remark if their code is missing."""
    code, base = code_store_of(bus), data.goal.base_commit
    found: dict[str, Diff] = {}
    for proposal, commit, before in data.code_wanted():
        try:
            old, new = [await code.files(name, base=base) for name in (before, commit)]
        except ObjectMissing:
            found[proposal] = Diff((("@", "the code of this proposal is missing from the object store"),))
        else:
            found[proposal] = await run_sync(diff_of, old, new)
    return found


def write(target: Path, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        BadInput: it cannot be written.
    """
    with atomically(target) as aside:
        aside.write_bytes(data)

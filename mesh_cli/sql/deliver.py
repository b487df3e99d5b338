"""Writes an answer to a terminal, a pipe or a file; fetching never waits for the reader."""

import shutil
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path

import anyio
import msgspec
from anyio.to_thread import run_sync

from mesh.errors import leaf
from mesh.sql_protocol import Answer
from mesh_cli.render.output import Screen, Target, atomically
from mesh_cli.sql.formats import Format, Writer, distinct, writer
from mesh_cli.sql.spool import Spool

_DECODE = msgspec.json.Decoder(Answer)
_ENCODE = msgspec.json.Encoder()

MakeWriter = Callable[[Answer], Writer]


@contextmanager
def written_to(form: Format, path: Path | None, *, paged: bool) -> Iterator[MakeWriter]:
    """Yield what makes the writer of an answer, once its columns are known.

    Raises:
        BadInput: the file cannot be written.
    """
    if path is not None:
        with atomically(path) as beside:
            if form == "parquet":
                from analytics.parquet import ParquetFile  # with DuckDB

                yield lambda first: ParquetFile(beside, distinct(first.columns))
            else:
                with beside.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file:
                    yield _maker(form, file, None)
        return
    screen = Screen(paged=paged)
    try:
        yield _maker(form, screen, shutil.get_terminal_size().columns if sys.stdout.isatty() else None)
    finally:
        screen.close()


def _maker(form: Format, target: Target, width: int | None) -> MakeWriter:
    return lambda first: writer(form, target, width)


async def deliver(pages: AsyncGenerator[Answer], form: Format, path: Path | None, *, paged: bool) -> str:
    """Write an answer and return a summary of it: rows, time, sequence numbers.

    Raises:
        BadInput: the file cannot be written.
        QueryError: the statement was refused or failed; what came before is written, but to no file.
    """
    tally = _Tally()
    try:
        async with aclosing(pages), anyio.create_task_group() as tasks:
            first = await anext(pages)
            with Spool() as spool:
                tasks.start_soon(_fetch, pages, first, spool)
                # A reader of standard output may leave the thread hanging; a file and a pager must be put in order.
                hanging = path is None and not paged
                await run_sync(_write, spool, form, path, paged, tally, abandon_on_cancel=hanging)
                tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise leaf(group) from None
    return tally.sentence()


async def _fetch(pages: AsyncGenerator[Answer], first: Answer, spool: Spool) -> None:
    whole = False
    try:
        spool.put(_ENCODE.encode(first))
        async for page in pages:
            spool.put(_ENCODE.encode(page))
        whole = True
    finally:
        spool.end(whole=whole)


class _Tally:
    def __init__(self) -> None:
        self.rows = 0
        self.last: Answer | None = None

    def sentence(self) -> str:
        last = self.last
        if last is None:
            return ""
        as_of = ", ".join(f"{arena} {seq}" for arena, seq in last.as_of.items())
        cut = ", cut at the row limit" if last.truncated else ""
        remark = f"\nremark: {last.remark}" if last.remark else ""
        rows = f"{self.rows} {'row' if self.rows == 1 else 'rows'}{cut}"
        return f"{rows} in {last.elapsed_s * 1000:.0f} ms, as of {as_of}{remark}"


def _write(spool: Iterable[bytes], form: Format, path: Path | None, paged: bool, tally: _Tally) -> None:
    with suppress(EOFError), written_to(form, path, paged=paged) as make:  # the fetcher raises the cause
        out: Writer | None = None
        for piece in spool:
            tally.last = page = _DECODE.decode(piece)
            out = out or make(page)
            out.page(page)
            tally.rows += len(page.rows)
        if out is not None and tally.last is not None:
            out.end(tally.last)

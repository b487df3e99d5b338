"""`mesh sql`: asks the projector, prints a table, JSON or CSV. `as_of` says up to where the log was folded."""

import csv
import sys
from functools import partial
from pathlib import Path
from typing import Literal

import anyio
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from analytics.projector import Projection, project
from analytics.protocol import SERVICE, Answer, Query, Refusal, decode_reply, encode
from analytics.queries import Queries
from mesh import settings
from mesh.bus import ArenaBus, Hub
from mesh.cli.text import printable
from mesh.errors import BadInput, BusUnavailable, QueryError, leaf
from mesh.jetstream import JetStreamBus, JetStreamHub

Format = Literal["table", "json", "csv"]


async def answer_of(hub: JetStreamHub, bus: JetStreamBus, query: Query) -> Answer:
    """Return the answer of the projector that runs; where none does, fold the logs into this home's file first.

    Raises: as `ask`.
    """
    try:
        return await ask(bus, query)
    except BusUnavailable as nobody:
        try:
            return await fold_and_ask(hub, settings.database(settings.home()), query)
        except BadInput:
            raise nobody from None


async def ask(bus: JetStreamBus, query: Query) -> Answer:
    """Return the projector's answer.

    Raises:
        BusUnavailable: no projector answers.
        QueryError: the statement was refused or failed.
    """
    reply = decode_reply(await bus.ask(SERVICE, encode(query), timeout_s=query.timeout_s + 5))
    if isinstance(reply, Refusal):
        raise QueryError(reply.error)
    return reply


async def fold_and_ask(hub: Hub, path: Path, query: Query) -> Answer:
    """Fold all logs into the file at `path` and answer from it: what `ask` does where a projector runs.

    Raises:
        BadInput: a projector has the file.
        QueryError: the statement was refused or failed.
    """
    opened: list[Projection] = []
    ready = anyio.Event()

    async def hold(projection: Projection, bus: ArenaBus) -> None:
        opened.append(projection)

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(project, hub, path, on_ready=ready.set, beside=hold))
            await ready.wait()
            answer = await Queries(opened[0]).answer(query)
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise leaf(group) from None
    return answer


def show(answer: Answer, form: Format) -> None:
    """Print the rows to stdout, and what belongs to them to stderr."""
    if form == "json":
        rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
        body = {"as_of": answer.as_of, "truncated": answer.truncated, "rows": rows}
        print(msgspec.json.encode(body).decode())
        return
    if form == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(answer.columns)
        writer.writerows(answer.rows)
    else:
        table = Table(*(escape(name) for name in answer.columns))
        for row in answer.rows:
            table.add_row(*(Text(_cell(value)) for value in row))
        Console(width=None if sys.stdout.isatty() else 200).print(table)
    as_of = ", ".join(f"{arena} {seq}" for arena, seq in answer.as_of.items())
    cut = ", cut at the row limit" if answer.truncated else ""
    print(f"{len(answer.rows)} rows{cut} in {answer.elapsed_s * 1000:.0f} ms, as of {as_of}", file=sys.stderr)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else printable(str(value), 120)

"""`mesh sql`: asks the projector, prints a table, JSON or CSV. `as_of` says up to where the log was folded."""

import csv
import sys
from typing import Literal

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from analytics.protocol import SERVICE, Answer, Query, Refusal, decode_reply, encode
from mesh.cli.text import printable
from mesh.errors import QueryError
from mesh.jetstream import JetStreamBus

Format = Literal["table", "json", "csv"]


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

"""`mesh sql`: the options of the command, and one statement from query to output."""

import sys
from pathlib import Path

import msgspec

from analytics.sql_client import SqlClient
from mesh.errors import BadInput
from mesh.sql_protocol import Query
from mesh_cli.sql.deliver import deliver
from mesh_cli.sql.formats import Format

_ROWS = 1000
"""The row limit of the formats that people read, without --max-rows."""
STREAMS = ("jsonl", "csv", "parquet")
"""The formats without a row limit, unless --max-rows sets one."""


class Options(msgspec.Struct, frozen=True):
    """The options of the command; without `statement` and `file` standard input is read, on a terminal by a prompt."""

    statement: str | None
    file: Path | None
    form: Format
    output: Path | None
    max_rows: int | None
    timeout_s: float
    paged: bool

    def query(self, sql: str) -> Query:
        """Return a statement as the query that is sent."""
        rows = self.max_rows if self.max_rows is not None else 0 if self.form in STREAMS else _ROWS
        return Query(sql, rows, self.timeout_s)


def output_form(form: Format | None, *, json: bool, csv: bool) -> Format:
    """Return the form that the options name.

    Raises:
        BadInput: they name several.
    """
    named = [*([form] if form else []), *(["json"] if json else []), *(["csv"] if csv else [])]
    if len(named) > 1:
        options = {"json": "--json", "csv": "--csv"}
        first, second = [options.get(name, f"--format {name}") for name in named[-2:]]
        raise BadInput(f"{first} and {second} exclude each other; use one of them")
    return "json" if json else "csv" if csv else form or "table"


async def answer(client: SqlClient, options: Options, sql: str) -> None:
    """Print the rows of one statement to stdout, or into a file, and what belongs to them to stderr."""
    pages = client.pages(options.query(sql))
    summary = await deliver(pages, options.form, options.output, paged=options.paged and options.output is None)
    if options.form != "json":
        print(summary, file=sys.stderr)

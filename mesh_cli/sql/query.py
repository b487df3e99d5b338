"""`mesh sql`: what was asked, in which form, and where the answer goes."""

import sys
from pathlib import Path

import msgspec

from analytics.asking import Asker
from analytics.protocol import Query
from mesh.errors import BadInput
from mesh_cli.sql.deliver import deliver
from mesh_cli.sql.formats import Format

_ROWS = 1000
"""Rows at the most of what people read, where nothing else is said."""
STREAMS = ("jsonl", "csv", "parquet")
"""Forms in which all rows come where nothing else is said."""


class Asked(msgspec.Struct, frozen=True):
    """The options of the command; without `statement` and `file` standard input is read, on a terminal by a prompt."""

    statement: str | None
    file: Path | None
    form: Format
    output: Path | None
    max_rows: int | None
    timeout_s: float
    paged: bool

    def query(self, sql: str) -> Query:
        """Return a statement as it is asked."""
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
        raise BadInput(f"{first} and {second} exclude each other")
    return "json" if json else "csv" if csv else form or "table"


async def answer(asker: Asker, asked: Asked, sql: str) -> None:
    """Print the rows of one statement to stdout, or into a file, and what belongs to them to stderr."""
    pages = asker.pages(asked.query(sql))
    said = await deliver(pages, asked.form, asked.output, paged=asked.paged and asked.output is None)
    if asked.form != "json":
        print(said, file=sys.stderr)

"""`mesh sql`: what was asked, in which form, and where the answer goes."""

import sys
from pathlib import Path

import msgspec

from analytics.asking import Asker, asking
from analytics.protocol import Query
from mesh.cli.answer import deliver
from mesh.cli.formats import Format
from mesh.cli.reach import pick_any, reach_hub
from mesh.cli.statements import statements
from mesh.errors import BadInput

ROWS = 1000
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
        rows = self.max_rows if self.max_rows is not None else 0 if self.form in STREAMS else ROWS
        return Query(sql, rows, self.timeout_s)


def form_of(form: Format | None, *, json: bool, csv: bool) -> Format:
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


async def sql_command(asked: Asked, *, arena: str | None, nats: str | None) -> None:
    """Ask and print, or read statements from a prompt.

    Raises:
        BadInput: the options do not go together, or a file cannot be read or written.
        QueryError: a statement was refused or failed; those after it are not asked.
    """
    if asked.form == "parquet" and asked.output is None:
        raise BadInput("--format parquet needs a file: add -o FILE")
    if asked.statement is not None and asked.file is not None:
        raise BadInput("a statement and --file exclude each other")
    prompted = asked.statement is None and asked.file is None and sys.stdin.isatty()
    texts = [] if prompted else _texts(asked)
    if asked.output is not None and (prompted or len(texts) != 1):
        raise BadInput(f"-o takes the answer to one statement, not {'a prompt' if prompted else len(texts)}")
    async with reach_hub(nats) as hub:
        bus = await pick_any(hub, arena)
        async with asking(hub, bus) as asker:
            if prompted:
                from mesh.cli.prompt import Prompt

                await Prompt(asker, asked).run()
            for text in texts:
                await answer(asker, asked, text)


async def answer(asker: Asker, asked: Asked, sql: str) -> None:
    """Print the rows of one statement to stdout, or into a file, and what belongs to them to stderr."""
    pages = asker.pages(asked.query(sql))
    said = await deliver(pages, asked.form, asked.output, paged=asked.paged and asked.output is None)
    if asked.form != "json":
        print(said, file=sys.stderr)


def _texts(asked: Asked) -> list[str]:
    if asked.statement is not None:
        return [asked.statement]
    try:
        data = sys.stdin.buffer.read() if asked.file in (None, Path("-")) else _read(asked.file)
    except OSError as error:
        raise BadInput(f"{asked.file} cannot be read: {error.strerror}") from None
    return statements(data.decode("utf-8-sig", "replace"))


def _read(path: Path | None) -> bytes:
    assert path is not None
    return path.read_bytes()

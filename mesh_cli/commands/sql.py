"""`mesh sql`: any question about the log."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh_cli.app import ArenaOption, Json, Nats, app
from mesh_cli.exit import run

Form = Literal["table", "json", "jsonl", "csv", "markdown", "parquet"]


@app.command
def sql(
    statement: str | None = None,
    *,
    arena: ArenaOption = None,
    nats: Nats = None,
    file: Annotated[
        Path | None,
        Parameter(
            name=["--file", "-f"],
            allow_leading_hyphen=True,
            help="Read statements from this file; - means standard input.",
        ),
    ] = None,
    form: Annotated[Form | None, Parameter(name=["--format", "-F"], help="Write rows in this format.")] = None,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Write to this file instead of standard output.")
    ] = None,
    json: Json = False,
    csv: Annotated[bool, Parameter(negative="", help="Print CSV instead of a table.")] = False,
    max_rows: Annotated[
        int | None,
        Parameter(
            help="Return at most this many rows, 0 for all; default: 1000 as table, markdown or JSON, else all.",
            validator=Number(gte=0),
        ),
    ] = None,
    timeout_s: Annotated[
        float, Parameter(help="Interrupt the statement after this many seconds.", validator=Number(gt=0))
    ] = 10.0,
    no_pager: Annotated[bool, Parameter(negative="", help="Do not start a pager.")] = False,
) -> int:
    """Query all arenas in SQL (read-only), also while the swarm runs. Without a statement, start a prompt.

    Views: leaderboard, runs, proposals, lineage, frontier, agents, critics, workers, noise, cost, board, events.

    Example: mesh sql "SELECT state, count(*) FROM runs GROUP BY ALL"
    """

    async def work() -> None:
        from mesh_cli.sql.command import sql_command
        from mesh_cli.sql.query import Options, output_form

        chosen = output_form(form, json=json, csv=csv)
        await sql_command(
            Options(statement, file, chosen, output, max_rows, timeout_s, paged=not no_pager), arena=arena, nats=nats
        )

    return run(work)

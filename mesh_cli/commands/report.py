"""`mesh report`: one file that tells what an arena found."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh_cli.app import ArenaOption, Nats, app
from mesh_cli.exit import run


@app.command
def report(
    *,
    output: Annotated[
        Path,
        Parameter(
            name=["-o", "--output"],
            allow_leading_hyphen=True,
            help="Write to this file: .html, .png or .md; - means standard output.",
        ),
    ] = Path("report.html"),
    arena: ArenaOption = None,
    nats: Nats = None,
    to_seq: Annotated[
        int | None, Parameter(help="Report only the log up to this sequence number.", validator=Number(gte=1))
    ] = None,
) -> int:
    """Write a report of an arena into one file: a plot of all runs, the champion's lineage, noise, cost, dead ends.

    Example: mesh report -o report.html
    """

    async def work() -> None:
        from mesh_cli.render.step_progress import StepProgress

        with StepProgress() as progress:
            progress.at("report: starting")  # before the imports, which take most of a second
            from mesh_cli.connect import reach
            from mesh_cli.history.report import STDOUT, report_form, write
            from mesh_cli.history.report import report as made

            form = report_form(output)
            async with reach(arena, nats) as bus:
                data, verdict = await made(bus, form, to_seq, progress.at)
        if output == STDOUT:
            print(data.decode(), end="")
        else:
            write(output, data)
            print(output)
        print(verdict, file=sys.stderr)

    return run(work)

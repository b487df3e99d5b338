"""`mesh new`: an arena from a template and your own data."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from mesh_cli.app import app
from mesh_cli.exit import run


@app.command
def new(
    template: str,
    target: Path,
    *,
    data: Annotated[
        Path | None, Parameter(help="Use this file or folder of yours; default: the data that the template makes.")
    ] = None,
    map_: Annotated[
        list[str] | None,
        Parameter(name="--map", help="Say which column of yours is which: COLUMN=NAME. May be repeated."),
    ] = None,
    table: Annotated[
        list[str] | None, Parameter(help="Say which file of yours is which: TABLE=FILE. May be repeated.")
    ] = None,
    decimal: Annotated[
        Literal["comma", "point"] | None, Parameter(help="Decimal sign, where the numbers leave it open.")
    ] = None,
    dates: Annotated[
        Literal["dmy", "mdy"] | None, Parameter(help="Order of day and month, where the dates leave it open.")
    ] = None,
    skip_bad_rows: Annotated[bool, Parameter(negative="", help="Leave out rows that cannot be read.")] = False,
) -> int:
    """Make an arena from a template that comes with the mesh, and from your own data.

    It shows which column is which and checks every value. The data stay where they are.

    Example: mesh new invoices my-invoices --data exports
    """

    async def work() -> None:
        from mesh_cli.render.columns import width_of_output
        from mesh_cli.setup.new_arena import NewWanted, new_arena
        from mesh_cli.setup.new_view import measured_lines, table_lines

        wanted = NewWanted(data, tuple(map_ or ()), tuple(table or ()), decimal or "", dates or "", skip_bad_rows)
        made = new_arena(template, target, wanted)
        print(f"arena {made.name} in {made.folder}, from the template {made.template}")
        for line in [*table_lines(made, width_of_output()), *measured_lines(made)]:
            print(line)
        print(f"\nnext: mesh up {target}")

    return run(work)

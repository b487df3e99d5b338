"""`mesh code`: the files of a proposal, without a folder."""

import sys
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh_cli.app import ArenaOption, Json, Nats, app, print_json
from mesh_cli.exit import run


@app.command
def code(
    proposal: Annotated[str, Parameter(help="The proposal; default: the champion, else the baseline.")] = "",
    path: Annotated[str, Parameter(help="A file of it; default: list all.")] = "",
    *,
    first_line: Annotated[int, Parameter(name="--from", help="Begin with this line.", validator=Number(gte=1))] = 1,
    arena: ArenaOption = None,
    nats: Nats = None,
    json: Json = False,
) -> int:
    """List the files of a proposal, or show one of them between marks; no hidden files and no private data.

    Example: mesh code champion train.py
    """

    async def work() -> None:
        from gateway.code import code as code_of
        from mesh.text import printable
        from mesh_cli.connect import reach_door

        async with reach_door(arena, nats) as door:
            found = await code_of(door, proposal, path, first_line=first_line)
        if json:
            print_json(found)
            return
        for each in found.files if not path else ():
            print(f"{each.bytes:>10,} {'editable ' if each.may_change else 'protected'} {printable(each.path, 200)}")
        if path:
            print(found.text)
        if found.left_out:
            what = "lines" if path else "files"
            print(f"mesh: {found.left_out:,} {what} follow; go on with --from {found.next_line}", file=sys.stderr)

    return run(work)

"""`mesh diff`: two proposals side by side."""

from functools import partial
from typing import Annotated

from cyclopts import Parameter

from mesh_cli.app import ArenaOption, Color, Json, Nats, app, print_json
from mesh_cli.exit import run


@app.command
def diff(
    first: str,
    second: str | None = None,
    *,
    base: Annotated[
        bool, Parameter(name="--base", negative="", help="Compare one proposal with the baseline of the arena.")
    ] = False,
    parent: Annotated[
        bool, Parameter(name="--parent", negative="", help="Compare one proposal with its first parent (the default).")
    ] = False,
    arena: ArenaOption = None,
    nats: Nats = None,
    stat: Annotated[bool, Parameter(negative="", help="Print only how many lines of each file changed.")] = False,
    color: Color = None,
    json: Json = False,
) -> int:
    """Compare two proposals: metric, cost, knobs and code. A single proposal is compared with its first parent.

    With --base, a single proposal is compared with the baseline: all that the search has changed.

    Example: mesh diff champion --base
    """

    async def work() -> None:
        from mesh.errors import BadInput
        from mesh_cli.connect import code_store_of, files_of, opened_board_of, pair_of, reach
        from mesh_cli.projected.asking import from_projector
        from mesh_cli.projected.compared import projected_proposals
        from mesh_cli.proposals.diff import comparison, lines_of
        from mesh_cli.render.colour import Ink, is_coloured

        if base and parent:
            raise BadInput("--base and --parent name two things to compare with; give one of them")
        if second is not None and (base or parent):
            option = "--base" if base else "--parent"
            raise BadInput(f"{option} names what to compare with, and so does {second}; leave one of them out")
        async with reach(arena, nats) as bus:
            ask = partial(projected_proposals, words=[first, *([second] if second else [])])
            board, code = await from_projector(bus, ask) or await opened_board_of(bus), code_store_of(bus)
            old, new = pair_of(board, first, second, "base" if base else "parent")
            before, after = await files_of(board, code, old), await files_of(board, code, new)
        compared = comparison(board, old, new, before, after)
        if json:
            print_json(compared)
        else:
            print("\n".join(lines_of(board, compared, stat=stat, ink=Ink(is_coloured(color)))))

    return run(work)

"""`mesh diff`: two proposals side by side."""

from typing import Annotated

from cyclopts import Parameter

from mesh_cli.app import ArenaOption, Color, Json, Nats, app, print_json
from mesh_cli.exit import run


@app.command
def diff(
    first: str,
    second: str | None = None,
    *,
    arena: ArenaOption = None,
    nats: Nats = None,
    stat: Annotated[bool, Parameter(negative="", help="Print only how many lines of each file changed.")] = False,
    color: Color = None,
    json: Json = False,
) -> int:
    """Compare two proposals: metric, cost, knobs and code. A single proposal is compared with its first parent.

    Example: mesh diff champion --stat
    """

    async def work() -> None:
        from mesh_cli.connect import code_store_of, files_of, opened_board_of, pair_of, reach
        from mesh_cli.proposals.diff import comparison, lines_of
        from mesh_cli.render.colour import Ink, is_coloured

        async with reach(arena, nats) as bus:
            board, code = await opened_board_of(bus), code_store_of(bus)
            old, new = pair_of(board, first, second)
            before, after = await files_of(board, code, old), await files_of(board, code, new)
        compared = comparison(board, old, new, before, after)
        if json:
            print_json(compared)
        else:
            print("\n".join(lines_of(board, compared, stat=stat, ink=Ink(is_coloured(color)))))

    return run(work)

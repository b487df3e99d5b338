"""`mesh close`: the end of an arena."""

from typing import Annotated

from cyclopts import Parameter

from mesh_cli.app import ArenaOption, Nats, app
from mesh_cli.exit import run


@app.command
def close(
    *,
    arena: ArenaOption = None,
    nats: Nats = None,
    text: Annotated[str, Parameter(help="Say why, for those who read the log.")] = "",
) -> int:
    """Close an arena: all of its agents and workers stop.

    Example: mesh close --arena digits
    """

    async def work() -> None:
        from mesh.errors import BadInput
        from mesh.events import ArenaClosed
        from mesh.follow import post_once
        from mesh.wire import Post
        from mesh_cli.connect import board_of, own_author, reach

        async with reach(arena, nats) as bus:
            board = await board_of(bus)
            if board.opened is None or board.closed:
                raise BadInput(f"arena {bus.arena} is not open; mesh open FOLDER opens it")
            event = ArenaClosed(version=board.opened.version, reason="operator", text=text)
            await post_once(bus, board, Post.new(own_author(None, nats), event))
            print(f"arena {bus.arena} is closed")

    return run(work)

"""`mesh kill`: a person stops one run."""

from typing import Annotated

from cyclopts import Parameter

from mesh_cli.app import ArenaOption, AuthorOption, Nats, app
from mesh_cli.exit import run


@app.command
def kill(
    run_name: Annotated[str, Parameter(help="Name of the run, or the start of it; `mesh show champion` lists runs.")],
    *,
    text: Annotated[str, Parameter(help="Say why, for those who read the log.")] = "",
    arena: ArenaOption = None,
    nats: Nats = None,
    name: AuthorOption = None,
) -> int:
    """Stop one run that waits or runs; it ends without a score, and its proposal may be run again.

    Example: mesh kill run:3f2a91c0 --text "the data was wrong"
    """

    async def work() -> None:
        from mesh.events import RunKilled
        from mesh.follow import post_once
        from mesh.wire import Post
        from mesh_cli.connect import opened_board_of, own_author, reach
        from mesh_cli.proposals.stop_run import find_unfinished

        async with reach(arena, nats) as bus:
            board = await opened_board_of(bus)
            found = find_unfinished(board, run_name)
            event = RunKilled(run=found, by="operator", text=text)
            await post_once(bus, board, Post.new(own_author(name, nats), event))
            print(found)

    return run(work)

"""`mesh propose`: a person proposes a change."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mesh_cli.app import ArenaOption, Nats, app
from mesh_cli.exit import run


@app.command
def propose(
    folder: Annotated[Path, Parameter(help="A folder with the editable files, changed as you propose.")],
    *,
    title: Annotated[str, Parameter(help="Say in one line what changes.")],
    text: Annotated[str, Parameter(help="Say why it should be better.")] = "",
    parent: Annotated[
        str | None, Parameter(help="The proposal that it changes; default: the champion, else the baseline.")
    ] = None,
    gain: Annotated[float | None, Parameter(help="Predict the gain over the parent, in units of the metric.")] = None,
    arena: ArenaOption = None,
    nats: Nats = None,
    name: Annotated[str, Parameter(help="Author of the proposal.")] = "operator",
) -> int:
    """Propose the editable files of a folder, and print the tree hash. The swarm runs and confirms them like any other.

    Example: mesh propose ./my-copy --title "warm up longer" --text "the loss jumps in the first steps"
    """

    async def work() -> None:
        import sys

        from mesh.agent.draft import Draft
        from mesh.events import Origin
        from mesh.text import short
        from mesh.wire import check_token
        from mesh_cli.connect import code_store_of, opened_board_of, reach
        from mesh_cli.proposals.propose import editable_files, post_draft
        from mesh_cli.resolve import find_proposal

        check_token("name", name)
        async with reach(arena, nats) as bus:
            board = await opened_board_of(bus)
            parents = (find_proposal(board, parent),) if parent else (board.champion,) if board.champion else ()
            files = editable_files(board, folder)
            origin = Origin(how="human", name=name)
            draft = Draft(files, title, text, parents, predicted_gain=gain, origin=origin)
            tree, known_by = await post_draft(bus, code_store_of(bus), board, draft, name)
            if known_by:
                print(
                    f"mesh: proposal {short(tree)} by {known_by} has these files; nothing was posted", file=sys.stderr
                )
            print(tree)

    return run(work)

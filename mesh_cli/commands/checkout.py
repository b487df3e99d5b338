"""`mesh checkout`: a proposal's files into a folder to work in."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mesh_cli.app import ArenaOption, Json, Nats, app, print_json
from mesh_cli.exit import run


@app.command
def checkout(
    proposal: Annotated[
        str,
        Parameter(
            help="A proposal, a run or a sequence number, champion or baseline; default: champion, else baseline.",
            show_default=False,
        ),
    ] = "",
    folder: Annotated[
        Path | None, Parameter(help="A new folder, or an unchanged checkout; default: a new one here.")
    ] = None,
    *,
    arena: ArenaOption = None,
    nats: Nats = None,
    json: Json = False,
) -> int:
    """Write the files of a proposal into a folder, as a trial sees them; then edit there and run `mesh propose`.

    Files that were changed in the folder are never overwritten.

    Example: mesh checkout champion ./work
    """

    async def work() -> None:
        import sys

        from gateway.checkout import check_out
        from mesh.text import printable, short
        from mesh_cli.connect import reach_door
        from mesh_cli.proposals.checkout_settings import settings_text, write_settings

        async with reach_door(arena, nats) as door:
            tree = await door.proposal(proposal)
            name = short(tree) if tree else "baseline"
            done = await check_out(door, tree or "baseline", (folder or Path(f"{door.board.arena}-{name}")).absolute())
            write_settings(Path(done.folder), settings_text(door.board.arena, nats))
        if json:
            print_json(done)
            return
        print(done.folder)
        written = f"{len(done.written)} file{'' if len(done.written) == 1 else 's'} written"
        print(f"mesh: {short(done.proposal)} is in {done.folder} ({written})", file=sys.stderr)
        print(f"mesh: change {', '.join(done.editable)}, then run `mesh propose` there", file=sys.stderr)
        if done.left_out:
            names = ", ".join(printable(each, 60) for each in done.left_out[:5])
            print(f"mesh: not written, because tools would obey it: {names}", file=sys.stderr)
        if done.closed:
            print(f"mesh: arena {done.arena} is closed ({done.closed}) and takes no proposals", file=sys.stderr)

    return run(work)

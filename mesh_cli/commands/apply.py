"""`mesh apply`: a proposal's files into the user's folder."""

from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mesh_cli.app import ArenaOption, Color, Json, Nats, app, print_json
from mesh_cli.exit import run


@app.command(name="apply")
def write_proposal(
    proposal: str = "champion",
    *,
    folder: Annotated[
        Path | None, Parameter(help="Write into this folder; default: the one that the arena was opened from.")
    ] = None,
    check: Annotated[bool, Parameter(negative="", help="Show what would change, and write nothing.")] = False,
    arena: ArenaOption = None,
    nats: Nats = None,
    color: Color = None,
    json: Json = False,
) -> int:
    """Write the editable files of the champion, or of a named proposal, into the folder of its arena; show the diff.

    What you have changed since the proposal was made is kept, such as comments for knobs. Where the proposal changes
    the same place, nothing is written. Other files stay as they are.

    Example: mesh apply champion --check
    """

    async def work() -> None:
        import sys

        from gateway.answers import applied
        from gateway.resolve import find_proposal
        from mesh import settings
        from mesh.arena import load_arena
        from mesh.editable_paths import editable_paths
        from mesh.rule_breaches import base_commit_of
        from mesh.text import printable, short
        from mesh.tool_orders import without_orders
        from mesh_cli.arenas import told_folder
        from mesh_cli.connect import code_store_of, files_of, opened_board_of, reach
        from mesh_cli.projected.asking import from_projector
        from mesh_cli.projected.compared import projected_proposals
        from mesh_cli.proposals.apply_files import files_to_write, kept_words, origin_of, shown_path, write_over
        from mesh_cli.proposals.diff import changed_lines
        from mesh_cli.render.colour import Ink, is_coloured

        given = told_folder(folder) if folder else None
        async with reach(arena or (load_arena(given).name if given else None), nats) as bus:
            place = given or origin_of(settings.home(), bus.arena, proposal)
            known_there = await from_projector(bus, partial(projected_proposals, words=[proposal]))
            board, code = known_there or await opened_board_of(bus), code_store_of(bus)
            tree = find_proposal(board, proposal)
            chosen = await files_of(board, code, tree)
            own_base = await code.files(base_commit_of(board, tree)) if tree in board.proposals else None
            known = [await files_of(board, code, each) for each in ("", *board.champions)]
        chosen, left_out = without_orders(known[0], chosen)
        wanted = files_to_write(place, editable_paths(board.spec, chosen), chosen, known, own_base=own_base)
        before = {file.name: file.before for file in wanted if file.before is not None}
        after = {file.name: file.after for file in wanted}
        for line in [] if json else changed_lines(before, after, Ink(is_coloured(color))):
            print(line)
        words = f"proposal {short(tree)}"
        for file in wanted:
            if file.kept:
                since = f"mesh: {file.name} in {place} changed since {words} was made"
                print(f"{since}; {kept_words(file, chosen[file.name])}", file=sys.stderr)
        if left_out:
            names = ", ".join(printable(name, 60) for name in left_out[:5])
            print(f"mesh: not written, because tools in the folder would obey it: {names}", file=sys.stderr)
        if not wanted:
            print(f"mesh: {place} has the files of {words} already; nothing to write", file=sys.stderr)
        elif check:
            names = ", ".join(file.name for file in wanted)
            print(f"mesh: would write {names} of {words} into {place}; nothing was written", file=sys.stderr)
        else:
            for path in write_over(wanted):
                print(f"mesh: wrote {shown_path(path)} of {words}", file=sys.stderr)
        if json:
            kept = tuple(file.name for file in wanted if file.kept)
            print_json(applied(board, tree, str(place), tuple(after), kept, is_written=bool(wanted) and not check))

    return run(work)

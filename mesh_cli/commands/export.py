"""`mesh export`: the history of an arena as a `results.tsv`."""

import sys
from pathlib import Path

from mesh_cli.app import ArenaOption, Nats, app
from mesh_cli.exit import run


@app.command
def export(file: Path, *, arena: ArenaOption = None, nats: Nats = None) -> int:
    """Write the history of an arena as a results.tsv, the format of karpathy/autoresearch.

    Example: mesh export results.tsv --arena digits
    """

    async def work() -> None:
        from mesh.recall import recall
        from mesh_cli.connect import board_of, reach
        from mesh_cli.history.results_tsv import imported_proposals, tsv_lines
        from mesh_cli.render.output import atomically

        async with reach(arena, nats) as bus:
            board = await board_of(bus)
            await recall(bus, board, imported_proposals(board))
            lines = tsv_lines(board)
        with atomically(file) as beside:
            beside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
        print(f"{len(lines) - 1} rows in {file}", file=sys.stderr)

    return run(work)

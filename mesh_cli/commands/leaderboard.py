"""`mesh leaderboard`: what the swarm found."""

import sys

from mesh_cli.app import ArenaOption, Json, Nats, Rows, app, print_json
from mesh_cli.exit import run


@app.command
def leaderboard(*, arena: ArenaOption = None, nats: Nats = None, n: Rows = 20, json: Json = False) -> int:
    """Rank the proposals: the champion, confirmed scores by the worse bound of their interval, candidate scores.

    Example: mesh leaderboard --json
    """

    async def work() -> None:
        from mesh.leaderboard import MARKED
        from mesh.leaderboard import leaderboard as rows_of
        from mesh_cli.connect import opened_board_of, reach
        from mesh_cli.proposals.leaderboard_table import ranking
        from mesh_cli.render.columns import width_of_output

        async with reach(arena, nats) as bus:
            board = await opened_board_of(bus)
        rows = rows_of(board)[:n]
        if json:
            print_json(rows)
            return
        print("\n".join(ranking(board.spec.objective, rows, width_of_output())))
        if any(row.self_reported for row in rows):
            print(MARKED, file=sys.stderr)

    return run(work)

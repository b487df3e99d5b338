"""`mesh leaderboard`: what the swarm found."""

import sys

from mesh.cli.app import Arena, Json, Nats, Rows, app, print_json
from mesh.cli.run import run


@app.command
def leaderboard(*, arena: Arena = None, nats: Nats = None, n: Rows = 20, json: Json = False) -> int:
    """Rank the proposals: the champion, what has fresh scores by the bound of its 95 % interval, then claims.

    Example: mesh leaderboard --json
    """

    async def work() -> None:
        from mesh.cli.ranks import ranking
        from mesh.cli.reach import board_of, reach
        from mesh.cli.tables import width_of_output
        from mesh.cli.text import MARKED, standing

        async with reach(arena, nats) as bus:
            board = await board_of(bus)
        rows = standing(board)[:n]
        if json:
            print_json(rows)
            return
        print("\n".join(ranking(board, rows, width_of_output())))
        if any(r["self_reported"] for r in rows):
            print(MARKED, file=sys.stderr)

    return run(work)

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
        from mesh.cli.reach import board_of, reach
        from mesh.cli.text import MARKED, interval, printable, score_of, short, standing

        async with reach(arena, nats) as bus:
            board = await board_of(bus)
        rows = standing(board)[:n]
        if json:
            print_json(rows)
            return
        metric = board.spec.objective.metric
        print(
            f"{'rank':>4} {metric:>10} {'95 % interval':>18} {'seeds':>5} {'state':<13} {'proposal':<10} "
            f"{'author':<12} title"
        )
        for r in rows:
            tree = str(r["proposal"])
            print(
                f"{r['rank']:>4} {score_of(board, tree):>10} {interval(r):>18} {r['seeds']:>5} {r['state']:<13} "
                f"{short(tree)} "
                f"{r['author']:<12} {printable(str(r['title']), 80)}"
            )
        if any(r["self_reported"] for r in rows):
            print(MARKED, file=sys.stderr)

    return run(work)

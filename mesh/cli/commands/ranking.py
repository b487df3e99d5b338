"""`mesh leaderboard` and `lineage`: what the swarm found, and where it came from."""

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


@app.command
def lineage(proposal: str = "champion", *, arena: Arena = None, nats: Nats = None, json: Json = False) -> int:
    """Show where a proposal came from, nearest parents first; a hash may be shortened.

    Example: mesh lineage champion
    """

    async def work() -> None:
        from mesh.cli.reach import board_of, find_proposal, reach
        from mesh.cli.text import is_self_reported, printable, score_of, short

        async with reach(arena, nats) as bus:
            board = await board_of(bus)
        rows: list[dict[str, object]] = []
        todo, seen = [(find_proposal(board, proposal), 0)], set()
        while todo:
            tree, depth = todo.pop(0)
            if tree in seen or tree not in board.proposals:
                continue
            seen.add(tree)
            event, scores = board.proposals[tree].event, board.scores(tree)
            mean = sum(scores) / len(scores) if scores else None
            row = {"depth": depth, "proposal": tree, "parents": event.parents, "mean": mean, "title": event.title}
            rows.append({**row, "self_reported": is_self_reported(board, tree)})
            todo += [(parent, depth + 1) for parent in event.parents]
        if json:
            print_json(rows)
            return
        for row in rows:
            tree = str(row["proposal"])
            print(f"{row['depth']:>3} {short(tree)} {score_of(board, tree):>9}  {printable(str(row['title']), 90)}")

    return run(work)

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
        from mesh.exactness import exact_sentence
        from mesh.leaderboard import MARKED, Ranking, slower_than_baseline
        from mesh.rule_breaches import ruled_out_words
        from mesh.steady_results import odd_champion
        from mesh_cli.connect import opened_board_of, reach
        from mesh_cli.live.status import score_words, scores_of
        from mesh_cli.proposals.leaderboard_table import ranking
        from mesh_cli.proposals.projected_rows import projected_rows
        from mesh_cli.render.columns import width_of_output

        async with reach(arena, nats) as bus:
            if json and (known := await projected_rows(bus, n)):
                print_json(known)
                return
            board = await opened_board_of(bus)
        ranking_of = Ranking(board)
        rows = ranking_of.rows()[:n]
        if json:
            print_json(rows)
            return
        print("\n".join(ranking(board.spec.objective, rows, width_of_output(), ranking_of.places)))
        if any(row.self_reported for row in rows):
            print(MARKED, file=sys.stderr)
        if board.champion:
            print(f"champion: {score_words(scores_of(board))}", file=sys.stderr)
        if ruled_out := ruled_out_words(board):
            print(ruled_out, file=sys.stderr)
        if slower := slower_than_baseline(ranking_of):
            print(slower, file=sys.stderr)
        if exact := exact_sentence(board):
            print(exact, file=sys.stderr)
        if odd := odd_champion(board):
            print(odd, file=sys.stderr)

    return run(work)

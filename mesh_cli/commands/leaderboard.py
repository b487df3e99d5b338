"""`mesh leaderboard`: what the swarm found."""

import sys
from functools import partial

from mesh_cli.app import ArenaOption, Json, Nats, Rows, app, print_json
from mesh_cli.exit import run


@app.command
def leaderboard(*, arena: ArenaOption = None, nats: Nats = None, n: Rows = 20, json: Json = False) -> int:
    """Rank the proposals: the champion, confirmed scores by the worse bound of their interval, candidate scores.

    Example: mesh leaderboard --json
    """

    async def work() -> None:
        from mesh.leaderboard import Ranking
        from mesh_cli.connect import opened_board_of, reach
        from mesh_cli.projected.asking import from_projector
        from mesh_cli.projected.ranking import projected_ranking, projected_rows
        from mesh_cli.proposals.leaderboard_table import ranking, remarks
        from mesh_cli.render.columns import width_of_output

        async with reach(arena, nats) as bus:
            if json and (known := await projected_rows(bus, n)):
                print_json(known)
                return
            answer = None if json else await from_projector(bus, partial(projected_ranking, first=n))
            of = answer[0] if answer else Ranking(await opened_board_of(bus))
        rows = of.rows()[:n]
        if json:
            print_json(rows)
            return
        print("\n".join(ranking(of.board.spec.objective, rows, width_of_output(), of.places)))
        for sentence in remarks(of, rows):
            print(sentence, file=sys.stderr)

    return run(work)

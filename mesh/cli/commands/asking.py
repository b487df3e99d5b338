"""`mesh sql`: any question about the log."""

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh.cli.app import Arena, Json, Nats, app
from mesh.cli.run import run


@app.command
def sql(
    statement: str,
    *,
    arena: Arena = None,
    nats: Nats = None,
    json: Json = False,
    csv: Annotated[bool, Parameter(negative="", help="Print CSV.")] = False,
    max_rows: Annotated[int, Parameter(help="Rows at the most.", validator=Number(gte=1))] = 1000,
    timeout_s: Annotated[float, Parameter(help="Seconds until it is interrupted.", validator=Number(gt=0))] = 10.0,
) -> int:
    """Ask any question of all arenas in SQL, while the swarm runs; read-only.

    Views: leaderboard, runs, proposals, lineage, frontier, agents, critics, workers, noise, cost, board, events.

    Example: mesh sql "SELECT state, count(*) FROM runs GROUP BY ALL"
    """

    async def work() -> None:
        from analytics.protocol import Query
        from mesh.cli.ask import answer_of, show
        from mesh.cli.reach import pick, reach_hub
        from mesh.errors import BadInput

        if json and csv:
            raise BadInput("--json and --csv exclude each other")
        async with reach_hub(nats) as hub:
            query = Query(sql=statement, max_rows=max_rows, timeout_s=timeout_s)
            answer = await answer_of(hub, await pick(hub, arena), query)
        show(answer, "json" if json else "csv" if csv else "table")

    return run(work)

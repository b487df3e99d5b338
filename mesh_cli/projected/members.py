"""An agent or a worker on a long log, from a projector: totals in SQL, its latest proposals or runs as an excerpt."""

from mesh.bounds import MAX_INTEGER
from mesh.sql_protocol import quoted
from mesh_cli.projected.asking import Projector, Row, Unanswered
from mesh_cli.projected.ranking import ProjectedRanking, projected_ranking
from mesh_cli.projected.totals import LATEST_SHOWN, AgentTotals, WorkerTotals


async def projected_member(projector: Projector, name: str, lives: list[Row]) -> ProjectedRanking:
    """Return a ranking of an excerpt that has what `describe.about` says of an agent or a worker beside its totals.

    Args:
        projector: The projector.
        name: The name of the agent or the worker.
        lives: The rows of the query `members`.

    Raises:
        BusUnavailable: No projector answers.
        Unanswered: It cannot say it; also where an agent and a worker have the name.
    """
    boots = [row["boot"] for row in lives if row["kind"] == "worker"]
    if boots and len(boots) < len(lives):
        raise Unanswered
    return await (_worker(projector, boots) if boots else _agent(projector, name))


async def _agent(projector: Projector, name: str) -> ProjectedRanking:
    author = quoted(name)
    latest = projector.sql("agent_latest", author=author, count=LATEST_SHOWN)
    champions = projector.sql("agent_champions", author=author)
    more = {
        "states": projector.sql("agent_states", author=author),
        "critiques": projector.sql("agent_critiques", author=author),
        "models": f"SELECT * FROM ({projector.sql('models')}) WHERE author = {author}",  # noqa: S608 of our own
    }
    relatives = f"SELECT proposal FROM ({latest}) UNION ALL {champions}"  # noqa: S608 of our own
    ranking, found = await projected_ranking(projector, relatives=relatives, more=more)
    paid = next(iter(found["models"]), None)
    states = _counts(found["states"])
    ranking.totals = AgentTotals(
        proposals=sum(states.values()),
        states=states,
        critiques=_counts(found["critiques"]),
        usd=paid["usd"] if paid else None,
        tokens=min(int(paid["tokens"]), MAX_INTEGER) if paid and paid["tokens"] is not None else None,
    )
    return ranking


async def _worker(projector: Projector, boots: list[str]) -> ProjectedRanking:
    listed = f"({', '.join(map(quoted, boots))})"
    ranking, found = await projected_ranking(
        projector,
        runs=projector.sql("worker_latest", boots=listed, count=LATEST_SHOWN),
        more={"runs": projector.sql("worker_runs", boots=listed)},
    )
    outcomes = _counts(found["runs"])
    seconds = sum(row["seconds"] or 0.0 for row in found["runs"])
    ranking.totals = WorkerTotals(runs=sum(outcomes.values()), outcomes=outcomes, worker_s=seconds)
    return ranking


def _counts(rows: list[Row]) -> dict[str, int]:
    return {row["word"]: row["count"] for row in rows}

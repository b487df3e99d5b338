"""What a word of the command line names, from a projector: an excerpt that has all that the word may name."""

from collections.abc import Sequence

from gateway.resolve import find
from mesh.admission_order import queue_place
from mesh.sql_protocol import quoted
from mesh_cli.projected.asking import Projector, Unanswered
from mesh_cli.projected.members import projected_member
from mesh_cli.projected.ranking import ProjectedRanking, projected_ranking

MOST_NAMES = 500
"""Proposals and runs that start with a word; where there are more, the log is folded."""

_IN_FULL = 3
"""Proposals that start with a word and come with their runs; of more the word names none."""
_RUNS_IN_FULL = 5


async def projected_thing(projector: Projector, word: str) -> ProjectedRanking:
    """Return a ranking whose board says of the proposal, run or fact that a word names what the whole board says.

    Raises:
        BusUnavailable: No projector answers.
        Unanswered: It cannot say it: too much starts with the word, or too many proposals are undecided.
        UnknownName: It names nothing, or several things.
    """
    plain = word.rpartition(":")[2]
    found = await projector.tables(
        {
            "names": projector.sql("names", word=quoted(plain), most=MOST_NAMES),
            "waiting": projector.sql("waiting", word=quoted(plain), most=1),
            "members": projector.sql("members", author=quoted(plain)),
        }
    )
    trees, runs = ([row["name"] for row in found["names"] if row["kind"] == kind] for kind in ("proposal", "run"))
    if not plain or len(trees) + len(runs) >= MOST_NAMES:
        raise Unanswered
    if found["members"] and not trees and not runs:
        ranking = await projected_member(projector, plain, found["members"])
        if find(ranking.board, word)[0].kind in ("agent", "worker"):
            return ranking
    chosen = projector.sql("ends") if word.removeprefix("proposal:") in ("champion", "baseline") else listed(trees)
    in_full = chosen if len(trees) <= _IN_FULL else ""
    queued = f"{in_full} UNION ALL {projector.sql('undecided')}"
    relatives = projector.sql("relatives", trees=in_full) if in_full else listed(trees)
    is_queued = bool(in_full and found["waiting"])
    ranking, _ = await projected_ranking(
        projector,
        trees=queued if is_queued else in_full,
        relatives=relatives,
        runs=listed(runs, "run"),
        queue=is_queued,  # its place is that among all that wait
        whole=not trees and len(runs) <= _RUNS_IN_FULL,
    )
    named, _ = find(ranking.board, word)
    if named.kind == "proposal" and not in_full:
        raise Unanswered
    if named.kind in ("agent", "worker"):
        return await projected_member(projector, plain, found["members"])
    if named.kind == "run" and (trees or len(runs) > _RUNS_IN_FULL):
        ranking, _ = await projected_ranking(projector, runs=listed(runs, "run"), whole=True)
    if named.kind != "proposal" or is_queued:
        return ranking
    if queue_place(ranking.board, named.id).stage in ("queued", "requested"):  # again, by another evaluator
        ranking, _ = await projected_ranking(projector, trees=queued, relatives=relatives, queue=True)
    return ranking


def listed(names: Sequence[str], column: str = "proposal") -> str:
    """Return the query for some names; "" without any."""
    return f"SELECT unnest([{', '.join(map(quoted, names))}]) AS {column}" if names else ""

"""Boards from a projector on which proposals are compared as on the whole board, and the proposals without children."""

from collections.abc import Sequence

from mesh.board import Board
from mesh.sql_protocol import quoted
from mesh_cli.projected.asking import Projector, Unanswered
from mesh_cli.projected.excerpt import MOST_PROVEN, excerpt, sequences
from mesh_cli.projected.named import MOST_NAMES, listed
from mesh_cli.projected.ranking import ProjectedRanking, projected_ranking

_IN_FULL = 3
"""Proposals that start with a word and come with their runs; of more the word names none."""
_MOST_LEAVES = 300


async def projected_proposals(projector: Projector, words: Sequence[str]) -> Board:
    """Return a board that has champions and baseline, the proposals that words name, and their parents.

    It has all proofs too, so that noise and what seeds share are those of the whole board.

    Args:
        projector: The projector.
        words: Each names a proposal.

    Raises:
        BusUnavailable: No projector answers.
        Unanswered: It cannot say it, or no proposal is champion.
    """
    plain = [word.removeprefix("proposal:") for word in words]
    plain = [word for word in plain if word not in ("champion", "baseline", "")]
    names = [projector.sql("names", word=quoted(word), most=MOST_NAMES) for word in plain]
    found = await projector.tables({f"n{number}": sql for number, sql in enumerate(names)} | {"n": "SELECT 0 AS name"})
    trees, meant = list[str](), list[str]()
    for number in range(len(names)):
        rows = found[f"n{number}"]
        if len(rows) >= MOST_NAMES:
            raise Unanswered
        own = [row["name"] for row in rows if row["kind"] == "proposal"]
        (trees if len(own) <= _IN_FULL else meant).extend(own)
    chosen = " UNION ALL ".join(filter(None, (projector.sql("ends"), listed(trees))))
    parents = projector.sql("parents", trees=chosen)
    wanted = f"{chosen} UNION {parents} UNION {projector.sql('proven')}"
    answer = await projector.tables(
        {"facts": sequences(projector, trees=wanted, relatives=listed(meant)), "scored": projector.sql("scored")}
    )
    board = await excerpt(projector, answer["facts"], seq=projector.seq, most=MOST_PROVEN)
    if board.opened is None or not board.champion:
        raise Unanswered
    board.scored_seq = answer["scored"][0]["seq"] or 0
    return board


async def projected_leaves(projector: Projector, count: int) -> tuple[ProjectedRanking, list[str]]:
    """Return the first proposals that nobody built on, best first, with a ranking that has them and their parents.

    Raises:
        BusUnavailable: No projector answers.
        Unanswered: It cannot say it, or there are too many.
    """
    if count > _MOST_LEAVES:
        raise Unanswered
    found = await projector.tables({"leaves": projector.sql("leaves", count=count)})
    trees = [row["proposal"] for row in sorted(found["leaves"], key=lambda row: row["place"])]
    parents = [tree for row in found["leaves"] for tree in row["parents"]]
    members = list(dict.fromkeys([*trees, *parents]))
    ranking, _ = await projected_ranking(projector, relatives=listed(members))
    return ranking, trees

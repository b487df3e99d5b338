"""Ancestors and descendants from a projector: an excerpt that has a family, and the parents of its members."""

from collections import deque
from typing import Literal

from gateway.resolve import find_proposal
from mesh.sql_protocol import quoted
from mesh_cli.projected.asking import Projector, Unanswered
from mesh_cli.projected.excerpt import excerpt, sequences
from mesh_cli.projected.named import MOST_NAMES
from mesh_cli.projected.ranking import ProjectedRanking, projected_ranking

MOST_MEMBERS = 1000
"""Members of a family and their parents; where there are more, the log is folded."""


async def projected_family(
    projector: Projector, word: str, way: Literal["up", "down"], depth: int | None
) -> ProjectedRanking:
    """Return a ranking whose board has a proposal with its ancestors or descendants.

    Args:
        projector: The projector.
        word: Names the proposal.
        way: "up" for its ancestors, "down" for its descendants.
        depth: How many steps; None for all.

    Raises:
        BusUnavailable: No projector answers.
        Unanswered: It cannot say it, or there are too many members.
        UnknownName: The word names no proposal, or several.
    """
    plain = word.removeprefix("proposal:")
    names = projector.sql("names", word=quoted(plain), most=MOST_NAMES)
    trees = f"SELECT name AS proposal FROM ({names}) WHERE kind = 'proposal'"  # noqa: S608
    asked = {"names": names, "facts": sequences(projector, relatives=trees), "edges": projector.sql("edges")}
    found = await projector.tables(asked)
    if not plain or len(found["names"]) >= MOST_NAMES:
        raise Unanswered
    board = await excerpt(projector, found["facts"], seq=projector.seq)
    root = board.proposals[find_proposal(board, word)].seq
    members = _closure(root, found["edges"][0]["pairs"] or [], way, depth)
    posted = projector.sql("posted", seqs=", ".join(map(str, members)))
    ranking, _ = await projected_ranking(projector, relatives=posted)
    return ranking


def _closure(root: int, edges: list[list[int]], way: Literal["up", "down"], depth: int | None) -> list[int]:
    """Return the members of a family, one step further than `depth`, and the parents of all of them.

    Args:
        root: The proposal, by the entry that posted it, as all others.
        edges: Each proposal with a parent of it.
        way: As in `projected_family`.
        depth: As in `projected_family`.
    """
    parents: dict[int, list[int]] = {}
    children: dict[int, list[int]] = {}
    for child, parent in edges:
        parents.setdefault(child, []).append(parent)
        if way == "down":
            children.setdefault(parent, []).append(child)
    related = parents if way == "up" else children
    depths, todo = {root: 0}, deque([root])
    while todo:
        member = todo.popleft()
        if depth is not None and depths[member] > depth:
            continue
        for other in related.get(member, []):
            if other not in depths:
                depths[other] = depths[member] + 1
                todo.append(other)
    found = list(dict.fromkeys([*depths, *(parent for member in depths for parent in parents.get(member, []))]))
    if len(found) > MOST_MEMBERS:
        raise Unanswered
    return found

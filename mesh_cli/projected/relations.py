"""Ancestors and descendants from a projector: an excerpt that has a family, and the parents of its members."""

from collections import deque
from typing import Literal

from analytics.sql_protocol import quoted
from gateway.resolve import find_proposal
from mesh_cli.projected.asking import Projector, Unanswered
from mesh_cli.projected.excerpt import excerpt, sequences
from mesh_cli.projected.named import MOST_NAMES, listed
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
    found = await projector.tables({"names": names, "facts": sequences(projector, relatives=trees)})
    if not plain or len(found["names"]) >= MOST_NAMES:
        raise Unanswered
    root = find_proposal(await excerpt(projector, found["facts"], seq=projector.seq), word)
    [[edges]] = await projector.rows(projector.sql("edges"))
    members = _closure(root, edges or [], way, depth)
    ranking, _ = await projected_ranking(projector, relatives=listed(members))
    return ranking


def _closure(root: str, edges: list[list[str]], way: Literal["up", "down"], depth: int | None) -> list[str]:
    """Return the members of a family, one step further than `depth`, and the parents of all of them."""
    parents = {tree: known for tree, *known in edges}
    related = parents
    if way == "down":
        related = {}
        for tree, known in parents.items():
            for parent in dict.fromkeys(known):
                related.setdefault(parent, []).append(tree)
    depths, todo = {root: 0}, deque([root])
    while todo:
        tree = todo.popleft()
        if depth is not None and depths[tree] > depth:
            continue
        for other in related.get(tree, []):
            if other not in depths:
                depths[other] = depths[tree] + 1
                todo.append(other)
    found = list(dict.fromkeys([*depths, *(parent for tree in depths for parent in parents.get(tree, []))]))
    if len(found) > MOST_MEMBERS:
        raise Unanswered
    return found

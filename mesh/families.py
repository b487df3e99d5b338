"""The ancestors or the descendants of a proposal. Pure; nothing recurses."""

from collections import deque
from typing import Literal

import msgspec

from mesh.board import Board
from mesh.proposal_numbers import children_of

Way = Literal["up", "down"]


class Family(msgspec.Struct, frozen=True):
    """The ancestors or descendants of a proposal: the distance of each in steps, nearest first, and the links."""

    root: str
    way: Way
    depths: dict[str, int]
    relatives: dict[str, list[str]]
    cut: int = 0


def family(board: Board, root: str, way: Way, depth: int | None = None) -> Family:
    """Return the family of a proposal as far as `depth` steps; `cut` counts the links that lead further."""
    children = children_of(board) if way == "down" else {}

    def related(tree: str) -> list[str]:
        if way == "down":
            return children.get(tree, [])
        return list(dict.fromkeys(board.proposals[tree].event.parents)) if tree in board.proposals else []

    depths, relatives, cut = {root: 0}, {}, 0
    todo = deque([root])
    while todo:
        tree = todo.popleft()
        if depth is not None and depths[tree] >= depth:
            cut += sum(1 for other in related(tree) if other not in depths)
            continue
        relatives[tree] = related(tree)
        for other in relatives[tree]:
            if other not in depths:
                depths[other] = depths[tree] + 1
                todo.append(other)
    return Family(root, way, depths, relatives, cut)

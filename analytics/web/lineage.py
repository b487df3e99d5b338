"""The lineage of proposals as nodes and edges: all of it, or the most important part of a large one. Pure."""

from collections import deque
from typing import Any

from analytics.web.view_cache import State
from mesh.board import Board
from mesh.leaderboard import state_of
from mesh.outcomes import is_early_stopped

_TITLE = 160


def lineage(board: Board, state: State, limit: int) -> dict[str, Any]:
    """Return at most `limit` proposals and the edges between them, in the order of the log.

    The champion and its ancestors come first, then the best of the leaderboard and the latest proposals in turn.

    Args:
        board: the folded log.
        state: the views of the page, for the means and states.
        limit: the most proposals to return.
    """
    ranked = {row["proposal"]: row for row in state.standing.records()}
    shown = _chosen(board, list(ranked), limit)
    nodes = [_node(board, tree, ranked.get(tree)) for tree in board.proposals if tree in shown]
    return {"seq": board.seq, "total": len(board.proposals), "champion": board.champion, "nodes": nodes}


def _chosen(board: Board, ranked: list[str], limit: int) -> set[str]:
    if limit >= len(board.proposals):
        return set(board.proposals)
    shown: dict[str, None] = {}
    for tree in _ancestry(board, board.champion):
        if len(shown) < limit // 2:
            shown[tree] = None
    latest = list(board.proposals)[::-1]
    for pair in zip(ranked + latest, latest + ranked, strict=True):
        for tree in pair:
            if len(shown) < limit and tree in board.proposals:
                shown[tree] = None
    return set(shown)


def _ancestry(board: Board, tree: str) -> list[str]:
    """Return a proposal and its ancestors, nearest first."""
    seen: dict[str, None] = {}
    todo = deque([tree])
    while todo:
        tree = todo.popleft()
        if tree in seen or tree not in board.proposals:
            continue
        seen[tree] = None
        todo.extend(board.proposals[tree].event.parents)
    return list(seen)


def _node(board: Board, tree: str, row: dict[str, Any] | None) -> dict[str, Any]:
    proposal = board.proposals[tree]
    return {
        "id": tree,
        "seq": proposal.seq,
        "title": proposal.event.title[:_TITLE],
        "author": proposal.author,
        "origin": proposal.event.origin.how,
        "parents": proposal.event.parents,
        "state": state_of(proposal, fresh=row["fresh"] if row else None),
        **_ended(board, tree),
        "mean": row["mean"] if row else None,
    }


def _ended(board: Board, tree: str) -> dict[str, bool]:
    """Tell whether runs of a proposal ended, none of them with a number: all failed, or some stopped early."""
    ended = [run for name in board.proposals[tree].runs if (run := board.runs[name]).finished]
    without = bool(ended) and not any(run.has_number for run in ended)
    stopped = any(is_early_stopped(run.finished.outcome) for run in ended if run.finished)
    return {"failed": without and not stopped, "stopped": without and stopped}

"""Ancestors and descendants of a proposal, drawn as a tree, as rows or for Graphviz. Pure.

A single relative stands below at the same indent; several get a branch each. So a chain of ten thousand stays narrow.
Nothing recurses.
"""

from collections.abc import Callable, Iterator

from mesh.board import Board
from mesh.families import Family
from mesh.leaderboard import Ranking, row_score
from mesh.proposal_numbers import children_of, gain_over_parents
from mesh.text import printable, short, signed_number

DEEPEST = 16
"""Branches inside of branches that are drawn; further ones show their level instead."""


def rows(board: Board, found: Family, ranking: Ranking | None = None) -> list[dict[str, object]]:
    """Return a row for every member, nearest first; `ranking` is one of the board."""
    ranking = ranking or Ranking(board)
    return [lineage_row(ranking, tree) | {"depth": depth} for tree, depth in found.depths.items()]


def lineage_row(ranking: Ranking, tree: str) -> dict[str, object]:
    """Return a proposal as a row; `gain` is over its best parent, the difference that it made itself."""
    proposal, scored = ranking.board.proposals.get(tree), ranking.of(tree)
    if proposal is None:
        return {"proposal": tree, "parents": (), "mean": None, "gain": None, "state": "unknown", "title": ""}
    return {
        "proposal": tree,
        "parents": proposal.event.parents,
        "mean": scored.mean if scored else None,
        "gain": gain_over_parents(ranking, tree),
        "state": ranking.state(tree),
        "author": proposal.author,
        "title": proposal.event.title,
        "self_reported": scored is not None and scored.self_reported,
    }


def leaves(ranking: Ranking) -> list[str]:
    """Return the proposals that nobody built on: by mean, the best first, then those without any score."""
    built_on = children_of(ranking.board)
    found = [(ranking.of(tree), tree) for tree in ranking.board.proposals if tree not in built_on]
    found.sort(key=lambda leaf: (leaf[0] is None, -ranking.gain(leaf[0].mean) if leaf[0] else 0.0))
    return [tree for _, tree in found]


def line(ranking: Ranking, tree: str) -> str:
    """Return a proposal in one line: hash, mean, state, gain over its parents, title."""
    if (proposal := ranking.board.proposals.get(tree)) is None:
        return f"{printable(short(tree))} (not on the board)"
    gain = gain_over_parents(ranking, tree)
    change = signed_number(gain) if gain is not None else ""
    score, state = row_score(ranking.of(tree), ranking.places), ranking.state(tree)
    return f"{short(tree)} {score:>9} {state:<13} {change:>8}  {printable(proposal.event.title, 90)}"


def drawn(found: Family, say: Callable[[str], str]) -> Iterator[str]:
    """Draw the family; a member that is reached again is a reference to its first place."""
    seen: set[str] = set()
    # What is still to be drawn, the next one last: a member, its level, the branches to the left of it, its own mark.
    todo: list[tuple[str, int, str, str]] = [(found.root, 0, "", "")]
    while todo:
        tree, level, before, mark = todo.pop()
        left = before if level <= DEEPEST else f"⋯{level:<5}{before}"
        if tree in seen:
            yield f"{left}{mark}↑ see {printable(short(tree))}"
            continue
        seen.add(tree)
        yield f"{left}{mark}{say(tree)}"
        if mark:
            before = (before + ("│  " if mark == "├─ " else "   "))[-3 * DEEPEST :]
            level += 1
        others = found.relatives.get(tree, [])
        if len(others) == 1:
            todo.append((others[0], level, before, ""))
            continue
        for place, other in reversed(list(enumerate(others))):
            todo.append((other, level, before, "└─ " if place == len(others) - 1 else "├─ "))


def dot(board: Board, found: Family, ranking: Ranking | None = None) -> Iterator[str]:
    """Write the family as a graph for graphviz, parents above their children; `ranking` is one of the board."""
    ranking = ranking or Ranking(board)
    yield f"digraph {_quoted(f'lineage of {short(found.root)}')} {{"
    yield "  node [shape=box, fontname=monospace];"
    for tree in found.depths:
        title = printable(board.proposals[tree].event.title, 60) if tree in board.proposals else "not on the board"
        shape = ", peripheries=2" if tree == board.champion else ""
        label = f"{printable(short(tree))}  {row_score(ranking.of(tree), ranking.places)}"
        yield f"  {_quoted(tree)} [label={_quoted(label, title)}{shape}];"
    for tree, others in found.relatives.items():
        for other in others:
            parent, child = (other, tree) if found.way == "up" else (tree, other)
            yield f"  {_quoted(parent)} -> {_quoted(child)};"
    yield "}"


def _quoted(*lines: str) -> str:
    """Return lines as a string of the dot language: a backslash or quote of theirs stays what it is."""
    escaped = (printable(text, 200).replace("\\", "\\\\").replace('"', '\\"') for text in lines)
    return '"' + "\\n".join(escaped) + '"'

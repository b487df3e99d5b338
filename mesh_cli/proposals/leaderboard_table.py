"""The leaderboard as a table for people, of the rows of `mesh.leaderboard.standing`."""

from typing import Any

from mesh.board import Board
from mesh.leaderboard import interval, score_of
from mesh.text import printable, short
from mesh_cli.render.columns import Column, aligned


def columns(metric: str) -> list[Column]:
    """Return the columns; in a narrow terminal the title, then who and how well proven stay longest."""
    return [
        Column("rank", right=True),
        Column(printable(metric, 16), right=True),
        Column("95 % interval", right=True, rank=3),
        Column("seeds", right=True, rank=4),
        Column("state", rank=1),
        Column("proposal"),
        Column("author", rank=2),
        Column("title", fills=True),
    ]


def cells(board: Board, row: dict[str, Any]) -> list[str]:
    """Return a row as the cells of `columns`."""
    tree = str(row["proposal"])
    numbers = [str(row["rank"]), score_of(board, tree), interval(row), str(row["seeds"])]
    return [*numbers, row["state"], short(tree), printable(row["author"], 20), printable(row["title"])]


def ranking(board: Board, rows: list[dict[str, Any]], width: int | None) -> list[str]:
    """Return the leaderboard as lines of at most `width` cells."""
    return aligned(columns(board.spec.objective.metric), [cells(board, row) for row in rows], width)

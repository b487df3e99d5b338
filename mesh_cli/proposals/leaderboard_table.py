"""The leaderboard as a table for people, of the rows of `mesh.leaderboard`."""

from collections.abc import Sequence

from mesh.exactness import exact_words
from mesh.leaderboard import MARKED, LeaderboardRow, Ranking, row_interval, row_score, slower_than_baseline
from mesh.ruled_out import ruled_out_words
from mesh.slowness import seconds_text
from mesh.spec import ObjectiveSpec
from mesh.steady_results import odd_champion
from mesh.text import plain_number, printable, short
from mesh_cli.proposals.champion_score import score_words, scores_of
from mesh_cli.render.columns import Column, aligned


def columns(goal: ObjectiveSpec, *, sealed: bool = False, missed: bool = False) -> list[Column]:
    """Return the columns; the ranks say which are left out first in a narrow terminal."""
    return [
        Column("rank", right=True),
        Column(printable(goal.metric, 16), right=True),
        *(Column(printable(name, 16), right=True, rank=2) for name in goal.also),
        *([Column("violates", right=True)] if goal.constraints or missed else []),
        *([Column("sealed", right=True), Column("gap", right=True)] if sealed else []),
        Column("95 % interval", right=True, rank=3),
        Column("seeds", right=True, rank=4),
        Column("seconds", right=True, rank=3),
        Column("used s", right=True, rank=5),
        Column("state", rank=1),
        Column("proposal"),
        Column("author", rank=2),
        Column("title", fills=True),
    ]


def cells(
    row: LeaderboardRow, goal: ObjectiveSpec, places: int = 4, *, sealed: bool = False, missed: bool = False
) -> list[str]:
    """Return a row as the cells of `columns`, scores with `places` decimals."""
    others = [f"{row.also[name]:.4g}" if name in row.also else "-" for name in goal.also]
    if goal.constraints or missed:
        others.append("-" if row.violation is None else f"{row.violation:.0%}{f' at {row.stage}' if row.stage else ''}")
    if sealed:
        others += ["-" if value is None else plain_number(value, places) for value in (row.sealed, row.gap)]
    numbers = [str(row.rank), row_score(row, places), *others, row_interval(row, places), str(row.seeds)]
    numbers.append(seconds_text(row.trial_s))
    numbers.append("-" if row.budget_used_s is None else f"{row.budget_used_s:.2f}")
    return [*numbers, row.state, short(row.proposal), printable(row.author, 20), printable(row.title)]


def ranking(goal: ObjectiveSpec, rows: Sequence[LeaderboardRow], width: int | None, places: int = 4) -> list[str]:
    """Return the leaderboard as lines of at most `width` cells, scores with `places` decimals."""
    sealed = any(row.sealed is not None for row in rows)
    missed = any(row.violation is not None for row in rows)
    table = [cells(row, goal, places, sealed=sealed, missed=missed) for row in rows]
    return aligned(columns(goal, sealed=sealed, missed=missed), table, width)


def remarks(of: Ranking, rows: Sequence[LeaderboardRow]) -> list[str]:
    """Return the sentences that stand below a leaderboard: of its champion, and of what does not count."""
    board = of.board
    marked = MARKED if any(row.self_reported for row in rows) else ""
    champion = f"champion: {score_words(scores_of(of))}" if board.champion else ""
    said = (marked, champion, ruled_out_words(board), slower_than_baseline(of), exact_words(of.exact))
    return [*filter(None, (*said, odd_champion(board)))]

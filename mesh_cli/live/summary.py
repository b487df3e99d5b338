"""The last words of `mesh up`: baseline and champion, runs by outcome, what to try next."""

import shutil
import sys
from collections import Counter
from pathlib import Path

from mesh.board import Board
from mesh.events import Failed, Infeasible, Scored
from mesh.leaderboard import Ranking, row_score
from mesh.text import printable, short


def summary(board: Board, first: int, folder: Path, data: Path | None = None) -> None:
    """Print what came of a swarm that began when the log ended with entry `first`; `data` is the option it had."""
    if board.opened is None:
        return
    outcomes: Counter[str] = Counter()
    for run in board.runs.values():
        if run.finished:
            outcome = run.finished.outcome
            outcomes[_ending(outcome)] += 1
    metric = board.spec.objective.metric
    counts = f"{len(board.proposals)} proposals, {len(board.runs)} runs, {board.seq - first} new facts"
    print(f"\narena {board.arena}: {counts}")
    print("runs: " + (", ".join(f"{count} {name}" for name, count in outcomes.most_common()) or "none finished yet"))
    ranking = Ranking(board)
    if (base := baseline_of(ranking)) is not None:
        broken = board.opened is not None and board.violation(board.opened.base_tree) is not None
        print(f"baseline {metric} {base:.4f}{' (infeasible: it violates a constraint)' if broken else ''}")
    if row := ranking.of(board.champion):
        champion = board.proposals[board.champion]
        title = printable(champion.event.title, 90)
        print(f"champion {metric} {row_score(row)}  {short(board.champion)} by {champion.author}: {title}")
    mesh = _program()
    where = f"--arena {board.arena}"
    print(f"next:\n  {mesh} leaderboard {where}\n  {mesh} lineage champion {where}")
    print(
        f"  {mesh} git export /tmp/{board.arena} {where}\n  {mesh} sql \"FROM frontier WHERE arena = '{board.arena}'\""
    )
    print(f"to continue:\n  {mesh} up {folder}{f' --data {data}' if data else ''}")


def _ending(outcome: Scored | Failed) -> str:
    if isinstance(outcome, Infeasible):
        return "infeasible"
    return f"failed ({outcome.reason})" if isinstance(outcome, Failed) else "scored"


def baseline_of(ranking: Ranking) -> float | None:
    """Return the mean score of the artifact as it was opened, None where it has none."""
    opened = ranking.board.opened
    row = ranking.of(opened.base_tree) if opened else None
    return row.mean if row else None


def _program() -> str:
    """Return the command line of this program: its name if the shell finds it, else its path."""
    path = Path(sys.argv[0])
    if path.name == "__main__.py":
        return "python -m mesh_cli"
    if shutil.which(path.name):
        return path.name
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_absolute() and path.is_relative_to(here) else str(path)

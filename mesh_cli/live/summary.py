"""The last words of `mesh up`: baseline and champion, runs by outcome, what to try next."""

import shlex
import shutil
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from agents.curation.waiting_claims import waiting_words
from mesh.board import Board
from mesh.events import PROOF, ProposalRetired, Scored, ScreenedOut
from mesh.evidence import CLOSE, is_close
from mesh.exactness import exact_sentence
from mesh.leaderboard import Ranking, row_interval, row_score, slower_than_baseline
from mesh.model_pauses import why_agents_pause
from mesh.outcomes import how_it_ended
from mesh.ruled_out import ruled_out_words
from mesh.stalled import why_paused
from mesh.steady_results import odd_champion
from mesh.text import plain_number, printable, short
from mesh.times import duration
from mesh.worker_time import time_advice, times_of, worker_time
from mesh_cli.live.headline import busy_machine, frequent_failure, is_reached, models_line, progress_line

Flaws = Counter[str]
_NONE: Flaws = Counter()

CLOSE_SHOWN = 3
"""Close calls that the summary lists."""


def summary(
    board: Board,
    first: int,
    folder: Path,
    data: Path | None = None,
    *,
    elapsed_s: float = 0.0,
    flaws: Flaws = _NONE,
    goal: float | None = None,
    options: Sequence[str] = (),
) -> None:
    """Print what came of a swarm that began when the log ended with entry `first`.

    Args:
        board: The board of the arena.
        first: The last entry before the start.
        folder: The folder of the arena.
        data: The option of that name that the swarm had.
        elapsed_s: Seconds since the start.
        flaws: Why answers of models could not be used.
        goal: The score at which the swarm was to end.
        options: What else the command had, for the one that goes on.
    """
    if board.opened is None:
        return
    outcomes: Counter[str] = Counter()
    for run in board.runs.values():
        if run.finished:
            outcome = run.finished.outcome
            outcomes[how_it_ended(outcome)] += 1
    metric = board.spec.objective.metric
    ended = screening(board)
    counts = f"{len(board.proposals)} proposals, {len(board.runs)} runs, {board.seq - first} new facts"
    print(f"\narena {board.arena}: {counts}")
    if board.closed and board.closed.reason == "budget":
        print(f"closed for its budget: {board.closed.text}; `mesh budget grant USD` grants more")
    print("runs: " + (", ".join(f"{count} {name}" for name, count in outcomes.most_common()) or "none finished yet"))
    if ended:
        print(ended)
    ranking = Ranking(board)
    if (base := baseline_of(ranking)) is not None:
        broken = board.opened is not None and board.missed(board.opened.base_tree) is not None
        remark = " (infeasible: it violates a constraint)" if broken else ""
        print(f"baseline {metric} {plain_number(base, ranking.places)}{remark}")
    if row := ranking.of(board.champion):
        champion = board.proposals[board.champion]
        title = printable(champion.event.title, 90)
        interval = (
            f" (95 %: {row_interval(row, ranking.places)})" if row.low is not None and row.low != row.high else ""
        )
        score = f"{row_score(row, ranking.places)}{interval}"
        print(f"champion {metric} {score}  {short(board.champion)} by {champion.author}: {title}")
    if slower := slower_than_baseline(ranking):
        print(slower)
    if exact := exact_sentence(board):
        print(exact)
    if odd := odd_champion(board):
        print(odd)
    for line in (*filter(None, [ruled_out_words(board)]), *unproven(board), *filter(None, [standing_claim(ranking)])):
        print(line)
    print(progress_line(board, ranking, elapsed_s, None))
    if goal is not None:
        print(f"goal {metric} {goal:g} {'reached' if is_reached(board, goal) else 'not reached'}")
    silent = [why_paused(board), *why_agents_pause(board, board.time)]
    for line in (models_line(board, first, flaws), frequent_failure(board, first), busy_machine(board, first), *silent):
        if line:
            print(line)
    mesh = _program()
    where = f"--arena {board.arena}"
    commands = [f"leaderboard {where}", f"report {where}", f"web {where}"]
    if board.champion:
        changed = board.opened.base_tree != board.champion
        commands += [f"show champion {where}"]
        commands += (
            [f"diff {short(board.opened.base_tree)} champion {where}", f"apply champion {where}"] if changed else []
        )
    if flaws:
        commands += [f"tail --kind model.asked {where}", f"show NUMBER --answer {where}"]
    commands += [f"sql \"FROM frontier WHERE arena = '{board.arena}'\""]
    print("next:\n" + "\n".join(f"  {mesh} {command}" for command in commands))
    again = ["up", str(folder), *(["--data", str(data)] if data else []), *options]
    print(f"to continue:\n  {mesh} {shlex.join(again)}")


def unproven(board: Board) -> list[str]:
    """Return what proof took, and the close calls with what a proof of them would take; nothing without proof."""
    lines = list[str]()
    if spent := sum(board.seconds.get(lane, 0.0) for lane in PROOF):
        share = spent / sum(board.seconds.values())
        lines.append(f"proof took {share:.0%} of the worker time, {duration(spent)} for {len(board.proofs):,} runs")
    lines += filter(None, [waiting_words(board)])
    if spent:
        lines += time_advice(worker_time(times_of(board)), board.spec.selection.proof_share)
    close = [
        (tree, last)
        for tree, proposal in board.proposals.items()
        if is_close(proposal) and isinstance(last := proposal.rulings[-1], ProposalRetired)
    ]
    close.sort(key=lambda each: -(each[1].p_better or 0.0))
    if close:
        lines.append(
            f"close: {len(close):,} not proven, but better than the champion with a probability of {CLOSE} or more"
        )
    for tree, last in close[:CLOSE_SHOWN]:
        lines.append(f"  {short(tree)} {last.p_better:.2f}  {printable(last.text)}")
    return lines


def standing_claim(ranking: Ranking) -> str:
    """Return the best claim that looks better than the champion and is not decided, and how to take it; "" if none."""
    board, champion = ranking.board, ranking.of(ranking.board.champion)
    rows = filter(None, map(ranking.of, board.undecided))
    if champion is None or not (
        claims := [
            row
            for row in rows
            if row.violation is None
            and row.worker_class == champion.worker_class
            and ranking.gain(row.mean, champion.mean) > 0
        ]
    ):
        return ""
    best = max(claims, key=lambda row: ranking.gain(row.mean))
    what = f"best claim {board.spec.objective.metric} {plain_number(best.mean, ranking.places)}"
    runs, name = f"{best.seeds} run{'s' if best.seeds != 1 else ''}", short(best.proposal)
    return (
        f"{what} of {runs}, not proven: {name} by {best.author}: {printable(best.title, 90)}; "
        f"go on to have it proven, or take it as it is: {_program()} apply {name} --arena {board.arena}"
    )


def screening(board: Board) -> str:
    """Return how many candidates stages have ended, and about how much worker time that saved; "" if none."""
    searched = [run.finished for run in board.runs.values() if run.finished and run.requested.lane == "explore"]
    spent = [(run.outcome, run.trial_s + run.score_s) for run in searched]
    stopped = [(outcome.stage, seconds) for outcome, seconds in spent if isinstance(outcome, ScreenedOut)]
    whole = [seconds for outcome, seconds in spent if isinstance(outcome, Scored)]
    if not stopped:
        return ""
    counts = Counter(printable(stage, 40) for stage, _ in stopped)
    by_stage = ", ".join(f"{stage} {count}" for stage, count in counts.most_common())
    saved_s = sum(max(0.0, statistics.median(whole) - seconds) for _, seconds in stopped) if whole else 0.0
    saved = f", which saved about {duration(saved_s)} of worker time" if saved_s else ""
    return f"stages screened out {len(stopped):,} of {len(searched):,} candidates ({by_stage}){saved}"


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

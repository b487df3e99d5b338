"""The headline of `mesh up`: best score, gain, time and cost; what models did; the most frequent failure. Pure."""

from collections import Counter
from statistics import median

from mesh.board import Board
from mesh.events import Failed
from mesh.exactness import exact_on
from mesh.leaderboard import LeaderboardRow, Ranking
from mesh.money import budget_words, limit_usd
from mesh.proposal_numbers import known_gain
from mesh.text import plain_number, printable, signed_gain
from mesh.times import duration

_STARVED = 0.5
"""Runs that end by the clock and got a smaller share of a processor say little about a quiet machine."""

_WHOLE = 0.9
"""Share of its budget that a run takes at least which ends by the clock."""

_MESSAGE = 200


def progress_line(board: Board, ranking: Ranking, elapsed_s: float, left_s: float | None) -> str:
    """Return one line: the champion's score and gain over the baseline, the time, and the tokens and dollars spent.

    Args:
        board: The board of the arena.
        ranking: Its ranking.
        elapsed_s: Seconds since the start.
        left_s: Seconds until the end; None without one.
    """
    if board.opened is None:
        return ""
    base, best = ranking.of(board.opened.base_tree), ranking.of(board.champion)
    metric = board.spec.objective.metric
    parts = [f"best {metric} -"]
    if best and best.mean is not None:
        half = (best.high - best.low) / 2 if best.low is not None and best.high is not None else 0.0
        parts = [f"best {metric} {plain_number(best.mean, ranking.places)}"]
        parts[0] += f" ± {plain_number(half, ranking.places)}" if half else ""
        is_base = board.champion == board.opened.base_tree
        remark = "the baseline" if is_base else "" if half else exact_on(board)
        parts[0] += f" ({remark})" if remark else ""
        if base and base.mean is not None and not is_base:
            parts.append(_gain(ranking, base, best))
    elif base and base.mean is not None:
        parts = [f"best {metric} {plain_number(base.mean, ranking.places)} (the baseline)"]
    parts.append(f"{duration(elapsed_s)} elapsed")
    if left_s is not None:
        parts.append(f"{duration(max(0.0, left_s))} left")
    if board.tokens or board.spent:
        dollars = f"${sum(board.spent.values()):.4f}" if board.spent else "price unknown"
        parts.append(f"{sum(board.tokens.values()):,} tokens ({dollars})")
    if text := judge_text(board):
        parts.append(f"judge {text}")
    if limit_usd(board) is not None:
        parts.append(f"spent {budget_words(board, board.time)}")
    return ", ".join(parts)


def is_one_run(base: LeaderboardRow, best: LeaderboardRow) -> bool:
    """Tell whether the baseline has one run alone while the champion has a mean of seeds that scatter."""
    return base.fresh <= 1 < best.fresh and best.low is not None and best.low != best.high


def is_reached(board: Board, goal: float | None) -> bool:
    """Tell whether the champion's mean score is as good as the goal."""
    if goal is None or board.opened is None or not board.champion:
        return False
    row = Ranking(board).of(board.champion)
    return row is not None and row.mean is not None and board.spec.objective.gain(row.mean, goal) >= 0


def judge_text(board: Board) -> str:
    """Return what the scoring of an arena has asked of models, in words; "" for nothing."""
    judge = board.judge
    if not (judge.calls or judge.cached):
        return ""
    tokens = judge.tokens_in + judge.tokens_out
    return f"{tokens:,} tokens (${judge.usd:.4f}) in {judge.calls:,} calls, {judge.cached:,} answers from the cache"


def models_line(board: Board, since: int, refused: Counter[str]) -> str:
    """Return what models did since an entry of the log, and why answers could not be used; "" without a model.

    Args:
        board: The board of the arena.
        since: The last entry before the start.
        refused: Why answers could not be used, each with its number.
    """
    made = [p for p in board.proposals.values() if p.event.origin.how == "model" and p.seq > since]
    if not made and not refused:
        return ""
    scored = sum(bool(board.scores(proposal.event.tree)) for proposal in made)
    won = sum(proposal.verdict in ("champion", "past_champion") for proposal in made)
    text = f"models: {len(made)} proposals, {scored} scored, {won} promoted"
    if refused:
        [(why, count)] = refused.most_common(1)
        text += f"; {refused.total()} answers could not be used, most often ({count}): {printable(why, _MESSAGE)}"
    return text


def frequent_failure(board: Board, since: int) -> str:
    """Return the sentence of the failure that ended most runs after an entry of the log; "" if none failed."""
    found: Counter[tuple[str, str]] = Counter()
    ended = 0
    for run in board.runs.values():
        if run.finished is None or run.finished_seq <= since:
            continue
        ended += 1
        outcome = run.finished.outcome
        if isinstance(outcome, Failed) and not run.has_number and outcome.reason != "killed":
            found[outcome.reason, outcome.message] += 1
    if not found:
        return ""
    [((reason, message), count)] = found.most_common(1)
    why = f"{reason.replace('_', ' ')}: {printable(message, _MESSAGE)}"
    return f"{found.total()} of {ended} runs failed, most often ({count}) by {why}"


def busy_machine(board: Board, since: int) -> str:
    """Return what to think of gains where runs end by the clock and got little of a processor; "" elsewhere.

    Args:
        board: the board of the arena.
        since: the last entry of the log before the runs that count.
    """
    if board.opened is None or board.champion == board.opened.base_tree:
        return ""
    ended = [
        run.finished
        for run in board.runs.values()
        if run.finished
        and run.finished_seq > since
        and run.has_number
        and run.finished.trial_s >= _WHOLE * run.requested.budget_s
    ]
    timed = [each for each in ended if each.budget_counts == "wall" and each.gpu_utilisation is None]
    shares = [each.cpu_s / each.trial_s for each in timed if each.trial_s and each.cpu_s]
    if not shares or (share := median(shares)) >= _STARVED:
        return ""
    return (
        f"runs end by the clock and got {share:.0%} of one processor each: where other programs took the rest, what "
        "won may lose on a quiet machine. Measure the champion and the baseline there once more"
    )


def _gain(ranking: Ranking, base: LeaderboardRow, best: LeaderboardRow) -> str:
    """Return the champion's gain over the baseline in words, by runs side by side where seeds share something."""
    against = f"baseline {plain_number(base.mean, ranking.places)}"
    gain = known_gain(ranking, best.proposal, base.proposal)
    if gain and gain.is_side_by_side:
        return f"gain {signed_gain(gain.value, ranking.places)} over the baseline in runs side by side"
    if is_one_run(base, best):
        return f"gain over the {against} not known: that is one run"
    return against if gain is None else f"gain {signed_gain(gain.value, ranking.places)} over the {against}"

"""The headline of `mesh up`: best score, gain, time and cost; what models did; the most frequent failure. Pure."""

from collections import Counter

from mesh.board import Board
from mesh.events import Failed
from mesh.exactness import exact_on
from mesh.leaderboard import LeaderboardRow, Ranking
from mesh.text import plain_number, printable, signed_number
from mesh.times import duration

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
    if best and best.mean is not None and board.champion != board.opened.base_tree:
        exact = exact_on(board)
        parts = [f"best {metric} {plain_number(best.mean, ranking.places)}{f' ({exact})' if exact else ''}"]
        if base and base.mean is not None:
            against = f"over the baseline {plain_number(base.mean, ranking.places)}"
            beside = ranking.gain_side_by_side(board.champion, board.opened.base_tree)
            if beside is not None:
                parts.append(f"gain {signed_number(beside)} over the baseline in runs side by side")
            elif is_one_claim(base, best):
                parts.append(f"gain {against} not known: that is a claim, without fresh seeds")
            else:
                parts.append(f"gain {signed_number(ranking.gain(best.mean, base.mean))} {against}")
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
    return ", ".join(parts)


def is_one_claim(base: LeaderboardRow, best: LeaderboardRow) -> bool:
    """Tell whether the baseline has claims alone while the champion has a mean of fresh seeds that scatter."""
    return not base.fresh and best.fresh > 1 and best.low is not None and best.low != best.high


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

"""Stopping rules: plateau, trials, hours and dollars, set in `[stop]` of arena.toml. Pure.

Runs that are unfinished when the arena closes still get a score, but no verdict.
"""

import datetime as dt

from agents.curation.race import is_on
from mesh.board import Board
from mesh.events import ArenaClosed


def stop(board: Board, now: dt.datetime) -> list[ArenaClosed]:
    """Return the fact that closes the arena if a stopping rule applies, else nothing."""
    if board.opened is None or board.opened_at is None:
        return []
    rule, version = board.opened.spec.stop, board.opened.version
    hours = (now - board.opened_at).total_seconds() / 3600
    if rule.hours and hours >= rule.hours:
        return [ArenaClosed(version=version, reason="time", text=f"open for {hours:.2f} of {rule.hours:g} hours")]
    if rule.usd and board.usd >= rule.usd:
        return [ArenaClosed(version=version, reason="budget", text=f"spent ${board.usd:.2f} of ${rule.usd:g}")]
    if rule.trials and board.finished >= rule.trials:
        return [ArenaClosed(version=version, reason="trials", text=f"{board.finished:,} runs have finished")]
    if rule.plateau and (since := searched_since(board)) >= rule.plateau and not is_on(board):
        return [
            ArenaClosed(version=version, reason="plateau", text=f"no new champion in the last {since:,} explore runs")
        ]
    return []


def searched_since(board: Board) -> int:
    """Return how many explore runs requested after the last promotion have a score."""
    count = 0
    for run in reversed(board.runs.values()):
        if run.seq < board.promoted_seq:
            break
        count += run.requested.lane == "explore" and run.value is not None
    return count if board.champion else 0

"""Stopping rules: plateau, trials and hours, set in `[stop]` of arena.toml, and the budget of dollars. Pure.

Runs that are unfinished when the arena closes still get a score, but no verdict. The budget is what was granted
(`budget.granted`); a log from before grants has the limit of its `[stop] usd` alone.
"""

import datetime as dt
from collections.abc import Sequence, Set
from itertools import takewhile

from agents.curation.race import is_on
from mesh.board import Board, Run
from mesh.changes import ChangeReader
from mesh.events import PROOF, AnyEvent, ArenaClosed, CritiquePosted, RunKilled, RunRequested
from mesh.money import Reservation, budget_words, is_used_up, limit_usd, must_end, next_run_words
from mesh.stated_costs import BY_RESERVE


def stop(board: Board, now: dt.datetime) -> list[RunKilled | ArenaClosed]:
    """Return the fact that closes the arena if a stopping rule applies, else nothing.

    Runs that have begun may end, except where the money is gone before: these are killed.
    """
    if board.opened is None or board.opened_at is None:
        return []
    rule, version = board.opened.spec.stop, board.opened.version
    hours = (now - board.opened_at).total_seconds() / 3600
    if rule.hours and hours >= rule.hours:
        return [ArenaClosed(version=version, reason="time", text=f"open for {hours:.2f} of {rule.hours:g} hours")]
    if must_end(board, now) and (begun := [run for run in board.worker_costs.under_way if run in board.unfinished]):
        why = f"spent {budget_words(board, now)}, and the run has not ended"
        killed = [RunKilled(run=run, by="budget", text=why) for run in begun if not board.runs[run].killed]
        return [
            *killed,
            ArenaClosed(version=version, reason="budget", text=f"{why}: it took longer than its deadlines"),
        ]
    if is_used_up(board, now):
        text = f"spent {budget_words(board, now)}; the rest does not pay for one more run, {next_run_words(board)}"
        return [ArenaClosed(version=version, reason="budget", text=text)]
    if rule.usd and limit_usd(board) is None and board.opened.rules < BY_RESERVE and board.usd >= rule.usd:
        return [ArenaClosed(version=version, reason="budget", text=f"spent ${board.usd:.2f} of ${rule.usd:g}")]
    if rule.trials and board.finished >= rule.trials:
        return [ArenaClosed(version=version, reason="trials", text=f"{board.finished:,} runs have finished")]
    if rule.plateau and (since := searched_since(board)) >= rule.plateau and not is_on(board):
        return [
            ArenaClosed(version=version, reason="plateau", text=f"no new champion in the last {since:,} explore runs")
        ]
    return []


def within_budget(board: Board, now: dt.datetime, events: Sequence[AnyEvent]) -> list[AnyEvent]:
    """Return these decisions without the requests for runs that the budget does not pay for.

    What proves something comes first, and search gets nothing as long as it has to wait: scores that nobody can prove
    any more are worth little. What is left out is requested again when open runs have ended, and have cost less than
    they might have.
    """
    reservation = Reservation(board, now)
    requests = [event for event in events if isinstance(event, RunRequested)]
    if not requests or not reservation.is_limited:
        return list(events)
    in_order = sorted(requests, key=lambda request: request.lane not in PROOF)
    granted = {request.run for request in takewhile(reservation.admits, in_order)}
    refused = {request.proposal for request in requests if request.run not in granted}
    return [event for event in events if not _is_refused(event, granted, refused)]


def _is_refused(event: AnyEvent, granted: Set[str], refused: Set[str]) -> bool:
    """Tell whether a decision is a request that was not granted, or says why a blocked proposal runs that does not."""
    if isinstance(event, CritiquePosted):
        return event.rule == "overruled" and event.target in refused
    return isinstance(event, RunRequested) and event.run not in granted


class _Searched:
    """How many explore runs of the board that was asked about last have a score, of those since the last promotion."""

    def __init__(self) -> None:
        self._changes = ChangeReader()
        self._since, self._count = -1, 0

    def of(self, board: Board) -> int:
        changes = self._changes.look(board)
        if changes.is_new or self._since != board.promoted_seq:
            self._since, self._count = board.promoted_seq, 0
            later = takewhile(lambda run: run.seq >= board.promoted_seq, reversed(board.runs.values()))
            self._count = sum(_is_search(run) for run in later)
        else:
            ended = (board.runs[name] for name in changes.ended)
            self._count += sum(run.seq >= self._since and _is_search(run) for run in ended)
        return self._count


_searched = _Searched()


def searched_since(board: Board) -> int:
    """Return how many explore runs requested after the last promotion have a score."""
    return _searched.of(board) if board.champion else 0


def _is_search(run: Run) -> bool:
    return run.requested.lane == "explore" and run.value is not None

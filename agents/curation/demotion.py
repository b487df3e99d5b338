"""Champions are run again now and then, and demoted if new scores do not confirm them. Pure."""

from agents.curation.race import CONTROLS, current_race
from agents.curation.run_requests import SEEDS, request
from mesh.board import Board
from mesh.events import PROOF, AnyEvent, ProposalPromoted, ProposalRetired
from mesh.evidence import estimate, fresh, noise, p_better
from mesh.fleet import home_class

EVERY = 25
"""Finished runs of search after which the champion is run again, if no race has done it."""

_ENOUGH = 4
"""Controls without which nobody is demoted."""

SURELY = 0.975
"""Probability that the champion before was better, from which on a champion is demoted."""


def recheck(board: Board) -> list[AnyEvent]:
    """Return the control run that is due, or the demotion of the champion."""
    if not board.champion:
        return []
    return _fall(board) or _control(board)


def _control(board: Board) -> list[AnyEvent]:
    searched = 0
    for run in reversed(board.runs.values()):
        if run.requested.proposal == board.champion and run.requested.lane in PROOF:
            break
        searched += run.requested.lane == "explore" and run.finished is not None
        if searched >= EVERY:
            break
    if searched < EVERY:
        return []
    race = max(1, current_race(board))
    first = SEEDS * race + CONTROLS
    used = sum(run.requested.seed >= first for run in board.current_runs(board.champion))
    return [request(board, board.champion, "control", first + used, worker_class=home_class(board), race=race)]


def _fall(board: Board) -> list[AnyEvent]:
    """Give the arena back to the champion before, where later scores of this one are surely worse than its."""
    before = _before(board)
    worker_class = home_class(board)
    controls = [
        run.value
        for run in board.current_runs(board.champion)
        if run.requested.lane == "control" and run.finished and run.value is not None
        if worker_class in ("", run.finished.worker_class)
    ]
    if not before or len(controls) < _ENOUGH:
        return []
    found, theirs = noise(board, worker_class, without=board.champion), fresh(board, before, worker_class)
    p = p_better(board, list(theirs.values()), controls, found)
    if p < SURELY:
        return []
    value, fallen = estimate(list(theirs.values()), found), sum(controls) / len(controls)
    text = f"champion again: {len(controls)} control runs of the last champion have a mean of {fallen:.6g}"
    again = ProposalPromoted(
        proposal=before,
        round=board.round + 1,
        met=board.champion,
        mean=value.mean,
        low=value.low,
        high=value.high,
        seeds=tuple(theirs),
        p_better=p,
        text=text,
    )
    demoted = ProposalRetired(
        proposal=board.champion,
        round=board.round + 1,
        why="demoted",
        met=before,
        mean=fallen,
        p_better=1 - p,
        text=f"demoted: its {len(controls)} control runs are worse than the scores of the champion before it",
    )
    return [again, demoted]


def _before(board: Board) -> str:
    """Return the last champion before this one that was not demoted."""
    place = board.champions.index(board.champion) if board.champion in board.champions else 0
    others = (tree for tree in reversed(board.champions[:place]) if tree != board.champion)
    return next((tree for tree in others if board.proposals[tree].verdict == "past_champion"), "")

"""Champions are re-run at intervals, and demoted if new scores do not confirm them. Pure."""

from bisect import bisect_left
from collections.abc import Mapping

from agents.curation.race_log import CONTROLS, current_race
from agents.curation.run_requests import SEEDS, request
from mesh.board import Board
from mesh.events import PROOF, AnyEvent, ProposalPromoted, ProposalRetired, RunRequested
from mesh.evidence import estimate, evidence_state, fresh, noise, p_better, proofs
from mesh.fleet import home_class
from mesh.item_evidence import item_noise
from mesh.remembered import Remembered
from mesh.run_sums import has_many, open_runs, run_sums

EVERY = 25
"""Number of finished explore runs after which the champion is re-run, unless a race has re-run it."""

_ENOUGH = 4
"""Fewest control runs for a demotion."""

SURELY = 0.975
"""A champion is demoted if the previous champion is better with at least this probability."""


def recheck(board: Board) -> list[AnyEvent]:
    """Return the control run that is due, or the demotion of the champion."""
    if not board.champion:
        return []
    return _demotion(board) or _control(board)


def _control(board: Board) -> list[AnyEvent]:
    searched = 0
    for run in reversed(board.runs.values()):
        if run.requested.proposal == board.champion and run.requested.lane in PROOF:
            break
        searched += run.requested.lane == "explore" and run.finished is not None
        if searched >= EVERY:
            break
    return [control_run(board)] if searched >= EVERY else []


def control_run(board: Board) -> RunRequested:
    """Return the request for a run of the champion on a seed that it has not had, outside of races."""
    race = max(1, current_race(board))
    first = SEEDS * race + CONTROLS
    used = _seeds_from(board, board.champion, first)
    return request(board, board.champion, "control", first + used, worker_class=home_class(board), race=race)


def _seeds_from(board: Board, tree: str, first: int) -> int:
    """Return how many current runs of a proposal have a seed of at least `first`."""
    ended = run_sums(board, tree).seeds if has_many(board, tree) else []
    runs = open_runs(board, tree) if has_many(board, tree) else board.current_runs(tree)
    return len(ended) - bisect_left(ended, first) + sum(run.requested.seed >= first for run in runs)


def _demotion(board: Board) -> list[AnyEvent]:
    """Promote the previous champion again if the control runs of the present one are surely worse."""
    before, worker_class = _before(board), home_class(board)
    if not before:
        return []
    state = evidence_state(board)
    p, mean, count = _measured.of(board, state, (before, worker_class), lambda: _measure(board, before, worker_class))
    if p < SURELY:
        return []
    found, earlier = noise(board, worker_class, without=board.champion), fresh(board, before, worker_class)
    value = estimate(list(earlier.values()), found)
    text = f"champion again: the mean of {count} control runs of its successor is worse ({mean:.6g})"
    again = ProposalPromoted(
        proposal=before,
        round=board.round + 1,
        met=board.champion,
        mean=value.mean,
        low=value.low,
        high=value.high,
        seeds=tuple(earlier),
        p_better=p,
        text=text,
    )
    demoted = ProposalRetired(
        proposal=board.champion,
        round=board.round + 1,
        why="demoted",
        met=before,
        mean=mean,
        p_better=1 - p,
        text=f"demoted: its {count} control runs are worse than the scores of the previous champion",
    )
    return [again, demoted]


def _measure(board: Board, before: str, worker_class: str) -> tuple[float, float, int]:
    """Return how probably a former champion is better, and the mean and number of the control runs of this one."""
    controls = _controls(board, worker_class)
    if len(controls) < _ENOUGH:
        return 0.0, 0.0, len(controls)
    found, earlier = noise(board, worker_class, without=board.champion), fresh(board, before, worker_class)
    items = item_noise(proofs(board, before, worker_class), proofs(board, board.champion, worker_class))
    p = p_better(board, earlier, controls, found, items)
    return p, sum(controls.values()) / len(controls), len(controls)


def _controls(board: Board, worker_class: str) -> Mapping[int, float]:
    """Return the scores of the champion's control runs by seed."""
    if has_many(board, board.champion):
        found = run_sums(board, board.champion).controls.get(worker_class)
        return found.scores if found else {}
    return {
        run.requested.seed: run.value
        for run in board.current_runs(board.champion)
        if run.requested.lane == "control" and run.finished and run.value is not None
        if worker_class in ("", run.finished.worker_class)
    }


_measured: Remembered[tuple[float, float, int]] = Remembered()


def _before(board: Board) -> str:
    """Return the last champion before the present one that was not demoted; "" if there is none."""
    place = board.champions.index(board.champion) if board.champion in board.champions else 0
    others = (tree for tree in reversed(board.champions[:place]) if tree != board.champion)
    allowed = (tree for tree in others if not board.proposals[tree].ruled_out)
    return next((tree for tree in allowed if board.proposals[tree].verdict == "past_champion"), "")

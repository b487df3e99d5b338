"""What the log says of races: their seeds and stages, who runs in them, and how far they are. Pure."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable
from functools import partial

from agents.curation.close_calls import races_again
from agents.curation.run_requests import SEEDS, race_of
from agents.curation.settled import reevaluated
from mesh.board import Board, Run
from mesh.events import PROOF, Failed, ProposalPromoted, RunRequested
from mesh.evidence import proofs, ranking_rule
from mesh.fleet import is_awaited
from mesh.remembered import Remembered
from mesh.run_sums import InOrder, RunByRun, has_many, run_sums

CONTROLS = 500
"""Seeds of a race from this offset on are for control runs between races. Challengers never run on them."""

_LAST = 0.75
"""A stage that would reach this share of all seeds is the last, and takes all."""

EXCUSED = ("lost", "killed")
"""Failure reasons that are not the fault of the proposal."""


def current_race(board: Board) -> int:
    """Return the number of the latest race, 0 before the first.

    Every race requests a run, so a greater number than there are such runs is not one of ours: a stranger's request
    must not make the next race one whose seeds nobody can hold.
    """
    races = _numbers.of(board).races
    at = bisect_right(races, len(board.proofs))
    return races[at - 1] if at else 0


class _Numbers:
    """The races of the board that was asked about last: their numbers, rising, and their requests of challengers."""

    def __init__(self) -> None:
        self._board: Board | None = None
        self._taken = 0
        self.races: list[int] = []
        self.challengers: dict[int, list[RunRequested]] = {}

    def of(self, board: Board) -> "_Numbers":
        """Return this, with all requests of a board taken; those that were taken before are not looked at again."""
        if board is not self._board or self._taken > len(board.proofs):
            self._board, self._taken, self.races, self.challengers = board, 0, [], {}
        for name in board.proofs[self._taken :] if len(board.proofs) > self._taken else ():
            request = board.runs[name].requested
            race = race_of(request)
            at = bisect_left(self.races, race)
            if self.races[at : at + 1] != [race]:
                self.races.insert(at, race)
            if request.lane == "confirm" and not request.instead_of:
                self.challengers.setdefault(race, []).append(request)
        self._taken = len(board.proofs)
        return self


_numbers = _Numbers()


def stages(seeds: int) -> list[int]:
    """Return the number of seeds per challenger after each stage: 1, 3, 7, 15, … and `seeds` in place of the last."""
    found = [1]
    while found[-1] < seeds:
        more = 2 * found[-1] + 1
        found.append(seeds if more >= _LAST * seeds else more)
    return found


def racers_in(size: int, stage: int) -> int:
    """Return how many challengers of a race run in a stage, counted from 0: all, then two, then one."""
    return size if stage == 0 else min(size, 2 if stage == 1 else 1)


def members_of(board: Board, race: int) -> list[str]:
    """Return the challengers of a race that have most runs in it; those with fewer wait for another race.

    They are undecided, or in the race as a close call or after a re-evaluation.
    """
    counts: dict[str, int] = {}
    for request in reversed(_numbers.of(board).challengers.get(race, [])) if race else []:
        if request.proposal != board.champion and board.proposals.get(request.proposal):
            counts[request.proposal] = counts.get(request.proposal, 0) + 1
    most = max(counts.values(), default=0)
    again = reevaluated(board)
    return [
        tree
        for tree, count in reversed(counts.items())
        if count == most and (tree in board.undecided or tree in again or races_again(board, tree, race))
    ]


def entrants_of(board: Board, race: int) -> set[str]:
    """Return all proposals that have run as challengers in a race."""
    return {request.proposal for request in _numbers.of(board).challengers.get(race, [])}


def families_proven(board: Board) -> list[int]:
    """Return the families in which the champions so far were proven better than the one they met.

    Races and promotions are families, counted from 1. A champion that was demoted, or that became champion without a
    test or for the second time, proves nothing.
    """
    found = []
    for earlier, tree in enumerate(board.champions[1:]):
        proposal = board.proposals[tree]
        ruling = next(each for each in proposal.rulings if isinstance(each, ProposalPromoted))
        race = _last_race.of(board, len(proposal.runs), tree, partial(_last_race_of, board, tree))
        is_first = tree not in board.champions[: earlier + 1]
        if race and is_first and ruling.met and ruling.p_better is not None and proposal.why != "demoted":
            found.append(race + earlier)
    return found


def _last_race_of(board: Board, tree: str) -> int:
    asked = (board.runs[name].requested for name in board.proposals[tree].runs)
    return max((race_of(run) for run in asked if run.lane == "confirm"), default=0)


_last_race: Remembered[int] = Remembered()


def is_racing(board: Board, tree: str, race: int) -> bool:
    """Tell whether a run of this race is unfinished and some worker can still finish it."""
    if tree not in board.proposals:
        return False
    out = (board.runs[name] for name in board.unfinished)
    runs = (run for run in out if run.requested.proposal == tree and run.seq > board.proposals[tree].seq)
    return any(
        race_of(run.requested) == race and run.requested.lane in PROOF and is_awaited(board, run) for run in runs
    )


def runs_in_race(board: Board, tree: str, race: int, worker_class: str) -> list[Run]:
    """Return the finished runs of a proposal on the seeds of a race, without control runs between races."""
    if not has_many(board, tree):
        return _runs_in(race, proofs(board, tree, worker_class))
    found = _by_race.of(board, tree).races.get((race, worker_class))
    return [*found.items] if found else []


def _runs_in(race: int, runs: Iterable[Run]) -> list[Run]:
    return [run for run in runs if race_of(run.requested) == race and run.requested.seed < SEEDS * race + CONTROLS]


class _Races:
    """The runs of a proposal with many that `runs_in_race` returns, by race and worker class."""

    def __init__(self, board: Board, tree: str) -> None:
        self._unchosen = tree == ranking_rule(board).base_tree
        self.races: defaultdict[tuple[int, str], InOrder[Run]] = defaultdict(InOrder)

    def add(self, run: Run) -> None:
        race = race_of(run.requested)
        if run.finished and (self._unchosen or run.requested.lane in PROOF) and _runs_in(race, [run]):
            for worker_class in {"", run.finished.worker_class}:
                self.races[race, worker_class].put(run.seq, run)


_by_race: RunByRun[_Races] = RunByRun(_Races)


def seeds_itself(board: Board, tree: str) -> bool:
    """Tell whether the runs that prove a proposal had other seeds than those that it gives itself."""
    if has_many(board, tree):
        return run_sums(board, tree).own_seeds > 0
    runs = board.current_runs(tree)
    return any(run.finished.own_seeds > 0 for run in runs if run.finished and run.requested.lane in PROOF)


def scores_in_race(board: Board, tree: str, race: int, worker_class: str) -> dict[int, float]:
    """Return the scores of a challenger that prove something in a race: those on its seeds."""
    runs = runs_in_race(board, tree, race, worker_class)
    return {run.requested.seed: run.value for run in runs if run.value is not None}


def is_excused(run: Run) -> bool:
    """Tell whether a run failed for a reason that is not the fault of its proposal."""
    outcome = run.finished.outcome if run.finished else None
    return isinstance(outcome, Failed) and outcome.reason in EXCUSED

"""Early stopping: asynchronous successive halving on live curves, in fractions of the budget. Pure.

When an explore run reaches a rung, its curve is compared with earlier runs of the same worker class and evaluator. One
run of `reduction` continues; the others are killed. A share of the runs, chosen by a hash of their names, is never
killed. For those a critique records what the rule would have done, and the view `halving` counts the wrong kills.

A curve is written by the code that it judges. So only the curves of authors whose curves have predicted their scores
are compared with: of pairs of their scored runs, most are ordered alike by curve and by score, and so are pairs with
runs of the artifact as it was, whose curve nobody forges, and of other authors of whom all this is true. A new author
has no vote yet, and one who shifts all curves alike has the pairs with others against it. Failed runs do not count.

Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020), in the form that stops runs and
never resumes them.
"""

import hashlib
import itertools
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mesh.board import Board, Run
from mesh.changes import ChangeReader
from mesh.events import CritiquePosted, CurvePoint, Failed, RunKilled, WorkerJoined
from mesh.records import at_rung
from mesh.spec import Direction, SelectionSpec, gain

FEWEST_AT_RUNG = 6
"""Number of runs that must have reached a rung before a run is killed there."""

FEWEST_PAIRS = 6
"""Pairs with different scores that must agree with an author's curves before these are compared with."""
AGREE, AGREE_WITH_OTHERS = 0.6, 0.5
"""Share of the pairs that must agree, among an author's runs and with those of others; by chance it is a half."""
LATEST_RUNS, AUTHORS = 16, 16
"""Scored runs of an author that are looked at, the latest, and authors with most of them: both bound the work."""


def judge_curve(board: Board, name: str, curve: Sequence[CurvePoint], rung: float) -> RunKilled | CritiquePosted | None:
    """Return the kill or the warning for a run that has just reached a rung; None if it may continue.

    Args:
        board: The board to compare on.
        name: The name of the run.
        curve: Its learning curve so far, in units of the curve, not of the objective.
        rung: A fraction of the budget, 0 to 1.
    """
    run = board.runs.get(name)
    if run is None or run.finished or run.killed or run.requested.lane != "explore" or board.opened is None:
        return None
    value, rule = at_rung(curve, rung), board.opened.spec.selection
    if value is None:
        return None
    better, others = place_among_rivals(board, run, rung, value)
    if others < FEWEST_AT_RUNG:
        return None
    kept = max(1, int((others + 1) / rule.reduction))
    if better < kept:
        return None
    text = (
        f"at {rung:.0%} of its budget its curve was at {value:.6g}, worse than {better} of {others} other runs; "
        f"only the best {kept} continue"
    )
    if is_spared(name, rule):
        return CritiquePosted(
            target=name, verdict="warn", rule="halving", text=f"{text}; not killed, so that the rule can be checked"
        )
    return RunKilled(run=name, by="rule", text=text, curve=tuple(curve)[-64:])


def rungs_between(rule: SelectionSpec, before: float, now: float) -> list[float]:
    """Return the rungs above the fraction `before` of the budget, up to and including the fraction `now`."""
    return [rung for rung in sorted(rule.rungs) if before < rung <= now]


class Rival(NamedTuple):
    """A finished run at a rung: its author, "" for the artifact as it was, its curve's value, and its score if any."""

    author: str
    value: float
    score: float | None


def place_among_rivals(board: Board, run: Run, rung: float, value: float) -> tuple[int, int]:
    """Return how many runs that count were better at a rung, and how many count: finished ones of class and evaluator.

    Args:
        board: The board of the arena.
        run: A run that has reached the rung.
        rung: A fraction of the budget, 0 to 1.
        value: The value of its curve there.
    """
    authors = _reached.of(board).at.get((rung, run.requested.evaluator, _class_of(board, run)), {})
    scored = {name: each.scored for name, each in authors.items() if each.scored}
    baseline = scored.pop("", [])
    most = sorted(scored, key=lambda name: (-authors[name].count, authors[name].first))[:AUTHORS]
    latest = {name: [rival for _, rival in scored[name]] for name in most}
    direction = _direction(board)
    voters = _voters(latest, [rival for _, rival in baseline], direction, board.spec.objective.direction)
    values = [authors[name].values for name in voters if name in authors]
    if direction == "minimize":
        better = sum(bisect_left(each, value) for each in values)
    else:
        better = sum(len(each) - bisect_right(each, value) for each in values)
    return better, sum(map(len, values))


class _OfAuthor:
    """An author's runs at a rung: their values in order, and the latest ones with a score, in the order of the log."""

    def __init__(self) -> None:
        self.values = list[float]()
        self.scored = list[tuple[int, Rival]]()
        self.count, self.first = 0, 0

    def add(self, seq: int, rival: Rival) -> None:
        insort(self.values, rival.value)
        if rival.score is not None:
            self.count, self.first = self.count + 1, min(self.first or seq, seq)
            insort(self.scored, (seq, rival))
            del self.scored[:-LATEST_RUNS]


class _Reached:
    """The finished explore runs of the board that was asked about last, by rung, evaluator, class and author."""

    def __init__(self) -> None:
        self._changes = ChangeReader()
        self.at: dict[tuple[float, str, str], dict[str, _OfAuthor]] = {}

    def of(self, board: Board) -> "_Reached":
        changes = self._changes.look(board)
        if changes.is_new:
            self.at = {}
        for name in changes.ended:
            run = board.runs[name]
            done, known = run.finished, board.proposals.get(run.requested.proposal)
            if done is None or run.requested.lane != "explore" or known is None or known.seq >= run.seq:
                continue
            is_killed = isinstance(done.outcome, Failed) and done.outcome.reason == "killed"
            for rung, value in run.rungs if is_killed or run.value is not None else ():
                for worker_class in dict.fromkeys(("", done.worker_class)):
                    authors = self.at.setdefault((rung, run.requested.evaluator, worker_class), {})
                    author = _author_of(board, run)
                    authors.setdefault(author, _OfAuthor()).add(run.seq, Rival(author, value, run.value))
        return self


_reached = _Reached()


def believed(found: Sequence[Rival], curve: Direction, objective: Direction) -> set[str]:
    """Return the authors whose curves predict their scores; the artifact as it was is always among them.

    Args:
        found: Runs at one rung, in the order of the log.
        curve: Whether a lower or a higher value of a curve is better.
        objective: Whether a lower or a higher score is better.
    """
    scored: dict[str, list[Rival]] = {}
    for rival in found:
        if rival.score is not None:
            scored.setdefault(rival.author, []).append(rival)
    baseline = scored.pop("", [])[-LATEST_RUNS:]
    most = sorted(scored, key=lambda author: -len(scored[author]))[:AUTHORS]
    return _voters({author: scored[author][-LATEST_RUNS:] for author in most}, baseline, curve, objective)


def _voters(
    latest: Mapping[str, Sequence[Rival]], baseline: Sequence[Rival], curve: Direction, objective: Direction
) -> set[str]:
    """Return who is believed, by the latest scored runs of each author, those of the artifact as it was aside."""

    def share(pairs: Iterable[tuple[Rival, Rival]]) -> tuple[float, int]:
        """Return which share of the pairs curve and score order alike, and how many pairs have different scores."""
        agreeing, count = 0.0, 0
        for one, other in pairs:
            better, ahead = gain(objective, one.score or 0.0, other.score or 0.0), gain(curve, one.value, other.value)
            if better:
                agreeing += 0.5 if not ahead else (better > 0) == (ahead > 0)
                count += 1
        return agreeing / count if count else 0.0, count

    def agrees(author: str, others: Iterable[Rival]) -> bool:
        agreeing, count = share(itertools.product(latest[author], others))
        return not count or agreeing >= AGREE_WITH_OTHERS

    own = {author: share(itertools.combinations(runs, 2)) for author, runs in latest.items()}
    steady = [author for author, (agreeing, count) in own.items() if count >= FEWEST_PAIRS and agreeing >= AGREE]
    anchored = [author for author in steady if agrees(author, baseline)]
    return {"", *(a for a in anchored if agrees(a, [run for b in anchored if b != a for run in latest[b]]))}


def is_spared(name: str, rule: SelectionSpec) -> bool:
    """Tell whether a run is never killed. It depends on the name alone, so all curators agree."""
    drawn = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
    return drawn < rule.never_killed


def _author_of(board: Board, run: Run) -> str:
    """Return the author of a run's proposal, "" if it is the artifact as it was."""
    tree = run.requested.proposal
    is_baseline = board.opened is not None and tree == board.opened.base_tree
    return "" if is_baseline or tree not in board.proposals else board.proposals[tree].author


def _class_of(board: Board, run: Run) -> str:
    worker = board.workers.get(run.worker)
    return worker.joined.worker_class if worker and isinstance(worker.joined, WorkerJoined) else ""


def _direction(board: Board) -> Direction:
    """Return whether a lower or a higher curve is better."""
    curve = board.spec.selection.curve
    return board.spec.objective.direction if curve == "objective" else curve

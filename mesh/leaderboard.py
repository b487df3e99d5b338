"""The leaderboard: one row per proposal that has a score, with its mean, interval, rank and state. Pure.

This is the only ranking rule. The terminal, JSON and the export use it. The views `standings` and `leaderboard` apply
the same rule in SQL, for the page and the report; `tests/test_leaderboard_contract.py` compares the two.
`docs/selection.md` explains it.
"""

import math
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import msgspec

from mesh import events as e
from mesh.board import Board, Proposal, Run
from mesh.evidence import is_close, noise, ranking_rule, side_by_side_levels, student_t
from mesh.exactness import exact_on
from mesh.outcomes import badness
from mesh.slowness import slower_sentence
from mesh.standing import Standing
from mesh.text import needed_places, plain_number

MARKED = "* self-reported: the candidate's own code ran in the process that reported this score"

_FIRST = 10
"""Rows whose scores must read as different ones."""

ProposalState = Literal[
    "open",
    "claimed",
    "confirming",
    "champion",
    "past_champion",
    "demoted",
    "close",
    "retired",
    "infeasible",
    "screened_out",
    "ruled_out",
]


class LeaderboardRow(msgspec.Struct, frozen=True):
    """A proposal on the leaderboard. All scores are of runs in `worker_class`, in units of the metric.

    `mean` is the mean of the `fresh` scores, or of the claims if there are no fresh scores. `low` and `high` bound a
    95 % interval; they are None without fresh scores or if the noise is unknown. `rank` begins at 1; it is 0 in a row
    that was requested alone. `budget_used_s` is what a trial used of its budget on average, None if it is not known.
    `also` are the means of the numbers in `objective.also`, over the scores of `mean`. `violation` is above 0 if a run
    violated a constraint, or missed the threshold of `stage`, after which `stages_left` did not run. Such a row has the
    numbers of the worst of these runs, and no score.
    `sealed` is the mean on the sealed split, and `gap` by how much better `mean` looks than it. `trial_s` is the mean
    wall time of the trials with a score, in seconds.
    """

    rank: int
    proposal: str
    mean: float
    low: float | None
    high: float | None
    seeds: int
    fresh: int
    self_reported: bool
    state: ProposalState
    author: str
    title: str
    claimed: float | None
    worker_class: str
    budget_used_s: float | None = None
    also: dict[str, float] = {}
    violation: float | None = None
    sealed: float | None = None
    gap: float | None = None
    stage: str | None = None
    stages_left: int | None = None
    trial_s: float | None = None


class Ranking:
    """The ranking of one state of the board. Make a new one when the board has changed."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._rule = ranking_rule(board)
        self._also = board.opened.spec.objective.also if board.opened else ()
        self._spread: dict[str, float | None] = {}
        self._levels: dict[str, list[dict[str, float]]] = {}
        self._rows: dict[str, LeaderboardRow | None] = {}

    def gain(self, value: float, over: float = 0.0) -> float:
        """Return by how much `value` is better than `over`, in units of the metric; positive is better."""
        return self._rule.sign * (value - over)

    @cached_property
    def worker_class(self) -> str:
        """The worker class whose rows come first: the champion's, or the one with most scores if it has none."""
        if self.board.champion and (standings := self.standings(self.board.champion)):
            return _class_of(standings)
        scores = Counter(
            run.finished.worker_class for tree in self.board.proposals for run in self._scored(tree) if run.finished
        )
        return min(scores, key=lambda name: (-scores[name], name), default="")

    @cached_property
    def exact(self) -> str:
        """On what the scores of the arena are exact; "" where they have noise."""
        return exact_on(self.board)

    @cached_property
    def places(self) -> int:
        """The decimals with which scores are shown; see `places_of`."""
        return places_of([*self.first(_FIRST), *filter(None, [self.of(self.board.champion)])])

    def first(self, count: int) -> list[LeaderboardRow]:
        """Return the first rows, best first; `mesh.leading_rows` finds them without a walk over all."""
        return self.rows()[:count]

    def rows(self) -> list[LeaderboardRow]:
        """Return the rows, best first.

        The champion comes first, then the rows of its worker class, then the others. In each group, rows with fresh
        scores come before claims. Rows are ordered by the worse bound of the interval, equal rows by the log. If no row
        has an interval, rows are ordered by their mean alone. Rows that violate a constraint come after them, least
        violation first, and last those that a stage ended: the later the stage, and the nearer its threshold, the
        better.
        """
        rows = [row for tree in self.board.proposals if (row := self.of(tree))]
        known = any(row.low is not None for row in rows)

        def place(row: LeaderboardRow) -> tuple[int, bool, bool, bool, float]:
            if row.violation is not None and row.state != "champion":
                return (1 if row.stages_left is None else row.stages_left + 2, False, False, False, row.violation)
            worst = min(self.gain(bound) for bound in (row.low, row.high, row.mean) if bound is not None)
            return (
                0,
                known and row.state != "champion",
                known and row.worker_class != self.worker_class,
                known and not row.fresh,
                -worst,
            )

        rows.sort(key=place)
        return [msgspec.structs.replace(row, rank=rank) for rank, row in enumerate(rows, 1)]

    def of(self, tree: str) -> LeaderboardRow | None:
        """Return the row of a proposal; None if it has no score."""
        if tree not in self._rows:
            self._rows[tree] = self._row(tree)
        return self._rows[tree]

    def state(self, tree: str) -> ProposalState:
        """Return the state of a proposal."""
        row = self.of(tree)
        return row.state if row else state_of(self.board.proposals[tree], fresh=None)

    def standings(self, tree: str) -> dict[str, Standing]:
        """Return the scores of a proposal, summed up per worker class."""
        found: dict[str, Standing] = {}
        for run in sorted(self._scored(tree), key=lambda run: run.finished_seq):
            if (finished := run.finished) and isinstance(outcome := finished.outcome, e.Scored):
                found[finished.worker_class] = found.get(finished.worker_class, Standing()).add(
                    outcome.value,
                    fresh=self._rule.is_fresh(tree, run.requested.lane),
                    seconds=finished.trial_s,
                    used_s=finished.budget_used_s if finished.budget_counts else 0.0,
                    self_reported=outcome.self_reported,
                    margin=finished.items.margin if finished.items else 0.0,
                )
        return found

    def interval(self, standing: Standing, worker_class: str) -> tuple[float, float] | None:
        """Return the 95 % interval of the mean of fresh scores, by Student's t and the noise that the curator uses.

        Where scores are means over items, the interval over seeds and that over items are added as independent ones.
        """
        if (mean := standing.proven_mean) is None:
            return None
        if worker_class not in self._spread:
            found = noise(self.board, worker_class)
            self._spread[worker_class] = student_t(found.dof) * found.sd if found.dof else None
        if (spread := self._spread[worker_class]) is None:
            return None
        half = math.hypot(spread / math.sqrt(standing.proven_count), standing.margin_sum / standing.proven_count)
        return mean - half, mean + half

    def gain_side_by_side(self, tree: str, over: str, worker_class: str = "") -> float | None:
        """Return by how much a proposal is better than another on common seeds, in units of the metric.

        It is None where seeds share nothing, or where no runs on common seeds connect the two: then the difference of
        their means is the best estimate.

        Args:
            tree: The proposal.
            over: The other proposal.
            worker_class: The worker class whose scores count; "" for `worker_class`.
        """
        worker_class = worker_class or self.worker_class
        if worker_class not in self._levels:
            self._levels[worker_class] = side_by_side_levels(self.board, worker_class)
        for levels in self._levels[worker_class]:
            if tree in levels and over in levels:
                return self.gain(levels[tree], levels[over])
        return None

    def _scored(self, tree: str) -> list[Run]:
        runs = self.board.current_runs(tree) if tree in self.board.proposals else []
        return [run for run in runs if run.value is not None]

    def _means(self, tree: str, worker_class: str, *, fresh: bool) -> dict[str, float]:
        """Return the means of the other numbers over the scores that make the mean, each where it was printed."""
        if not self._also:
            return {}
        runs = sorted(self._scored(tree), key=lambda run: run.finished_seq)
        printed = [
            run.finished.outcome.metrics
            for run in runs
            if run.finished
            and isinstance(run.finished.outcome, e.Scored)
            and run.finished.worker_class == worker_class
            and (self._rule.is_fresh(tree, run.requested.lane) or not fresh)
        ]
        found = {name: [numbers[name] for numbers in printed if name in numbers] for name in self._also}
        return {name: sum(values) / len(values) for name, values in found.items() if values}

    def _missed_row(self, tree: str, run: Run, worst: e.Infeasible | e.ScreenedOut) -> LeaderboardRow:
        proposal = self.board.proposals[tree]
        assert run.finished is not None
        state = state_of(proposal, fresh=0)
        return LeaderboardRow(
            rank=0,
            proposal=tree,
            mean=worst.value,
            low=None,
            high=None,
            seeds=1,
            fresh=0,
            self_reported=worst.self_reported,
            state=state if state in ("past_champion", "demoted") else worst.reason,
            author=proposal.author,
            title=proposal.event.title,
            claimed=None,
            worker_class=run.finished.worker_class,
            budget_used_s=run.finished.budget_used_s if run.finished.budget_counts else None,
            also={name: worst.metrics[name] for name in self._also if name in worst.metrics},
            violation=worst.violation,
            stage=worst.stage if isinstance(worst, e.ScreenedOut) else None,
            stages_left=worst.left if isinstance(worst, e.ScreenedOut) else None,
        )

    def _row(self, tree: str) -> LeaderboardRow | None:
        runs = self.board.current_runs(tree) if tree in self.board.proposals else []
        broken = sorted(((run, run.missed) for run in runs if run.missed), key=_worst_first)
        if broken and tree != self.board.champion:
            return self._missed_row(tree, *broken[0])
        if not (standings := self.standings(tree)):
            return None
        worker_class = self.worker_class if self.worker_class in standings else _class_of(standings)
        standing, proposal = standings[worker_class], self.board.proposals[tree]
        low, high = self.interval(standing, worker_class) or (None, None)
        sealed = self.board.sealed_score(tree)
        return LeaderboardRow(
            rank=0,
            proposal=tree,
            mean=standing.mean,
            low=low,
            high=high,
            seeds=standing.seeds,
            fresh=standing.proven_count,
            self_reported=standing.any_self_reported,
            state=state_of(proposal, fresh=standing.proven_count),
            author=proposal.author,
            title=proposal.event.title,
            claimed=standing.claimed,
            worker_class=worker_class,
            budget_used_s=standing.used_s / standing.scores if standing.used_s else None,
            also=self._means(tree, worker_class, fresh=standing.proven_count > 0),
            violation=broken[0][1].violation if broken else None,
            sealed=sealed,
            gap=None if sealed is None else self.gain(standing.mean, sealed),
            trial_s=standing.seconds / standing.scores,
        )


def _worst_first(missed: tuple[Run, e.Infeasible | e.ScreenedOut]) -> tuple[int, float, int]:
    run, outcome = missed
    left, violation = badness(outcome)
    return -left, -violation, run.finished_seq


def leaderboard(board: Board) -> list[LeaderboardRow]:
    """Return the rows of the leaderboard, best first."""
    return Ranking(board).rows()


def state_of(proposal: Proposal, *, fresh: int | None) -> ProposalState:
    """Return the state of a proposal, in the word that every listing uses.

    Args:
        proposal: A proposal of the board.
        fresh: The number of its fresh scores; None if it has no score at all.
    """
    if proposal.ruled_out:
        return "ruled_out"
    if proposal.verdict == "open":
        return "open" if fresh is None else "confirming" if fresh else "claimed"
    if is_close(proposal):
        return "close"
    return "demoted" if proposal.verdict == "retired" and proposal.why == "demoted" else proposal.verdict


def places_of(rows: Sequence[LeaderboardRow]) -> int:
    """Return the decimals with which the scores of a leaderboard are shown: four, or more where they need more."""
    best = next((row for row in rows if row.state == "champion"), None)
    return needed_places([row.mean for row in rows[:_FIRST]], best.low if best else None, best.high if best else None)


def slower_than_baseline(ranking: Ranking) -> str:
    """Return in a sentence by how much the champion is slower than the baseline; "" if it is not much slower."""
    opened = ranking.board.opened
    champion, base = ranking.of(ranking.board.champion), ranking.of(opened.base_tree) if opened else None
    return slower_sentence(champion.trial_s, base.trial_s) if champion and base else ""


def row_score(row: LeaderboardRow | None, places: int = 4) -> str:
    """Return the mean of a row, with an asterisk if it is self-reported; '-' without a score."""
    return f"{plain_number(row.mean, places)}{'*' if row.self_reported else ''}" if row else "-"


def row_interval(row: LeaderboardRow, places: int = 4) -> str:
    """Return the 95 % interval of a row in units of the metric; '-' if the noise is unknown."""
    if row.low is not None and row.high is not None:
        return f"{plain_number(row.low, places)} … {plain_number(row.high, places)}"
    return "-" if row.fresh or row.violation is not None else "a claim"


def _class_of(standings: dict[str, Standing]) -> str:
    """Return the class with most fresh scores; of equals the one with most scores, then the first by name."""
    return min(standings, key=lambda name: (-standings[name].proven_count, -standings[name].scores, name))

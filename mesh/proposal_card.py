"""All data of one proposal, which `mesh show` and `mesh top` draw in a terminal, and the page in a browser. Pure.

The code is not part of it: `mesh diff` and the page fetch the code from the object store.
"""

import datetime as dt
from typing import Any, Literal

import msgspec

from mesh.admission_order import place_words, queue_place
from mesh.board import Board, Critique, Run
from mesh.events import Failed, KnobChange, Origin, ProposalPromoted, Scored
from mesh.leaderboard import Ranking
from mesh.proposal_numbers import children_of, cost_of, gain_of, is_gain_proven

RunState = Literal["waiting", "running", "scored", "failed", "killed", "infeasible", "screened_out", "replaced"]


class Relative(msgspec.Struct, frozen=True):
    """A parent or child; `gain` is by how much the child is better, None if unknown; `known`: it is on the board.

    `proven` is whether the gain rests on fresh scores of both.
    """

    proposal: str
    title: str
    gain: float | None
    known: bool
    proven: bool = True


class RunRow(msgspec.Struct, frozen=True):
    """A run as a row of a table; `worker` is the worker's name, `reason` and `message` say why it failed."""

    run: str
    lane: str
    seed: int
    state: RunState
    value: float | None
    reason: str
    message: str
    trial_s: float | None
    peak_memory_mb: float | None
    worker: str
    worker_class: str
    self_reported: bool
    budget_used_s: float | None = None
    budget_counts: str = ""


class ProposalCard(msgspec.Struct, frozen=True):
    """All that the board knows about a proposal; `rank` is its place on the leaderboard, None if it has no score.

    `ruled_since` is the version since which it is ruled out, 0 if it is not; `why` says what it changed then. `queue`
    is its place on the way to its score, in words; "" if it has one.
    """

    proposal: str
    commit: str
    title: str
    author: str
    seq: int
    time: dt.datetime
    origin: Origin
    rationale: str
    as_of: int
    state: str
    why: str
    ruled_since: int
    rank: int | None
    mean: float | None
    low: float | None
    high: float | None
    seeds: int
    fresh: int
    self_reported: bool
    rulings: list[dict[str, Any]]
    predicted_gain: float | None
    confidence: float | None
    parents: list[Relative]
    children: list[Relative]
    knobs: tuple[KnobChange, ...]
    critiques: tuple[Critique, ...]
    runs: list[RunRow]
    cost: dict[str, object]
    worker_class: str | None
    trial_s: float | None
    baseline_s: float | None
    queue: str = ""


def card_of(board: Board, tree: str, *, rank: int | None, ranking: Ranking | None = None) -> ProposalCard:
    """Return a proposal with its origin, state, scores, runs and cost.

    Args:
        board: a board of an open arena that has the proposal.
        tree: the tree hash of the proposal.
        rank: its place on the leaderboard, which the caller knows; None if it has no score.
        ranking: a ranking of the board, if the caller has one.
    """
    proposal, ranking = board.proposals[tree], ranking or Ranking(board)
    event, row = proposal.event, ranking.of(tree)
    base = ranking.of(board.opened.base_tree) if board.opened else None
    return ProposalCard(
        proposal=tree,
        commit=event.commit,
        title=event.title,
        author=proposal.author,
        seq=proposal.seq,
        time=proposal.time,
        origin=event.origin,
        rationale=event.rationale,
        as_of=event.as_of,
        state=ranking.state(tree),
        why=proposal.ruled_out or proposal.why,
        ruled_since=proposal.ruled_since,
        rank=rank,
        mean=row.mean if row else None,
        low=row.low if row else None,
        high=row.high if row else None,
        seeds=row.seeds if row else 0,
        fresh=row.fresh if row else 0,
        self_reported=row is not None and row.self_reported,
        rulings=[
            {"verdict": "promoted" if isinstance(r, ProposalPromoted) else "retired", **msgspec.structs.asdict(r)}
            for r in proposal.rulings
        ],
        predicted_gain=event.predicted_gain,
        confidence=event.confidence,
        parents=[relative(ranking, parent, tree, parent) for parent in event.parents],
        children=[relative(ranking, child, child, tree) for child in children_of(board).get(tree, [])],
        knobs=event.knobs,
        critiques=proposal.critiques,
        runs=[run_row(board, board.runs[name]) for name in (*proposal.runs, *proposal.sealed)],
        cost=cost_of(board, tree),
        worker_class=row.worker_class if row else None,
        trial_s=row.trial_s if row else None,
        baseline_s=base.trial_s if base else None,
        queue="" if row else place_words(queue_place(board, tree)),
    )


def relative(ranking: Ranking, named: str, child: str, parent: str) -> Relative:
    """Return a proposal as the parent or child of another one.

    Args:
        ranking: the ranking of a board.
        named: the tree hash of the one that is returned, which need not be on the board.
        child: the child of the two.
        parent: the parent of the two.
    """
    known = ranking.board.proposals.get(named)
    gain, is_proven = gain_of(ranking, child, parent), is_gain_proven(ranking, child, parent)
    return Relative(named, known.event.title if known else "", gain, known is not None, gain is None or is_proven)


def run_row(board: Board, run: Run) -> RunRow:
    """Return a run as a row of a table."""
    finished = run.finished
    outcome = finished.outcome if finished else None
    return RunRow(
        run=run.requested.run,
        lane=run.requested.lane,
        seed=run.requested.seed,
        state=run_state(run),
        value=run.value,
        reason=outcome.reason if isinstance(outcome, Failed) else "",
        message=outcome.message if isinstance(outcome, Failed) else "",
        trial_s=finished.trial_s if finished else None,
        peak_memory_mb=finished.peak_memory_mb if finished else None,
        worker=worker_name(board, finished.worker if finished else run.worker),
        worker_class=finished.worker_class if finished else "",
        self_reported=isinstance(outcome, Scored) and outcome.self_reported,
        budget_used_s=finished.budget_used_s if finished and finished.budget_counts else None,
        budget_counts=finished.budget_counts if finished else "",
    )


def run_state(run: Run) -> RunState:
    """Return the state of a run."""
    if run.finished is None:
        return "killed" if run.killed else "replaced" if run.withdrawn else "running" if run.attempts else "waiting"
    if run.missed:
        return run.missed.reason
    if isinstance(run.finished.outcome, Failed):
        return "killed" if run.finished.outcome.reason == "killed" else "failed"
    return "scored"


def worker_name(board: Board, boot: str) -> str:
    """Return the name of the worker with this boot id; the id itself if no such worker joined."""
    return board.workers[boot].name if boot in board.workers else boot

"""What the curator decides, as one pure function of the board and the time.

First version: admission in the order of the log under a queue depth and a cap per author, and promotion of the best
mean so far. It does not guard against lucky seeds yet. After a change of the evaluator see `agents.rescore`.
"""

import datetime as dt
from collections import Counter
from typing import Literal

from agents.rescore import due, is_awaited, rescored
from mesh.board import Board, Proposal
from mesh.events import (
    AgentJoined,
    AnyEvent,
    Lane,
    ProposalPromoted,
    ProposalRetired,
    RunRequested,
    WorkerJoined,
)

PER_AUTHOR = 4
"""Runs of one author's proposals that may wait or run at a time, or half of the queue where that is more."""

CRITIQUE_WITHIN_S = 5.0
"""How long a proposal waits for a critic's word before it is admitted without one."""

FIRST_SEED = 1
Why = Literal["blocked", "failed", "not_better"]


def decide(board: Board, now: dt.datetime) -> list[AnyEvent]:
    """Return the verdicts and run requests that are due."""
    if board.opened is None or board.closed:
        return []
    again = _rescores(board)
    return [*_verdicts(board), *again, *_admissions(board, now, room=_room(board) - len(again))]


def run_id(proposal: str, lane: Lane, seed: int, version: int) -> str:
    """Return the name of a run; the same question has the same name, whoever asks."""
    return f"{proposal[:16]}-{lane}-{seed}" + (f"-v{version}" if version > 1 else "")


def queue_depth(board: Board) -> int:
    """Return how many runs may wait or run at a time: twice the slots of the workers that are there, at least 2."""
    latest = {m.name: m for m in board.workers.values()}
    slots = sum(m.joined.slots for m in latest.values() if not m.left and isinstance(m.joined, WorkerJoined))
    return max(2, 2 * slots)


def is_blocked(proposal: Proposal) -> bool:
    """Tell whether a critic holds the proposal back."""
    return any(c.verdict == "block" for c in proposal.critiques)


def _room(board: Board) -> int:
    """Return how many more runs may be asked for."""
    return queue_depth(board) - len(board.unfinished)


def _rescores(board: Board) -> list[AnyEvent]:
    """Ask for what an older evaluator measured and still matters, as far as there is room."""
    wanted = due(board)[: max(0, _room(board))]
    return [_request(board, tree, "control" if tree == board.champion else "audit") for tree in wanted]


def _admissions(board: Board, now: dt.datetime, *, room: int) -> list[AnyEvent]:
    most = max(PER_AUTHOR, queue_depth(board) // 2)
    load = Counter(_author_of(board, run) for run in board.unfinished)
    has_critic = any(
        isinstance(m.joined, AgentJoined) and m.joined.role == "critic" and not m.left for m in board.agents.values()
    )
    wanted: list[AnyEvent] = []
    for tree, proposal in board.proposals.items():
        if len(wanted) >= room:
            break
        waits = has_critic and not proposal.critiques and (now - proposal.time).total_seconds() < CRITIQUE_WITHIN_S
        idle = proposal.verdict == "open" and not is_blocked(proposal) and not board.current_runs(tree)
        if not idle or waits or load[proposal.author] >= most:
            continue
        load[proposal.author] += 1
        wanted.append(_request(board, tree, "explore"))
    return wanted


def _request(board: Board, tree: str, lane: Lane) -> RunRequested:
    assert board.opened is not None
    opened, trial = board.opened, board.opened.spec.trial
    return RunRequested(
        run=run_id(tree, lane, FIRST_SEED, opened.version),
        lane=lane,
        proposal=tree,
        commit=board.proposals[tree].event.commit,
        seed=FIRST_SEED,
        budget_s=trial.budget_s,
        deadline_s=trial.deadline_s,
        worker_class=opened.spec.worker.class_,
        evaluator=opened.evaluator,
        version=opened.version,
    )


def _author_of(board: Board, run: str) -> str:
    proposal = board.proposals.get(board.runs[run].requested.proposal)
    return proposal.author if proposal else ""


def _verdicts(board: Board) -> list[AnyEvent]:
    """Promote the best of the undecided and the re-scored if it beats the champion; retire the other undecided ones."""
    waits = is_awaited(board)
    champion = board.scores(board.champion) if board.champion else []
    best = sum(champion) / len(champion) if champion else None
    winner = ""
    verdicts: list[AnyEvent] = []
    decided: dict[str, float] = {}
    for tree, proposal in board.proposals.items():
        if proposal.verdict != "open":
            continue
        runs = board.current_runs(tree)
        if is_blocked(proposal) and not proposal.runs:
            why = next(c.text for c in proposal.critiques if c.verdict == "block")
            verdicts.append(_retire(board, tree, "blocked", why))
        elif runs and all(run.finished for run in runs):
            scores = board.scores(tree)
            if not scores:
                verdicts.append(_retire(board, tree, "failed", ""))
            else:
                decided[tree] = sum(scores) / len(scores)
    if waits:
        return verdicts
    again = {tree: sum(scores) / len(scores) for tree in rescored(board) if (scores := board.scores(tree))}
    for tree, mean in (decided | again).items():
        if best is None or board.better(mean, best):
            winner, best = tree, mean
    for tree, mean in decided.items():
        if tree != winner:
            verdicts.append(_retire(board, tree, "not_better", "", mean, winner))
    if winner:
        promoted = ProposalPromoted(
            proposal=winner,
            round=board.round + 1,
            met=board.champion,
            mean=(decided | again)[winner],
            seeds=tuple(run.requested.seed for run in board.current_runs(winner)),
            text="best so far, on few seeds",
        )
        return [promoted, *verdicts]
    return verdicts


def _retire(board: Board, tree: str, why: Why, text: str, mean: float | None = None, met: str = "") -> ProposalRetired:
    return ProposalRetired(
        proposal=tree,
        round=board.round,
        why=why,
        met=met or board.champion,
        mean=mean,
        text=text,
    )

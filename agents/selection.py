"""What the curator decides, as one pure function of the board and the time.

First version: admission in the order of the log under a queue depth and a cap per author, and promotion of the best
mean so far. It does not guard against lucky seeds yet.
"""

import datetime as dt
from collections import Counter
from typing import Literal

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
    return [*_verdicts(board), *_admissions(board, now)]


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


def _admissions(board: Board, now: dt.datetime) -> list[AnyEvent]:
    assert board.opened is not None
    opened, trial = board.opened, board.opened.spec.trial
    depth = queue_depth(board)
    room, most = depth - len(board.unfinished), max(PER_AUTHOR, depth // 2)
    load = Counter(_author_of(board, run) for run in board.unfinished)
    has_critic = any(
        isinstance(m.joined, AgentJoined) and m.joined.role == "critic" and not m.left for m in board.agents.values()
    )
    wanted: list[AnyEvent] = []
    for tree, proposal in board.proposals.items():
        if len(wanted) >= room:
            break
        waits = has_critic and not proposal.critiques and (now - proposal.time).total_seconds() < CRITIQUE_WITHIN_S
        idle = proposal.verdict == "open" and not proposal.runs and not is_blocked(proposal)
        if not idle or waits or load[proposal.author] >= most:
            continue
        load[proposal.author] += 1
        wanted.append(
            RunRequested(
                run=run_id(tree, "explore", FIRST_SEED, opened.version),
                lane="explore",
                proposal=tree,
                commit=proposal.event.commit,
                seed=FIRST_SEED,
                budget_s=trial.budget_s,
                deadline_s=trial.deadline_s,
                worker_class=opened.spec.worker.class_,
                evaluator=opened.evaluator,
                version=opened.version,
            )
        )
    return wanted


def _author_of(board: Board, run: str) -> str:
    proposal = board.proposals.get(board.runs[run].requested.proposal)
    return proposal.author if proposal else ""


def _verdicts(board: Board) -> list[AnyEvent]:
    """Promote the best of the undecided if it beats the champion; retire the other decided ones."""
    champion = board.scores(board.champion) if board.champion else []
    best = sum(champion) / len(champion) if champion else None
    winner = ""
    verdicts: list[AnyEvent] = []
    decided: dict[str, float] = {}
    for tree, proposal in board.proposals.items():
        if proposal.verdict != "open":
            continue
        if is_blocked(proposal) and not proposal.runs:
            why = next(c.text for c in proposal.critiques if c.verdict == "block")
            verdicts.append(_retire(board, tree, "blocked", why))
        elif proposal.runs and not any(run in board.unfinished for run in proposal.runs):
            scores = board.scores(tree)
            if not scores:
                verdicts.append(_retire(board, tree, "failed", ""))
                continue
            decided[tree] = sum(scores) / len(scores)
            if best is None or board.better(decided[tree], best):
                winner, best = tree, decided[tree]
    for tree, mean in decided.items():
        if tree != winner:
            verdicts.append(_retire(board, tree, "not_better", "", mean, winner))
    if winner:
        promoted = ProposalPromoted(
            proposal=winner,
            round=board.round + 1,
            met=board.champion,
            mean=decided[winner],
            seeds=tuple(board.runs[run].requested.seed for run in board.proposals[winner].runs),
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

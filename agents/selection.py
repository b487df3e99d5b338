"""What the curator decides, as one pure function of the board and the time.

Admission goes in the order of the log, under a queue depth and a cap per author. How claims become promotions is
`agents.race`, what a champion must go on proving `agents.reign`, when it is all over `agents.stopping`. Where the
arena's metric is exact (`noise = "none"`) one score proves, and the best is promoted at once. After a change of the
evaluator see `agents.rescore`.
"""

import datetime as dt
from collections import Counter
from typing import Literal

from agents.asking import request, slots
from agents.race import prove
from agents.reign import reign
from agents.rescore import due, is_awaited, rescored
from agents.standing import COIN, brier, holds_back
from agents.stopping import stop
from mesh.board import Board, Proposal
from mesh.events import AgentJoined, AnyEvent, CritiquePosted, Failed, ProposalPromoted, ProposalRetired, RunRequested

PER_AUTHOR = 4
"""Runs of one author's proposals that may wait or run at a time, or half of the queue where that is more."""

CRITIQUE_WITHIN_S = 5.0
"""How long a proposal waits for a critic's word before it is admitted without one."""

Why = Literal["blocked", "failed", "not_better", "killed"]


def decide(board: Board, now: dt.datetime) -> list[AnyEvent]:
    """Return the verdicts and run requests that are due."""
    if board.opened is None or board.closed:
        return []
    if ends := stop(board, now):
        return list(ends)
    verdicts = [*(_best(board) if is_exact(board) else [*prove(board), *reign(board)]), *_hopeless(board)]
    again = _rescores(board)
    return [*verdicts, *again, *_admissions(board, now, room=_room(board) - len(again))]


def is_exact(board: Board) -> bool:
    """Tell whether one score is the truth in this arena."""
    return board.spec.objective.noise == "none"


def queue_depth(board: Board) -> int:
    """Return how many runs may wait or run at a time: twice the slots of the workers that are there, at least 2."""
    return max(2, 2 * slots(board).total())


def is_blocked(board: Board, proposal: Proposal) -> bool:
    """Tell whether a critic holds the proposal back, and is not overruled."""
    return holds_back(board, proposal)


def _room(board: Board) -> int:
    """Return how many more runs may be asked for."""
    return queue_depth(board) - len(board.unfinished)


def _rescores(board: Board) -> list[AnyEvent]:
    """Ask for what an older evaluator measured and still matters, as far as there is room."""
    wanted = due(board)[: max(0, _room(board))]
    return [request(board, tree, "control" if tree == board.champion else "audit") for tree in wanted]


def _admissions(board: Board, now: dt.datetime, *, room: int) -> list[AnyEvent]:
    most = max(PER_AUTHOR, queue_depth(board) // 2)
    load = Counter(_author_of(board, run) for run in board.unfinished)
    has_critic = any(
        isinstance(m.joined, AgentJoined) and m.joined.role == "critic" and not m.left for m in board.agents.values()
    )
    wanted: list[AnyEvent] = []
    for tree in board.undecided:
        if sum(isinstance(event, RunRequested) for event in wanted) >= room:
            break
        proposal = board.proposals[tree]
        waits = has_critic and not proposal.critiques and (now - proposal.time).total_seconds() < CRITIQUE_WITHIN_S
        idle = not is_blocked(board, proposal) and not board.current_runs(tree)
        if not idle or waits or load[proposal.author] >= most:
            continue
        load[proposal.author] += 1
        wanted += [*_overrule(board, proposal), request(board, tree, "explore")]
    return wanted


def _overrule(board: Board, proposal: Proposal) -> list[AnyEvent]:
    """Say why a proposal is run though a critic blocks it."""
    blocks = [word for word in proposal.critiques if word.verdict == "block"]
    if not blocks:
        return []
    records = "; ".join(f"{word.author} has a Brier score of {brier(board, word.author):.2f}" for word in blocks)
    text = f"run though blocked: {records}, worse than a coin's {COIN}"
    return [CritiquePosted(target=proposal.event.tree, verdict="endorse", rule="overruled", text=text)]


def _author_of(board: Board, run: str) -> str:
    proposal = board.proposals.get(board.runs[run].requested.proposal)
    return proposal.author if proposal else ""


def _hopeless(board: Board) -> list[AnyEvent]:
    """Retire what is blocked, and what was run without getting a score."""
    verdicts: list[AnyEvent] = []
    for tree in board.undecided:
        proposal, runs = board.proposals[tree], board.current_runs(tree)
        if is_blocked(board, proposal) and not proposal.runs:
            why = next(c.text for c in proposal.critiques if c.verdict == "block")
            verdicts.append(_retire(board, tree, "blocked", why))
        elif runs and all(run.finished for run in runs) and not board.scores(tree):
            ends = [run.finished.outcome for run in runs if run.finished]
            killed = all(isinstance(end, Failed) and end.reason == "killed" for end in ends)
            verdicts.append(_retire(board, tree, "killed" if killed else "failed", ""))
    return verdicts


def _best(board: Board) -> list[AnyEvent]:
    """Promote the best of the undecided and the re-scored if it beats the champion; retire the other undecided ones."""
    if is_awaited(board):
        return []
    champion = board.scores(board.champion) if board.champion else []
    best = sum(champion) / len(champion) if champion else None
    winner = ""
    decided: dict[str, float] = {}
    for tree in board.undecided:
        scores, runs = board.scores(tree), board.current_runs(tree)
        if scores and all(run.finished for run in runs):
            decided[tree] = sum(scores) / len(scores)
    again = {tree: sum(scores) / len(scores) for tree in rescored(board) if (scores := board.scores(tree))}
    for tree, mean in (decided | again).items():
        if best is None or board.better(mean, best):
            winner, best = tree, mean
    verdicts = [
        _retire(board, tree, "not_better", "", mean, winner) for tree, mean in decided.items() if tree != winner
    ]
    if not winner:
        return list(verdicts)
    promoted = ProposalPromoted(
        proposal=winner,
        round=board.round + 1,
        met=board.champion,
        mean=(decided | again)[winner],
        seeds=tuple(run.requested.seed for run in board.current_runs(winner)),
        text="the best score so far, of a metric without noise",
    )
    return [promoted, *verdicts]


def _retire(board: Board, tree: str, why: Why, text: str, mean: float | None = None, met: str = "") -> ProposalRetired:
    return ProposalRetired(
        proposal=tree,
        round=board.round,
        why=why,
        met=met or board.champion,
        mean=mean,
        text=text,
    )

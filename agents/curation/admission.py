"""The curator's decisions, as one pure function of the board and the time.

The baseline runs first; nothing else is admitted until it has a score. Then proposals are admitted in the order of
`mesh.admission_order`, up to a queue depth and a limit per author. `race` turns claims into promotions, `demotion`
re-tests champions, and `stopping` ends the arena and requests no run that the budget does not pay for.
`reevaluation` requests new scores after a change of the evaluator, and `withdrawals` ends the runs of what is ruled
out. If the arena's metric is exact (`noise = "none"`), one score is enough, and the best proposal is promoted at once.
"""

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from agents.critique.calibration import holds_back, overruled, patience_s
from agents.curation.demotion import control_run, recheck
from agents.curation.race import prove
from agents.curation.reevaluation import due, is_champion_awaited
from agents.curation.run_requests import FIRST_SEED, again, request, requests
from agents.curation.sealed import with_sealed
from agents.curation.settled import back, reevaluated
from agents.curation.stopping import stop, within_budget
from agents.curation.withdrawals import withdrawals
from mesh.admission_order import admission_order
from mesh.baseline import is_baseline_due
from mesh.board import Board, Proposal, Run
from mesh.events import (
    AnyEvent,
    CritiquePosted,
    Failed,
    NotePosted,
    ProposalPromoted,
    ProposalRetired,
    RunRequested,
    ScreenedOut,
)
from mesh.evidence import mean_of
from mesh.fleet import home_class, is_awaited, queue_depth, slots
from mesh.ruling_out import reinstated
from mesh.stalled import is_champion_due, is_pause_said, why_paused

PER_AUTHOR = 4
"""Limit of unfinished runs per author; half of the queue depth if that is more."""

_Why = Literal["blocked", "failed", "not_better", "killed"]


def decide(board: Board, now: dt.datetime) -> list[AnyEvent]:
    """Return the verdicts and run requests that are due."""
    if board.opened is None or board.closed:
        return []
    if ends := stop(board, now):
        return list(ends)
    return within_budget(board, now, _decide(board, now))


def _decide(board: Board, now: dt.datetime) -> list[AnyEvent]:
    """Return what is due as long as there is money."""
    withdrawn: list[AnyEvent] = [*withdrawals(board)]
    if again_champion := reinstated(board):
        return [*withdrawn, again_champion]
    proven = _best(board) if is_exact(board) else [*prove(board, now), *recheck(board)]
    verdicts = [event for event in proven if not _is_unfit_winner(board, event)]
    decided = {event.proposal for event in verdicts if isinstance(event, ProposalRetired)}
    verdicts += [event for event in _hopeless(board) if event.proposal not in decided]
    verdicts = with_sealed(board, verdicts)
    again = _reevaluations(board)
    if paused := why_paused(board):
        said = [] if is_pause_said(board) else [NotePosted(channel="search", text=paused)]
        return [*withdrawn, *verdicts, *again, *said, *([control_run(board)] if is_champion_due(board) else [])]
    return [*withdrawn, *verdicts, *again, *_admissions(board, now, room=_room(board) - len(again))]


def is_exact(board: Board) -> bool:
    """Tell whether the metric has no noise, so that one score is enough."""
    return board.spec.objective.noise == "none"


def _is_unfit_winner(board: Board, event: AnyEvent) -> bool:
    """Tell whether a fact would promote a proposal that misses a constraint or a stage's threshold on some seed."""
    return isinstance(event, ProposalPromoted) and board.missed(event.proposal) is not None


def is_blocked(board: Board, proposal: Proposal) -> bool:
    """Tell whether a critic blocks the proposal and is not overruled."""
    return holds_back(board, proposal)


def _room(board: Board) -> int:
    """Return how many more runs may be requested."""
    return queue_depth(board) - len(_out(board))


def _out(board: Board) -> list[str]:
    """Return the unfinished runs that some worker can still finish."""
    return [run for run in board.unfinished if is_awaited(board, board.runs[run])]


def _reevaluations(board: Board) -> list[AnyEvent]:
    """Request new scores of a failed baseline, else of important proposals that only an older evaluator measured."""
    if board.opened and is_baseline_due(board):
        base = board.opened.base_tree
        return [request(board, base, "explore", repeat=len(board.proposals[base].runs))]
    wanted = due(board)[: max(0, _room(board))]
    return [request(board, tree, "control" if tree == board.champion else "audit") for tree in wanted]


def _admissions(board: Board, now: dt.datetime, *, room: int) -> list[AnyEvent]:
    most = max(PER_AUTHOR, queue_depth(board) // 2)
    load = Counter(_author_of(board, run) for run in _out(board))
    patience = patience_s(board)
    wanted: list[AnyEvent] = []
    for tree in admission_order(board):
        if sum(isinstance(event, RunRequested) for event in wanted) >= room:
            break
        proposal = board.proposals[tree]
        waits = patience and not proposal.critiques and (now - proposal.time).total_seconds() < patience
        has_runs = bool(proposal.runs and board.current_runs(tree))
        idle = not has_runs and not is_blocked(board, proposal)
        if not idle or waits or load[proposal.author] >= most:
            continue
        load[proposal.author] += 1
        wanted += [*_overrule(board, proposal), request(board, tree, "explore")]
    return wanted


def _overrule(board: Board, proposal: Proposal) -> list[AnyEvent]:
    """Return the critique that explains why a blocked proposal runs."""
    blocks = [critique for critique in proposal.critiques if critique.verdict == "block"]
    if not blocks:
        return []
    text = f"runs despite a block: {'; '.join(overruled(board, proposal, block) for block in blocks)}"
    return [CritiquePosted(target=proposal.event.tree, verdict="endorse", rule="overruled", text=text)]


def _author_of(board: Board, run: str) -> str:
    proposal = board.proposals.get(board.runs[run].requested.proposal)
    return proposal.author if proposal else ""


def _hopeless(board: Board) -> list[ProposalRetired]:
    """Retire proposals that are blocked, that ran without a score, or that miss a constraint or a threshold."""
    verdicts: list[ProposalRetired] = []
    base = board.opened.base_tree if board.opened else ""
    for tree in board.undecided:
        proposal = board.proposals[tree]
        if not proposal.runs and is_blocked(board, proposal):
            why = next(c.text for c in proposal.critiques if c.verdict == "block")
            verdicts.append(_retire(board, tree, "blocked", why))
        if not proposal.ended:
            continue
        runs = board.current_runs(tree)
        if (worst := board.missed(tree)) and not _is_out(board, runs):
            if isinstance(worst, ScreenedOut):
                verdicts.append(_retire(board, tree, "not_better", worst.message))
            else:
                verdicts.append(_retire(board, tree, "failed", f"infeasible: {worst.message}"))
        elif tree == base and not board.scored_seq:
            continue  # nothing can be scored: it is measured again when something has changed
        elif any(run.finished for run in runs) and not board.scores(tree) and not _is_out(board, runs):
            ends = [run.finished.outcome for run in runs if run.finished]
            killed = all(isinstance(end, Failed) and end.reason == "killed" for end in ends)
            verdicts.append(_retire(board, tree, "killed" if killed else "failed", ""))
    return verdicts


def _best(board: Board) -> list[AnyEvent]:
    """Promote the best proposal if it beats the champion, and retire the other undecided proposals.

    Candidates are the undecided proposals, and decided ones that were scored again under a new evaluator.

    Scores are compared inside one worker class. If the champion has no score in a class, or the workers of that class
    are gone, the missing score is requested. A champion that failed blocks no other proposal.
    """
    if is_champion_awaited(board):
        return []
    by_class: dict[str, dict[str, float]] = {home_class(board): {}}
    for tree in dict.fromkeys([*board.undecided, *reevaluated(board), *back(board)]):
        if (
            board.proposals[tree].ended
            and board.missed(tree) is None
            and (found := mean_of(board, tree))
            and not _is_out(board, board.current_runs(tree))
        ):
            mean, worker_class = found
            by_class.setdefault(worker_class, {})[tree] = mean
    verdicts: list[AnyEvent] = []
    for worker_class, means in by_class.items():
        champion = mean_of(board, board.champion, worker_class) if board.champion else None
        if not champion and not _is_unopposed(board, worker_class):
            verdicts += _missing(board, means, worker_class)
            continue
        decided = _best_of(board, means, champion[0] if champion else None)
        verdicts += decided
        if any(isinstance(event, ProposalPromoted) for event in decided):
            break  # the other classes are compared with the new champion
    return verdicts


def _is_unopposed(board: Board, worker_class: str) -> bool:
    """Tell whether a class has no champion to beat: there is none, or it failed in the confirming class."""
    if not board.champion or not board.scores(board.champion):
        return True
    ended = [run for run in board.current_runs(board.champion) if run.finished]
    failed = any(run.finished and run.finished.worker_class == worker_class and run.value is None for run in ended)
    return failed and worker_class == home_class(board)


def _missing(board: Board, means: Mapping[str, float], worker_class: str) -> list[AnyEvent]:
    """Request the champion's score in a class; if that is impossible, the others' scores in the confirming class."""
    if means and worker_class in slots(board):
        if wanted := requests(board, board.champion, "control", [FIRST_SEED], worker_class):
            return list(wanted)
        if _is_out(board, board.current_runs(board.champion)):
            return []
    return [event for tree in means if tree in board.undecided for event in again(board, tree)]


def _best_of(board: Board, means: Mapping[str, float], best: float | None) -> list[AnyEvent]:
    """Return the verdicts on scores of one class; `best` is the champion's score."""
    winner = ""
    for tree, mean in means.items():
        if best is None or board.spec.objective.better(mean, best):
            winner, best = tree, mean
    decided = {tree: mean for tree, mean in means.items() if tree in board.undecided and tree != winner}
    verdicts = [_retire(board, tree, "not_better", "", mean, winner) for tree, mean in decided.items()]
    if not winner:
        return list(verdicts)
    promoted = ProposalPromoted(
        proposal=winner,
        round=board.round + 1,
        met=board.champion,
        mean=means[winner],
        seeds=tuple(run.requested.seed for run in board.current_runs(winner)),
        text="best score so far (the metric has no noise)",
    )
    return [promoted, *verdicts]


def _is_out(board: Board, runs: Sequence[Run]) -> bool:
    return any(is_awaited(board, run) for run in runs)


def _retire(board: Board, tree: str, why: _Why, text: str, mean: float | None = None, met: str = "") -> ProposalRetired:
    return ProposalRetired(
        proposal=tree,
        round=board.round,
        why=why,
        met=met or board.champion,
        mean=mean,
        text=text,
    )

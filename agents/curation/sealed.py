"""The sealed split: scores that no decision of the search has seen, asked for champions alone, and seldom. Pure.

With `selection.sealed = "report"` every champion gets a look, and the score is shown. With `"gate"` a proposal that
proof would promote gets its look first, and is refused if its sealed score is not better than the champion's. A look
is a fact (`holdout.opened`); an arena has `sealed_looks` of them per version, because each look tells something about
the split (C. Dwork et al., "The reusable holdout", Science 349, 2015).
"""

from agents.curation.race_log import is_excused
from agents.curation.run_requests import request
from agents.curation.verdicts import retired
from mesh.board import Board, Run
from mesh.events import AnyEvent, Failed, HoldoutOpened, ProposalPromoted, ProposalRetired
from mesh.evidence import noise, shows_no_noise
from mesh.fleet import home_class

FIRST = 901
"""The first seed of sealed runs. No baseline, search or race has it, and all proposals share it."""

_TRIES = 3
"""Limit of runs of a look, as a multiple of those needed, if some are lost or killed."""


def with_sealed(board: Board, verdicts: list[AnyEvent]) -> list[AnyEvent]:
    """Return the verdicts after the gate, and what is due for the champion's look."""
    how = board.spec.selection.sealed
    if how == "off":
        return verdicts
    passed: list[AnyEvent] = []
    held = ""
    for event in verdicts:
        if how == "gate" and isinstance(event, ProposalPromoted) and event.met:
            decided = _gate(board, event)
            held = "" if event in decided else event.proposal
            passed += decided
        else:
            passed.append(event)
    if held:  # others were retired for a winner that is not one, or not yet
        passed = [each for each in passed if not (isinstance(each, ProposalRetired) and each.met == held)]
    asked = {event.run for event in passed if hasattr(event, "run")}
    if board.champion and not held:
        passed += [event for event in _look(board, board.champion) if getattr(event, "run", "") not in asked]
    return passed


def _gate(board: Board, event: ProposalPromoted) -> list[AnyEvent]:
    """Return the promotion, or the refusal, or what is still to be asked for it."""
    tree, champion = event.proposal, board.champion
    left = board.spec.selection.sealed_looks - len(board.looks)
    unseen = [each for each in (champion, tree) if each not in board.looks and not _is_done(board, each)]
    if len(unseen) > left:
        used = f"all {board.spec.selection.sealed_looks} looks at the sealed split of this version are used up"
        return [retired(board, tree, "not_better", f"the gate is shut: {used}; open a new version", event.mean)]
    if not (_is_done(board, champion) and _is_done(board, tree)):
        moves = _look(board, champion)
        return [*moves, *_look(board, tree, after=sum(isinstance(move, HoldoutOpened) for move in moves))]
    ours, theirs = board.sealed_score(tree), board.sealed_score(champion)
    if ours is None:
        ends = [run.finished.outcome for run in _runs(board, tree) if run.finished]
        why = next((f": {end.message or end.reason}" for end in ends if isinstance(end, Failed)), "")
        return [retired(board, tree, "failed", f"it has no sealed score{why}", event.mean)]
    if theirs is not None and not board.spec.objective.better(ours, theirs):
        text = f"its sealed score {ours:.6g} is not better than the champion's {theirs:.6g}"
        # without its probability, which would make it a close call, and those race again
        return [retired(board, tree, "not_better", text, event.mean, seeds=event.seeds)]
    return [event]


def _look(board: Board, tree: str, *, after: int = 0) -> list[AnyEvent]:
    """Return the fact that opens the split for a proposal, and the requests that are due; nothing without a look."""
    assert board.opened is not None
    if _is_done(board, tree):
        return []
    opening: list[AnyEvent] = []
    if tree not in board.looks:
        number = len(board.looks) + after + 1
        if number > board.spec.selection.sealed_looks:
            return []
        opening = [HoldoutOpened(version=board.opened.version, look=number, proposal=tree)]
    runs = _runs(board, tree)
    missing = _needed(board) - sum(not is_excused(run) for run in runs)
    first = max((run.requested.seed for run in runs), default=FIRST - 1) + 1
    last = min(first + missing, FIRST + _TRIES * _needed(board))
    worker_class = home_class(board)
    return [
        *opening,
        *(request(board, tree, "sealed", seed, worker_class=worker_class) for seed in range(first, last)),
    ]


def _is_done(board: Board, tree: str) -> bool:
    """Tell whether a proposal has its sealed runs, or will get none any more."""
    runs = _runs(board, tree)
    ended = [run for run in runs if run.finished]
    enough = sum(not is_excused(run) for run in ended) >= _needed(board)
    return len(ended) == len(runs) and (enough or len(runs) >= _TRIES * _needed(board))


def _needed(board: Board) -> int:
    """Return how many runs a look takes: one where more seeds would repeat its score."""
    of_class = home_class(board)
    if board.spec.objective.noise == "none" or shows_no_noise(board, of_class, noise(board, of_class)):
        return 1
    return board.spec.selection.baseline_seeds


def _runs(board: Board, tree: str) -> list[Run]:
    return board.sealed_runs(tree)

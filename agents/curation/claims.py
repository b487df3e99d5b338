"""Claims: which proposals may race, by the score that found them. Pure."""

import datetime as dt
from collections.abc import Sequence

from agents.curation.item_proof import has_items
from agents.curation.put_back import awaits_put_back, superseded
from agents.curation.race_log import current_race, is_excused, members_of, seeds_itself
from agents.curation.run_requests import FIRST_SEED, again, race_of, request
from agents.curation.settled import back, reevaluated
from agents.curation.verdicts import retired
from mesh.board import Board
from mesh.events import AnyEvent
from mesh.evidence import Noise, claim, evidence_state, fresh, noise, p_better
from mesh.fleet import home_class, is_awaited, is_gone, slots
from mesh.paired import Scores, SummedScores
from mesh.remembered import Remembered

WAITING = 16
"""Number of claims that may wait for a race; the weakest beyond it are retired."""

_TRIES = 3
"""Limit of control runs in a new class, as a multiple of those needed, if some are lost or killed."""


def weigh_claims(board: Board, now: dt.datetime | None = None) -> tuple[list[AnyEvent], list[str], list[str]]:
    """Return the verdicts on weak claims, the claims that wait for a race (best first), and new worker classes.

    A claim is weak if it does not reach the champion, or if too many better ones wait. A worker class is new if it has
    workers and claims, but no score of the champion yet. If the workers of a claim left before the champion got a score
    there, the claim is measured again on other workers. The same happens if the champion fails on those workers.
    A claim whose case a new version has opened again may race once more.
    A claim whose needless changes are being put back waits; `now` is the present time, by default that of the log.
    """
    now = now or board.time
    new_classes: dict[str, None] = {}
    there = slots(board)
    given_up: list[AnyEvent] = []
    waiting: dict[str, float] = {}
    racing = members_of(board, current_race(board))
    for tree in dict.fromkeys([*board.undecided, *reevaluated(board), *back(board)]):
        if not board.proposals[tree].ended:
            continue
        found = claim(board, tree)
        runs, since = board.current_runs(tree), board.proposals[tree].back_seq
        raced = {race_of(run.requested) for run in runs if run.requested.lane == "confirm" and run.seq > since}
        if found is None or tree in racing or any(is_awaited(board, run) for run in runs):
            continue
        if raced and tree not in board.undecided:
            continue
        value, worker_class = found
        champion: Scores = fresh(board, board.champion, worker_class)
        if not champion:
            if worker_class in there and (worker_class == home_class(board) or _may_meet(board, worker_class)):
                new_classes[worker_class] = None
            elif there and tree in board.undecided:
                given_up += _remeasure(board, tree, worker_class)
            continue
        champion, bar = _measure_in(board, worker_class)
        if board.spec.objective.better(value, bar):
            waiting[tree] = abs(value - bar)
        elif tree in board.undecided:
            found_noise = noise(board, worker_class)
            p = None if has_items(board) else p_better(board, {FIRST_SEED: value}, champion, found_noise)
            given_up.append(
                retired(board, tree, "not_better", "its score is not better than the champion's", value, p=p)
            )
    given_up += (simpler := superseded(board, list(waiting), now))
    gone = {event.proposal for event in simpler}
    ready = [tree for tree in waiting if tree not in gone and not awaits_put_back(board, tree, now)]
    ranked = sorted(ready, key=lambda tree: -waiting[tree])
    for tree in ranked[WAITING:]:
        if tree in board.undecided:
            text = f"its score is worse than those of {WAITING} others that wait for a race"
            given_up.append(retired(board, tree, "not_better", text, (claim(board, tree) or (0.0, ""))[0]))
    return given_up, ranked[:WAITING], list(new_classes)


def expected_on(seed: int, champion: Scores, found: Noise) -> float:
    """Return the score that a claim on a seed has to reach: what is expected of the champion there.

    This is the champion's mean. Where seeds share a difficulty and the champion has a score on that seed, the
    expectation moves towards it, by the correlation of scores on one seed.
    """
    mean = _mean(list(champion.values()))
    if found.seeds is None or seed not in champion:
        return mean
    middle = _mean([score for other, score in champion.items() if other != seed] or [mean])
    return middle + found.seeds.correlation * (champion[seed] - middle)


def _mean(values: Sequence[float]) -> float:
    """Return the mean, without a rounding error where all values are equal."""
    return values[0] + sum(value - values[0] for value in values) / len(values)


def _measure_in(board: Board, worker_class: str) -> tuple[Scores, float]:
    """Return the champion's scores in a worker class by seed, and the score that a claim has to reach there."""
    return _measures.of(board, evidence_state(board), worker_class, lambda: _measured_now(board, worker_class))


_measures: Remembered[tuple[Scores, float]] = Remembered()


def _measured_now(board: Board, worker_class: str) -> tuple[Scores, float]:
    found = noise(board, worker_class)
    champion = _with_claim(board, fresh(board, board.champion, worker_class), found, worker_class)
    bar = expected_on(FIRST_SEED, champion, found)
    own = claim(board, board.champion)
    if own and own[1] == worker_class and has_items(board):
        bar = own[0]  # claims have the items of search, and proofs others
    elif own and own[1] == worker_class and seeds_itself(board, board.champion):
        bar = min(bar, own[0], key=board.spec.objective.gain)  # claims have the seed of the program, proofs others
    return champion, bar


def _with_claim(board: Board, champion: Scores, found: Noise, worker_class: str) -> Scores:
    """Return the champion's scores by seed, with its own claim if claims are compared on their common seed."""
    own = claim(board, board.champion)
    if found.seeds is None or own is None or own[1] != worker_class:
        return champion
    return champion if FIRST_SEED in champion else SummedScores([(FIRST_SEED, own[0]), *champion.items()])


def _remeasure(board: Board, tree: str, worker_class: str) -> list[AnyEvent]:
    """Request a claim in the confirming class; retire the proposal if it got no score there either."""
    if wanted := again(board, tree):
        return list(wanted)
    if is_gone(board, home_class(board)):
        return []
    text = "all its scores come from workers that have left, and the remaining workers gave it none"
    if not is_gone(board, worker_class):
        text = "all its scores come from workers on which the champion fails, and the workers that confirm gave it none"
    return [retired(board, tree, "failed", text)]


def _may_meet(board: Board, worker_class: str) -> bool:
    """Tell whether the champion may still get a score in a worker class."""
    runs = board.current_runs(board.champion)
    out = any(run.requested.worker_class == worker_class and is_awaited(board, run) for run in runs)
    return out or bool(meet(board, worker_class))


def meet(board: Board, worker_class: str) -> list[AnyEvent]:
    """Request the champion's first scores in a worker class; if runs are lost or killed, on further seeds."""
    wanted = board.spec.selection.baseline_seeds - 1
    seeds = range(2, 2 + _TRIES * wanted)
    runs = [
        run
        for run in board.current_runs(board.champion)
        if run.requested.worker_class == worker_class and run.requested.seed in seeds
    ]
    first = max((run.requested.seed for run in runs), default=1) + 1
    missing = wanted - sum(not is_excused(run) for run in runs)
    return [
        request(board, board.champion, "control", seed, worker_class=worker_class, apart=True)
        for seed in range(first, min(first + missing, seeds.stop))
    ]

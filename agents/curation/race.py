"""Races: how a claim becomes a promotion, on fresh seeds and with error control over all races. Pure.

First the baseline runs on several seeds. It becomes the first champion, and its scores give the first estimate of the
noise. Then the best claims race against the champion on fresh seeds: one each, then the best two on three, then
the best one on seven, and so on. Those that leave for better ones, and look better than the champion, wait for the
next race. After each stage the best challenger is tested against the champion, at a level from `error_control`,
`multiplicity` and `group_sequential`. Everything follows from the log.
"""

import datetime as dt
import math
from collections.abc import Sequence

from agents.curation.claims import meet, weigh_claims
from agents.curation.close_calls import RACES, close_calls, races_of
from agents.curation.error_control import level
from agents.curation.group_sequential import nominal
from agents.curation.item_proof import bar_over_items, has_items, items_in, pairs_to_compare
from agents.curation.multiplicity import each
from agents.curation.proof_share import affords
from agents.curation.race_log import (
    EXCUSED,
    current_race,
    entrants_of,
    families_proven,
    is_racing,
    members_of,
    racers_in,
    runs_in_race,
    scores_in_race,
    seeds_itself,
    stages,
)
from agents.curation.reevaluation import is_champion_awaited
from agents.curation.run_requests import FIRST_SEED, SEEDS, requests
from agents.curation.verdicts import promoted, retired
from mesh.board import Board
from mesh.events import PROOF, AnyEvent, Failed, Lane, RunRequested
from mesh.evidence import CLOSE, Estimate, Noise, claim, estimate, fresh, noise, p_better, proofs, shows_no_noise
from mesh.fleet import home_class, is_awaited, is_gone
from mesh.item_evidence import item_noise, margin_of
from mesh.paired import Scores

SIZE = 5
"""Number of claims in a race."""
NEARLY = 0.95
"""Probability of a challenger to be better than the champion, from which its race does not give way."""

HOPELESS = 0.2
"""A challenger drops out if its probability to be better than the champion is below this."""

UNLIKELY = 0.85
"""The same from `_LATE` of all seeds on."""

BEHIND = 0.15
"""A challenger drops out if its probability to be better than the best challenger is below this."""

PROMISING = 0.5
"""A challenger that leaves the race for better ones waits for the next race if it is better with this probability."""

_LATE = 0.4
_TOO_MUCH = "proof has had its share of the workers' time, and cannot go on with both"
_OWN_SEED = "; the program seeds itself: its claim has its own seed, and the fresh runs have others"
_KNOWN = 50
"""More earlier scores of a champion than this hardly change the error rate of a race."""


def prove(board: Board, now: dt.datetime | None = None) -> list[AnyEvent]:
    """Return the verdicts on claims and races, and requests for the next confirmation and control runs."""
    if not board.champion:
        return _first_champion(board)
    if is_champion_awaited(board):
        return []
    worker_class = home_class(board)
    if is_gone(board, worker_class):  # the arena names this class and waits for its workers
        return []
    given_up, waiting, new_classes = weigh_claims(board, now)
    given_up += [event for name in new_classes for event in meet(board, name)]
    if not fresh(board, board.champion, worker_class):
        given_up += [] if worker_class in new_classes else meet(board, worker_class)
        is_tried = any(is_awaited(board, run) for run in board.current_runs(board.champion))
        return given_up if given_up or is_tried else _first_champion(board)  # a failed champion blocks nothing
    race = current_race(board)
    members = members_of(board, race)
    if pairs_to_compare(board):  # the curator compares them before it decides
        return given_up
    moves = _stage(board, race, members, worker_class) if members else []
    asked = sum(isinstance(move, RunRequested) for move in moves)
    if asked:
        affordable = affords(board, asked)
        instead = _give_way(board, race, moves, waiting, worker_class, affordable=affordable)
        if instead or not affordable:  # the race goes on once search has run more, unless a better claim waits
            return [*given_up, *instead]
    if moves or any(is_racing(board, tree, race) for tree in (*members, board.champion)):
        return [*given_up, *moves]
    return [*given_up, *_start(board, race + 1, waiting, worker_class)]


def _give_way(
    board: Board, race: int, moves: Sequence[AnyEvent], waiting: Sequence[str], worker_class: str, *, affordable: bool
) -> list[AnyEvent]:
    """End a race that asks for more runs, if a claim that waits is worth them more; begin the next one.

    A race ends only for a claim that is clearly better than all of its challengers, with a probability of `NEARLY`: the
    best of several lucky scores is better than a mean of fresh ones without being so, and no race would ever get a
    second pair. Those of its challengers that look better than the champion race again, if proof can afford the race.
    A race that is nearly decided, with a challenger that is better than the champion with that probability, goes on.

    To stop without a promotion costs the test nothing: it is one more way not to promote. A close call that races again
    is retired already.
    """
    asked = [move.proposal for move in moves if isinstance(move, RunRequested) and move.lane == "confirm"]
    racing = {tree: scores_in_race(board, tree, race, worker_class) for tree in dict.fromkeys(asked)}
    best = claim(board, waiting[0]) if waiting else None
    means = [sum(scores.values()) / len(scores) for scores in racing.values() if scores]
    if best is None or not means or not all(board.spec.objective.better(best[0], mean) for mean in means):
        return []
    found, champion = noise(board, worker_class), fresh(board, board.champion, worker_class)
    text = "gives its place to a better claim: "
    text += "this race was not nearly decided" if affordable else _TOO_MUCH
    rivals = proofs(board, board.champion, worker_class)
    open_ones = {tree: scores for tree, scores in racing.items() if scores and tree in board.undecided}
    chance = {
        tree: p_better(
            board, scores, champion, found, item_noise(runs_in_race(board, tree, race, worker_class), rivals)
        )
        for tree, scores in open_ones.items()
    }
    stays = any(
        tree in board.undecided and not scores and not _may_return(board, tree) for tree, scores in racing.items()
    )
    if any(p >= NEARLY for p in chance.values()) or (affordable and stays):
        return []
    claims, standing = {FIRST_SEED: best[0]}, _standing(board, list(racing), race, worker_class)
    if not all(p_better(board, claims, each, found) >= NEARLY for each in standing.values()):
        return []
    instead = _start(board, race + 1, waiting, worker_class)
    if affordable and not instead:
        return []
    ended: list[AnyEvent] = [
        retired(
            board, tree, "not_better", text, sum(scores.values()) / len(scores), p=chance[tree], seeds=tuple(scores)
        )
        for tree, scores in open_ones.items()
        if not affordable or chance[tree] < PROMISING or not _may_return(board, tree)
    ]
    verdicts = [move for move in moves if not isinstance(move, RunRequested)]
    return ended or [*verdicts, *instead]


def is_on(board: Board) -> bool:
    """Tell whether a race is running."""
    race = current_race(board)
    return any(tree in board.undecided for tree in members_of(board, race)) or is_racing(board, board.champion, race)


def verdict_of(board: Board, tree: str, found: Noise) -> Estimate:
    """Return the published value of a proposal: mean and interval of its fresh scores in the confirming class."""
    runs = [run for run in proofs(board, tree, home_class(board)) if run.value is not None]
    return estimate(list(fresh(board, tree, home_class(board)).values()), found, margin_of(runs))


def _first_champion(board: Board) -> list[AnyEvent]:
    """Find a first champion on several seeds: the baseline if it runs, else the best claim."""
    assert board.opened is not None
    base, count = board.opened.base_tree, board.spec.selection.baseline_seeds
    cured = _cured(board, base)
    claims = {tree: found for tree in [*board.undecided, *cured] if (found := claim(board, tree))}
    first = (
        base if base in board.undecided or cured else _best(board, {tree: value for tree, (value, _) in claims.items()})
    )
    if first not in claims or (base in board.undecided and first != base):
        return []
    lane: Lane = "control" if first == base else "confirm"
    worker_class = claims[first][1]
    if is_gone(board, worker_class):
        worker_class = home_class(board)
    if is_gone(board, worker_class):
        return []
    seeds = range(1, count + 1) if first == base and not has_items(board) else range(2, count + 2)
    if missing := requests(board, first, lane, seeds, worker_class):
        return list(missing)
    if any(is_awaited(board, run) for run in board.current_runs(first)):
        return []
    scores = fresh(board, first, worker_class)
    if not scores:
        return [retired(board, first, "failed", f"failed on all {count} fresh seeds")]
    spread = noise(board, worker_class)
    value = estimate(list(scores.values()), spread, margin_of(proofs(board, first, worker_class)))
    text = f"first champion, measured on {len(scores)} seeds"
    if shows_no_noise(board, worker_class, spread):
        text += ": all scores are equal, so the metric is taken as exact, and one fresh run proves"
        if has_items(board):
            text = f"first champion: {len(scores)} seeds have the same items, so one run per side proves over them"
    return [promoted(board, first, value, tuple(scores), None, text)]


def _cured(board: Board, base: str) -> list[str]:
    """Return the baseline if it was given up and has a score: it failed once, or all champions are ruled out."""
    known = board.proposals.get(base)
    return [base] if known and known.verdict == "retired" and board.scores(base) else []


def _start(board: Board, race: int, waiting: Sequence[str], worker_class: str) -> list[AnyEvent]:
    """Begin a race of the best claims: of as many as proof can afford now."""
    exact = shows_no_noise(board, worker_class, noise(board, worker_class))
    if not waiting and not (exact and has_items(board)):  # another run would have the same items
        waiting = close_calls(board, worker_class)
    first = stages(board.spec.selection.confirm_seeds)[0]
    size = min(len(waiting), SIZE)
    while size and not affords(board, first * (size + 1)):
        size -= 1
    if not size:
        return []
    claims = waiting[:1] if exact and not has_items(board) else waiting[:size]
    return _ask(board, race, claims, range(1, first + 1), worker_class, with_champion=not exact)


def _seeds_to_prove(seeds: int, chance: float, bar: float) -> int:
    """Return how many seeds would prove a gain like the one seen on `seeds`, by the normal approximation."""
    from scipy.special import ndtri

    return max(seeds + 1, math.ceil(seeds * (float(ndtri(bar)) / float(ndtri(1 - chance))) ** 2))


def _ask(
    board: Board, race: int, trees: Sequence[str], seeds: range, worker_class: str, *, with_champion: bool = True
) -> list[AnyEvent]:
    """Request runs of challengers and champion on seeds of a race."""
    wanted: list[AnyEvent] = []
    finders = {tree: _finder(board, tree) for tree in trees}
    for seed in (SEEDS * race + seed for seed in seeds):
        for tree in trees:
            wanted += requests(board, tree, "confirm", [seed], worker_class, avoid=finders[tree], race=race)
        if with_champion:
            wanted += requests(board, board.champion, "control", [seed], worker_class, race=race)
    return wanted


def _stage(board: Board, race: int, members: Sequence[str], worker_class: str) -> list[AnyEvent]:
    """Return the decisions after a stage, once all runs of the stage have finished.

    A champion that this race has promoted takes one of the places in the next stage. It runs one stage ahead of the
    challengers, so that its own luck is known before others are measured against it.
    """
    if any(is_racing(board, tree, race) for tree in (*members, board.champion)):
        return []
    verdicts: list[AnyEvent] = []
    found, champion = noise(board, worker_class), fresh(board, board.champion, worker_class)
    chance: dict[str, float] = {}
    rivals = proofs(board, board.champion, worker_class)
    seeds = board.spec.selection.confirm_seeds
    runs_of = {tree: runs_in_race(board, tree, race, worker_class) for tree in members}
    done = max(map(len, runs_of.values()))
    if not done:  # its workers have left: the race is redone on the remaining ones
        return _ask(board, race, members, range(1, stages(seeds)[0] + 1), worker_class)
    exact = shows_no_noise(board, worker_class, found)
    if not exact and (missed := _ask(board, race, (), range(1, done + 1), worker_class)):
        return missed  # a race of an exact metric, which proves to have noise: the champion runs on its seeds too
    last = done >= seeds or exact
    upto = seeds if last else next(count for count in stages(seeds) if count > done)
    promoted_here = board.champion in entrants_of(board, race)
    if promoted_here and not last and (ahead := _ask(board, race, (), range(done + 1, upto + 1), worker_class)):
        return ahead
    for tree, runs in runs_of.items():
        broken = [run.finished.outcome for run in runs if run.finished and isinstance(run.finished.outcome, Failed)]
        if fault := next((failure.reason for failure in broken if failure.reason not in EXCUSED), None):
            if tree in board.undecided:
                verdicts.append(retired(board, tree, "failed", f"failed on a fresh seed: {fault}"))
        else:
            scores = scores_in_race(board, tree, race, worker_class)
            chance[tree] = p_better(board, scores, champion, found, item_noise(runs, rivals))
    standing = _standing(board, list(chance), race, worker_class)
    ranked = sorted(chance, key=lambda tree: -_mean(board, standing[tree]))
    winner, whole = next(iter(ranked), ""), _level(board, race)
    is_tested = exact or done > stages(seeds)[0]  # one seed each only chooses who goes on
    passes = winner and found.dof and is_tested and 1 - chance[winner] <= whole  # no bar is above the level of all
    once = exact and has_items(board)
    if passes and 1 - chance[winner] <= (bar := _bar(board, race, done, whole, worker_class, once=once)):
        text = f"better than the champion in race {race}: p-value {1 - chance[winner]:.2g}, the level allows {bar:.2g}"
        if has_items(board):
            text += f", on {items_in(runs_of[winner], rivals)}"
        elif exact:
            text = f"better than the champion in race {race}: the metric shows no noise, so one fresh run proves"
        value, proof = verdict_of(board, winner, found), tuple(fresh(board, winner, worker_class))
        return [promoted(board, winner, value, proof, chance[winner], text), *verdicts]
    least = _least(done, seeds)
    able = [
        tree
        for tree in ranked
        if chance[tree] >= least
        and (tree == winner or p_better(board, standing[tree], standing[winner], found) >= BEHIND)
    ]
    stage = sum(count <= done for count in stages(seeds))
    kept = [] if last else able[: max(1, racers_in(SIZE, stage) - promoted_here)]
    for tree in ranked:
        scores = scores_in_race(board, tree, race, worker_class)
        values = list(scores.values())
        waits = bool(kept) and tree in able and chance[tree] >= PROMISING and _may_return(board, tree)
        if tree not in kept and tree in board.undecided and not waits:
            text = "not better than the champion on a fresh seed, and the metric shows no noise"
            if exact and has_items(board):
                on = items_in(runs_of[tree], rivals)
                text = f"not significantly better than the champion on {on}, and more seeds have the same items"
                if chance[tree] >= CLOSE:
                    needed = bar_over_items(board, race, whole, worker_class)
                    times = _seeds_to_prove(100, chance[tree], needed) / 100
                    text += f"; a gain like this would be proven by about {times:.1f} times as many items"
            elif not exact:
                text = (
                    f"not significantly better than the champion on {len(values)} fresh seeds "
                    f"(standard deviation between seeds: {found.sd:.3g})"
                )
                if chance[tree] >= CLOSE:
                    enough = _seeds_to_prove(len(values), chance[tree], whole / len(entrants_of(board, race)))
                    text += f"; a gain like this would be proven by about {enough} seeds"
                text += _OWN_SEED if seeds_itself(board, tree) else ""
            mean = sum(values) / len(values) if values else None
            proof = tuple(scores)
            verdicts.append(retired(board, tree, "not_better", text, mean, p=chance[tree], seeds=proof))
    if kept:
        verdicts += _ask(board, race, kept, range(done + 1, upto + 1), worker_class)
    return verdicts


def _may_return(board: Board, tree: str) -> bool:
    """Tell whether a challenger that leaves a race undecided can come to another one: only a claim leads there."""
    return claim(board, tree) is not None and len(races_of(board, tree)) < RACES


def _level(board: Board, race: int) -> float:
    """Return the error level that the challengers of a race share."""
    promotions = max(0, len(board.champions) - 1)
    return level(race + promotions, families_proven(board), board.spec.selection.fdr)


def _bar(board: Board, race: int, seeds: int, whole: float, worker_class: str, *, once: bool = False) -> float:
    """Return the nominal level at which a challenger is tested after this many seeds, or, `once`, over items."""
    if once:
        return bar_over_items(board, race, whole, worker_class)
    looks = tuple(stages(board.spec.selection.confirm_seeds))
    before = len(proofs(board, board.champion, worker_class)) - len(
        runs_in_race(board, board.champion, race, worker_class)
    )
    known = min(before - before % 5 if before > 5 else before, _KNOWN)  # few values, because each is simulated
    least = tuple(_least(look, looks[-1]) for look in looks)
    own = each(looks, whole, len(entrants_of(board, race)), known, least)
    return nominal(looks, seeds, own)


def _least(done: int, seeds: int) -> float:
    """Return the probability to be better than the champion below which a challenger drops out after a look."""
    return HOPELESS if done < _LATE * seeds else UNLIKELY


def _standing(board: Board, trees: Sequence[str], race: int, worker_class: str) -> dict[str, Scores]:
    """Return the scores by which the challengers of a race are ranked among each other, by seed.

    These are the fresh scores and the claim. All challengers were chosen by their claims, so claims compare them as
    fairly as fresh scores do. If one claim comes from another worker class, no claim counts.
    """
    claims = {tree: claim(board, tree) for tree in trees}
    comparable = all(found is not None and worker_class in ("", found[1]) for found in claims.values())
    values = {tree: scores_in_race(board, tree, race, worker_class) for tree in trees}
    if not comparable:
        return dict(values)
    return {tree: {FIRST_SEED: found[0], **values[tree]} for tree, found in claims.items() if found is not None}


def _mean(board: Board, values: Scores) -> float:
    """Return the mean, turned so that greater is better; minus infinity without values."""
    if not values:
        return -math.inf
    return board.spec.objective.gain(sum(values.values()) / len(values))


def _best(board: Board, values: dict[str, float]) -> str:
    """Return the proposal with the best value, of equals the first in the log; "" if there is none."""
    best = ""
    for tree, value in values.items():
        if not best or board.spec.objective.better(value, values[best]):
            best = tree
    return best


def _finder(board: Board, tree: str) -> str:
    """Return the boot of the worker that measured the claim: another worker should confirm it."""
    runs = [run for run in board.current_runs(tree) if run.requested.lane not in PROOF]
    return next((run.finished.worker for run in reversed(runs) if run.finished), "")

"""How a claim becomes a promotion: races on fresh seeds, with error control over all of them. Pure.

The artifact as it was is run on several seeds first: the first champion, and the first knowledge of the noise. Then the
few best claims meet the champion in a race, on seeds that nobody has used: two each, then the better half on four, and
so on (successive halving). Who is left is tested after half of the seeds and, where it may still win, after all:
promoted if it is better beyond the noise (`error_control.level`, a third of it at the first look). Who is far ahead of
the champion and of all others is promoted at once (Haybittle and Peto's boundary). Everything follows from the log; the
seed of a run names its race.
"""

import math
from collections.abc import Sequence

from agents.curation.error_control import level
from agents.curation.group_sequential import nominal
from agents.curation.multiplicity import each
from agents.curation.reevaluation import is_champion_awaited, reevaluated
from agents.curation.run_requests import SEEDS, again, race_of, request, requests
from agents.curation.verdicts import promoted, retired
from mesh.board import Board, Run
from mesh.events import PROOF, AnyEvent, Failed, Lane
from mesh.evidence import Estimate, Noise, claim, estimate, fresh, noise, p_better, proofs
from mesh.fleet import home_class, is_awaited, is_gone, slots

CONTROLS = 500
"""Of the seeds of a race, those from here on are for controls of a champion between races: no challenger has them."""

SIZE = 8
"""Claims that race at a time."""

WAITING = 16
"""Claims that wait for a race; of more, the weakest are given up."""

_SHARE = 0.4
"""Of all finished runs, what proof may take before the next race waits for more search, beside one whole race."""

HOPELESS = 0.2
"""Probability of being better below which a challenger falls out."""

UNLIKELY = 0.7
"""The same after half of the seeds, before the second half is spent."""

BEHIND = 0.15
"""Probability of being better than the first of a race below which another falls out."""

_KNOWN = 50
"""Scores of a champion beyond which more of them tell nothing new about the errors of a race."""

EXCUSED = ("lost", "killed")
"""Failures that say nothing about the proposal."""

_TRIES = 3
"""Times as many runs as are wanted of a champion in a class new to it, where some are lost or killed."""


def prove(board: Board) -> list[AnyEvent]:
    """Return the verdicts on claims and races, and the runs that are to prove more."""
    if not board.champion:
        return _found(board)
    if is_champion_awaited(board):
        return []
    worker_class = home_class(board)
    if is_gone(board, worker_class):  # the arena names it: what is out there would be taken for missing
        return []
    given_up, waiting, strange = _claims(board)
    given_up += [event for its in strange for event in _meet(board, its)]
    if not fresh(board, board.champion, worker_class):
        given_up += [] if worker_class in strange else _meet(board, worker_class)
        is_tried = any(is_awaited(board, run) for run in board.current_runs(board.champion))
        return given_up if given_up or is_tried else _found(board)  # who has failed there holds nobody back
    race = current_race(board)
    members = _members(board, race)
    moves = _stage(board, race, members, worker_class) if members else []
    if moves or any(_is_out(board, tree, race) for tree in (*members, board.champion)):
        return [*given_up, *moves]
    return [*given_up, *_start(board, race + 1, waiting, worker_class)]


def is_on(board: Board) -> bool:
    """Tell whether somebody races."""
    race = current_race(board)
    return any(tree in board.undecided for tree in _members(board, race)) or _is_out(board, board.champion, race)


def stages(seeds: int) -> list[int]:
    """Return how many seeds a challenger has been run on after each stage: 2, 4, 8, … up to `seeds`."""
    found = [2]
    while found[-1] < seeds:
        found.append(min(seeds, 2 * found[-1]))
    return found


def current_race(board: Board) -> int:
    """Return the number of the last race that was begun, 0 before the first."""
    return max((race_of(board.runs[run].requested) for run in board.proofs), default=0)


def verdict_of(board: Board, tree: str, found: Noise) -> Estimate:
    """Return the published value of a proposal: mean and interval of its fresh scores in the class of the races."""
    return estimate(list(fresh(board, tree, home_class(board)).values()), found)


def _found(board: Board) -> list[AnyEvent]:
    """Find a first champion: the artifact as it was, where it can be run, else the best claim; on several seeds."""
    assert board.opened is not None
    base, count = board.opened.base_tree, board.spec.selection.baseline_seeds
    claims = {tree: found for tree in board.undecided if (found := claim(board, tree))}
    first = base if base in board.undecided else _best(board, {tree: value for tree, (value, _) in claims.items()})
    if first not in claims or (base in board.undecided and first != base):
        return []
    lane: Lane = "control" if first == base else "confirm"
    worker_class = claims[first][1]
    if is_gone(board, worker_class):
        worker_class = home_class(board)
    if is_gone(board, worker_class):
        return []
    seeds = range(1, count + 1) if first == base else range(2, count + 2)
    if missing := requests(board, first, lane, seeds, worker_class):
        return list(missing)
    if any(is_awaited(board, run) for run in board.current_runs(first)):
        return []
    scores = fresh(board, first, worker_class)
    if not scores:
        return [retired(board, first, "failed", f"failed on all of {count} fresh seeds")]
    value = estimate(list(scores.values()), noise(board, worker_class))
    text = f"the first champion, on {len(scores)} seeds"
    return [promoted(board, first, value, tuple(scores), None, text)]


def _claims(board: Board) -> tuple[list[AnyEvent], list[str], list[str]]:
    """Return verdicts on claims that do not reach the champion or wait behind too many, and the others, best first.

    Beside them the worker classes of claims in which the champion has no score yet, though such workers are there. A
    claim of workers that are gone is held against nothing else: where the champion never met them, it is made anew. So
    is one of workers on which the champion fails.
    """
    strange: dict[str, None] = {}
    there = slots(board)
    given_up: list[AnyEvent] = []
    waiting: dict[str, float] = {}
    race = current_race(board)
    for tree in [*board.undecided, *reevaluated(board)]:
        its = claim(board, tree)
        runs = board.current_runs(tree)
        raced = {race_of(run.requested) for run in runs if run.requested.lane == "confirm"}
        if its is None or race in raced - {0} or any(is_awaited(board, run) for run in runs):
            continue
        if raced and tree not in board.undecided:
            continue
        value, worker_class = its
        champion = _values(board, board.champion, worker_class)
        if not champion:
            if worker_class in there and (worker_class == home_class(board) or _may_meet(board, worker_class)):
                strange[worker_class] = None
            elif there and tree in board.undecided:
                given_up += _anew(board, tree, worker_class)
            continue
        mean = sum(champion) / len(champion)
        if board.spec.objective.better(value, mean):
            waiting[tree] = abs(value - mean)
        elif tree in board.undecided:
            p = p_better(board, [value], champion, noise(board, worker_class))
            given_up.append(
                retired(board, tree, "not_better", "its score is not better than the champion's", value, p=p)
            )
    ranked = sorted(waiting, key=lambda tree: -waiting[tree])
    for tree in ranked[WAITING:]:
        if tree in board.undecided:
            text = f"its score is behind those of {WAITING} others that wait for a race"
            given_up.append(retired(board, tree, "not_better", text, (claim(board, tree) or (0.0, ""))[0]))
    return given_up, ranked[:WAITING], list(strange)


def _anew(board: Board, tree: str, worker_class: str) -> list[AnyEvent]:
    """Ask for a claim in the class where proof is sought; give up what has none there either."""
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
    return out or bool(_meet(board, worker_class))


def _meet(board: Board, worker_class: str) -> list[AnyEvent]:
    """Ask for the champion's first scores in a worker class; where some are lost or killed, on further seeds."""
    wanted = board.spec.selection.baseline_seeds - 1
    seeds = range(2, 2 + _TRIES * wanted)
    asked = [
        run
        for run in board.current_runs(board.champion)
        if run.requested.worker_class == worker_class and run.requested.seed in seeds
    ]
    first = max((run.requested.seed for run in asked), default=1) + 1
    missing = wanted - sum(not _is_excused(run) for run in asked)
    return [
        request(board, board.champion, "control", seed, worker_class=worker_class, apart=True)
        for seed in range(first, min(first + missing, seeds.stop))
    ]


def _is_excused(run: Run) -> bool:
    """Tell whether a run failed by no fault of its proposal."""
    outcome = run.finished.outcome if run.finished else None
    return isinstance(outcome, Failed) and outcome.reason in EXCUSED


def _start(board: Board, race: int, waiting: Sequence[str], worker_class: str) -> list[AnyEvent]:
    """Begin a race of the best claims, where search is far enough ahead of proof."""
    if not waiting or len(board.proofs) > _SHARE * board.finished + _whole(board.spec.selection.confirm_seeds):
        return []
    return _ask(board, race, waiting[:SIZE], range(1, stages(board.spec.selection.confirm_seeds)[0] + 1), worker_class)


def _whole(seeds: int) -> int:
    """Return how many runs a race takes whose members all go as far as they can."""
    before, runs, size = 0, 0, SIZE
    for count in stages(seeds):
        runs += (count - before) * (size + 1)
        before, size = count, math.ceil(size / 2)
    return runs


def _ask(board: Board, race: int, trees: Sequence[str], seeds: range, worker_class: str) -> list[AnyEvent]:
    """Ask for runs of challengers, and of the champion, on seeds of a race."""
    wanted: list[AnyEvent] = []
    finders = {tree: _finder(board, tree) for tree in trees}
    for seed in (SEEDS * race + seed for seed in seeds):
        for tree in trees:
            wanted += requests(board, tree, "confirm", [seed], worker_class, avoid=finders[tree], race=race)
        wanted += requests(board, board.champion, "control", [seed], worker_class, race=race)
    return wanted


def _members(board: Board, race: int) -> list[str]:
    """Return who is in a race: undecided, or decided before an evaluator changed and not fallen behind since."""
    counts: dict[str, int] = {}
    for name in reversed(board.proofs):
        asked = board.runs[name].requested
        if (
            race
            and race_of(asked) == race
            and asked.lane == "confirm"
            and asked.proposal != board.champion
            and board.proposals.get(asked.proposal)
        ):
            counts[asked.proposal] = counts.get(asked.proposal, 0) + 1
    most = max(counts.values(), default=0)
    again = reevaluated(board)
    return [
        tree for tree, count in reversed(counts.items()) if tree in board.undecided or (count == most and tree in again)
    ]


def _is_out(board: Board, tree: str, race: int) -> bool:
    """Tell whether a run of this race is asked for, not finished, and may still be."""
    proposal = board.proposals.get(tree)
    out = [board.runs[name] for name in proposal.runs if name in board.unfinished] if proposal else []
    runs = [run for run in out if is_awaited(board, run)]
    return any(race_of(run.requested) == race and run.requested.lane in PROOF for run in runs)


def _stage(board: Board, race: int, members: Sequence[str], worker_class: str) -> list[AnyEvent]:
    """Decide after a stage, when all its runs are finished.

    A champion that this race has promoted takes one of the places of those that go on, and runs ahead of them: what was
    luck in its choice is found out before it is measured by others, or others by it.
    """
    if any(_is_out(board, tree, race) for tree in (*members, board.champion)):
        return []
    verdicts: list[AnyEvent] = []
    found, champion = noise(board, worker_class), _values(board, board.champion, worker_class)
    chance: dict[str, float] = {}
    seeds = board.spec.selection.confirm_seeds
    fought = {tree: _runs(board, tree, race, worker_class) for tree in members}
    asked = max(map(len, fought.values()))
    if not asked:  # it was fought on workers that are gone: it begins anew on those that are there
        return _ask(board, race, members, range(1, stages(seeds)[0] + 1), worker_class)
    last = asked >= seeds
    upto = seeds if last else next(count for count in stages(seeds) if count > asked)
    own = board.champion in _began(board, race)
    if own and not last and (ahead := _ask(board, race, (), range(asked + 1, upto + 1), worker_class)):
        return ahead
    for tree, runs in fought.items():
        broken = [run.finished.outcome for run in runs if run.finished and isinstance(run.finished.outcome, Failed)]
        if fault := next((failure.reason for failure in broken if failure.reason not in EXCUSED), None):
            if tree in board.undecided:
                verdicts.append(retired(board, tree, "failed", f"failed on a fresh seed: {fault}"))
        else:
            chance[tree] = p_better(board, _values(board, tree, worker_class), champion, found)
    standing = _standing(board, list(chance), worker_class)
    ranked = sorted(chance, key=lambda tree: -_mean(board, standing[tree]))
    winner, bar = next(iter(ranked), ""), _bar(board, race, asked, worker_class)
    if winner and found.dof and 1 - chance[winner] <= bar:
        p_value = f"p-value {1 - chance[winner]:.2g}, at most {bar:.2g} needed"
        text = f"better than the champion: {p_value} in race {race} (LOND)"
        value, proof = verdict_of(board, winner, found), tuple(fresh(board, winner, worker_class))
        return [promoted(board, winner, value, proof, chance[winner], text), *verdicts]
    least = HOPELESS if 2 * asked < seeds else UNLIKELY
    able = [
        tree
        for tree in ranked
        if chance[tree] >= least
        and (tree == winner or p_better(board, standing[tree], standing[winner], found) >= BEHIND)
    ]
    kept = [] if last else able[: max(1, math.ceil((len(ranked) + own) / 2) - own)]
    for tree in ranked:
        values = _values(board, tree, worker_class)
        if tree not in kept and tree in board.undecided:
            text = (
                f"not better than the champion beyond the noise, on {len(values)} fresh seeds "
                f"(standard deviation between seeds: {found.sd:.3g})"
            )
            mean = sum(values) / len(values) if values else None
            proof = tuple(fresh(board, tree, worker_class))
            verdicts.append(retired(board, tree, "not_better", text, mean, p=chance[tree], seeds=proof))
    if kept:
        verdicts += _ask(board, race, kept, range(asked + 1, upto + 1), worker_class)
    return verdicts


def _runs(board: Board, tree: str, race: int, worker_class: str) -> list[Run]:
    """Return the finished runs of a proposal on the seeds of a race, but for the later controls of a champion."""
    found = proofs(board, tree, worker_class)
    return [run for run in found if race_of(run.requested) == race and run.requested.seed < SEEDS * race + CONTROLS]


def _bar(board: Board, race: int, asked: int, worker_class: str) -> float:
    """Return the nominal level at which a challenger is tested after a stage: its share, spent over the stages."""
    promotions = max(0, len(board.champions) - 1)
    whole = level(race + promotions, promotions, board.spec.selection.fdr)
    looks = tuple(stages(board.spec.selection.confirm_seeds))
    before = len(proofs(board, board.champion, worker_class)) - len(_runs(board, board.champion, race, worker_class))
    its = each(looks, whole, len(_began(board, race)), min(before, _KNOWN), HOPELESS, UNLIKELY)
    return nominal(looks, asked, its)


def _began(board: Board, race: int) -> set[str]:
    """Return who has been run as a challenger in a race."""
    asked = (board.runs[name].requested for name in board.proofs)
    return {its.proposal for its in asked if its.lane == "confirm" and race_of(its) == race}


def _standing(board: Board, trees: Sequence[str], worker_class: str) -> dict[str, list[float]]:
    """Return the scores by which the members of a race are ranked among themselves.

    Beside the fresh ones that is the claim of each, as one score more: every one of them was chosen by its claim, so
    that it tells them apart as well as any other. Where one was made in another worker class, none counts.
    """
    claims = {tree: claim(board, tree) for tree in trees}
    comparable = all(its is not None and worker_class in ("", its[1]) for its in claims.values())
    values = {tree: _values(board, tree, worker_class) for tree in trees}
    if not comparable:
        return values
    return {tree: [its[0], *values[tree]] for tree, its in claims.items() if its is not None}


def _mean(board: Board, values: Sequence[float]) -> float:
    """Return the mean, greater is better; of no values the worst."""
    if not values:
        return -math.inf
    return board.spec.objective.gain(sum(values) / len(values))


def _values(board: Board, tree: str, worker_class: str) -> list[float]:
    return list(fresh(board, tree, worker_class).values())


def _best(board: Board, values: dict[str, float]) -> str:
    """Return whose value is best, the first in the log of equals; "" of none."""
    best = ""
    for tree, value in values.items():
        if not best or board.spec.objective.better(value, values[best]):
            best = tree
    return best


def _finder(board: Board, tree: str) -> str:
    """Return the boot of the worker that found the claim: another one is to confirm it."""
    runs = [run for run in board.current_runs(tree) if run.requested.lane not in PROOF]
    return next((run.finished.worker for run in reversed(runs) if run.finished), "")

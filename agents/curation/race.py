"""Races: how a claim becomes a promotion, on fresh seeds and with error control over all races. Pure.

First the baseline runs on several seeds. It becomes the first champion, and its scores give the first estimate of the
noise. Then the best claims race against the champion on fresh seeds: two each, then the better half on four, and so on
(successive halving). After each stage the best challenger is tested against the champion, at a level from
`error_control`, `multiplicity` and `group_sequential`. Everything follows from the log.
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
"""Seeds of a race from this offset on are for control runs between races. Challengers never run on them."""

SIZE = 8
"""Number of claims in a race."""

WAITING = 16
"""Number of claims that may wait for a race; the weakest beyond it are retired."""

_SHARE = 0.4
"""Share of all finished runs that confirmation may take, plus one whole race. Beyond it, the next race waits."""

HOPELESS = 0.2
"""A challenger drops out if its probability to be better than the champion is below this."""

UNLIKELY = 0.7
"""The same from half of the seeds on."""

BEHIND = 0.15
"""A challenger drops out if its probability to be better than the best challenger is below this."""

_KNOWN = 50
"""More earlier scores of a champion than this hardly change the error rate of a race."""

EXCUSED = ("lost", "killed")
"""Failure reasons that are not the fault of the proposal."""

_TRIES = 3
"""Limit of control runs in a new class, as a multiple of those needed, if some are lost or killed."""


def prove(board: Board) -> list[AnyEvent]:
    """Return the verdicts on claims and races, and requests for the next confirmation and control runs."""
    if not board.champion:
        return _first_champion(board)
    if is_champion_awaited(board):
        return []
    worker_class = home_class(board)
    if is_gone(board, worker_class):  # the arena names this class and waits for its workers
        return []
    given_up, waiting, new_classes = _claims(board)
    given_up += [event for name in new_classes for event in _meet(board, name)]
    if not fresh(board, board.champion, worker_class):
        given_up += [] if worker_class in new_classes else _meet(board, worker_class)
        is_tried = any(is_awaited(board, run) for run in board.current_runs(board.champion))
        return given_up if given_up or is_tried else _first_champion(board)  # a failed champion blocks nothing
    race = current_race(board)
    members = _members(board, race)
    moves = _stage(board, race, members, worker_class) if members else []
    if moves or any(_is_out(board, tree, race) for tree in (*members, board.champion)):
        return [*given_up, *moves]
    return [*given_up, *_start(board, race + 1, waiting, worker_class)]


def is_on(board: Board) -> bool:
    """Tell whether a race is running."""
    race = current_race(board)
    return any(tree in board.undecided for tree in _members(board, race)) or _is_out(board, board.champion, race)


def stages(seeds: int) -> list[int]:
    """Return the number of seeds per challenger after each stage: 2, 4, 8, … up to `seeds`."""
    found = [2]
    while found[-1] < seeds:
        found.append(min(seeds, 2 * found[-1]))
    return found


def current_race(board: Board) -> int:
    """Return the number of the latest race, 0 before the first.

    Every race requests a run, so a greater number than there are such runs is not one of ours: a stranger's request
    must not make the next race one whose seeds nobody can hold.
    """
    races = (race_of(board.runs[run].requested) for run in board.proofs)
    return max((race for race in races if race <= len(board.proofs)), default=0)


def verdict_of(board: Board, tree: str, found: Noise) -> Estimate:
    """Return the published value of a proposal: mean and interval of its fresh scores in the confirming class."""
    return estimate(list(fresh(board, tree, home_class(board)).values()), found)


def _first_champion(board: Board) -> list[AnyEvent]:
    """Find a first champion on several seeds: the baseline if it runs, else the best claim."""
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
        return [retired(board, first, "failed", f"failed on all {count} fresh seeds")]
    value = estimate(list(scores.values()), noise(board, worker_class))
    text = f"first champion, measured on {len(scores)} seeds"
    return [promoted(board, first, value, tuple(scores), None, text)]


def _claims(board: Board) -> tuple[list[AnyEvent], list[str], list[str]]:
    """Return the verdicts on weak claims, the claims that wait for a race (best first), and new worker classes.

    A claim is weak if it does not reach the champion, or if too many better ones wait. A worker class is new if it has
    workers and claims, but no score of the champion yet. If the workers of a claim left before the champion got a score
    there, the claim is measured again on other workers. The same happens if the champion fails on those workers.
    """
    new_classes: dict[str, None] = {}
    there = slots(board)
    given_up: list[AnyEvent] = []
    waiting: dict[str, float] = {}
    race = current_race(board)
    for tree in [*board.undecided, *reevaluated(board)]:
        found = claim(board, tree)
        runs = board.current_runs(tree)
        raced = {race_of(run.requested) for run in runs if run.requested.lane == "confirm"}
        if found is None or race in raced - {0} or any(is_awaited(board, run) for run in runs):
            continue
        if raced and tree not in board.undecided:
            continue
        value, worker_class = found
        champion = _values(board, board.champion, worker_class)
        if not champion:
            if worker_class in there and (worker_class == home_class(board) or _may_meet(board, worker_class)):
                new_classes[worker_class] = None
            elif there and tree in board.undecided:
                given_up += _remeasure(board, tree, worker_class)
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
            text = f"its score is worse than those of {WAITING} others that wait for a race"
            given_up.append(retired(board, tree, "not_better", text, (claim(board, tree) or (0.0, ""))[0]))
    return given_up, ranked[:WAITING], list(new_classes)


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
    return out or bool(_meet(board, worker_class))


def _meet(board: Board, worker_class: str) -> list[AnyEvent]:
    """Request the champion's first scores in a worker class; if runs are lost or killed, on further seeds."""
    wanted = board.spec.selection.baseline_seeds - 1
    seeds = range(2, 2 + _TRIES * wanted)
    runs = [
        run
        for run in board.current_runs(board.champion)
        if run.requested.worker_class == worker_class and run.requested.seed in seeds
    ]
    first = max((run.requested.seed for run in runs), default=1) + 1
    missing = wanted - sum(not _is_excused(run) for run in runs)
    return [
        request(board, board.champion, "control", seed, worker_class=worker_class, apart=True)
        for seed in range(first, min(first + missing, seeds.stop))
    ]


def _is_excused(run: Run) -> bool:
    """Tell whether a run failed for a reason that is not the fault of its proposal."""
    outcome = run.finished.outcome if run.finished else None
    return isinstance(outcome, Failed) and outcome.reason in EXCUSED


def _start(board: Board, race: int, waiting: Sequence[str], worker_class: str) -> list[AnyEvent]:
    """Begin a race of the best claims, if confirmation has not taken too large a share of the runs."""
    if not waiting or len(board.proofs) > _SHARE * board.finished + _whole(board.spec.selection.confirm_seeds):
        return []
    return _ask(board, race, waiting[:SIZE], range(1, stages(board.spec.selection.confirm_seeds)[0] + 1), worker_class)


def _whole(seeds: int) -> int:
    """Return the largest number of runs that a race can take."""
    before, runs, size = 0, 0, SIZE
    for count in stages(seeds):
        runs += (count - before) * (size + 1)
        before, size = count, math.ceil(size / 2)
    return runs


def _ask(board: Board, race: int, trees: Sequence[str], seeds: range, worker_class: str) -> list[AnyEvent]:
    """Request runs of challengers and champion on seeds of a race."""
    wanted: list[AnyEvent] = []
    finders = {tree: _finder(board, tree) for tree in trees}
    for seed in (SEEDS * race + seed for seed in seeds):
        for tree in trees:
            wanted += requests(board, tree, "confirm", [seed], worker_class, avoid=finders[tree], race=race)
        wanted += requests(board, board.champion, "control", [seed], worker_class, race=race)
    return wanted


def _members(board: Board, race: int) -> list[str]:
    """Return the challengers of a race: undecided, or re-scored under a new evaluator and still in the race."""
    counts: dict[str, int] = {}
    for name in reversed(board.proofs):
        request = board.runs[name].requested
        if (
            race
            and race_of(request) == race
            and request.lane == "confirm"
            and request.proposal != board.champion
            and board.proposals.get(request.proposal)
        ):
            counts[request.proposal] = counts.get(request.proposal, 0) + 1
    most = max(counts.values(), default=0)
    again = reevaluated(board)
    return [
        tree for tree, count in reversed(counts.items()) if tree in board.undecided or (count == most and tree in again)
    ]


def _is_out(board: Board, tree: str, race: int) -> bool:
    """Tell whether a run of this race is unfinished and some worker can still finish it."""
    proposal = board.proposals.get(tree)
    out = [board.runs[name] for name in proposal.runs if name in board.unfinished] if proposal else []
    runs = [run for run in out if is_awaited(board, run)]
    return any(race_of(run.requested) == race and run.requested.lane in PROOF for run in runs)


def _stage(board: Board, race: int, members: Sequence[str], worker_class: str) -> list[AnyEvent]:
    """Return the decisions after a stage, once all runs of the stage have finished.

    A champion that this race has promoted takes one of the places in the next stage. It runs one stage ahead of the
    challengers, so that its own luck is known before others are measured against it.
    """
    if any(_is_out(board, tree, race) for tree in (*members, board.champion)):
        return []
    verdicts: list[AnyEvent] = []
    found, champion = noise(board, worker_class), _values(board, board.champion, worker_class)
    chance: dict[str, float] = {}
    seeds = board.spec.selection.confirm_seeds
    runs_of = {tree: _runs(board, tree, race, worker_class) for tree in members}
    done = max(map(len, runs_of.values()))
    if not done:  # its workers have left: the race is redone on the remaining ones
        return _ask(board, race, members, range(1, stages(seeds)[0] + 1), worker_class)
    last = done >= seeds
    upto = seeds if last else next(count for count in stages(seeds) if count > done)
    promoted_here = board.champion in _entrants(board, race)
    if promoted_here and not last and (ahead := _ask(board, race, (), range(done + 1, upto + 1), worker_class)):
        return ahead
    for tree, runs in runs_of.items():
        broken = [run.finished.outcome for run in runs if run.finished and isinstance(run.finished.outcome, Failed)]
        if fault := next((failure.reason for failure in broken if failure.reason not in EXCUSED), None):
            if tree in board.undecided:
                verdicts.append(retired(board, tree, "failed", f"failed on a fresh seed: {fault}"))
        else:
            chance[tree] = p_better(board, _values(board, tree, worker_class), champion, found)
    standing = _standing(board, list(chance), worker_class)
    ranked = sorted(chance, key=lambda tree: -_mean(board, standing[tree]))
    winner, bar = next(iter(ranked), ""), _bar(board, race, done, worker_class)
    if winner and found.dof and 1 - chance[winner] <= bar:
        text = f"better than the champion in race {race}: p-value {1 - chance[winner]:.2g}, LOND allows {bar:.2g}"
        value, proof = verdict_of(board, winner, found), tuple(fresh(board, winner, worker_class))
        return [promoted(board, winner, value, proof, chance[winner], text), *verdicts]
    least = HOPELESS if 2 * done < seeds else UNLIKELY
    able = [
        tree
        for tree in ranked
        if chance[tree] >= least
        and (tree == winner or p_better(board, standing[tree], standing[winner], found) >= BEHIND)
    ]
    kept = [] if last else able[: max(1, math.ceil((len(ranked) + promoted_here) / 2) - promoted_here)]
    for tree in ranked:
        values = _values(board, tree, worker_class)
        if tree not in kept and tree in board.undecided:
            text = (
                f"not significantly better than the champion on {len(values)} fresh seeds "
                f"(standard deviation between seeds: {found.sd:.3g})"
            )
            mean = sum(values) / len(values) if values else None
            proof = tuple(fresh(board, tree, worker_class))
            verdicts.append(retired(board, tree, "not_better", text, mean, p=chance[tree], seeds=proof))
    if kept:
        verdicts += _ask(board, race, kept, range(done + 1, upto + 1), worker_class)
    return verdicts


def _runs(board: Board, tree: str, race: int, worker_class: str) -> list[Run]:
    """Return the finished runs of a proposal on the seeds of a race, without control runs between races."""
    found = proofs(board, tree, worker_class)
    return [run for run in found if race_of(run.requested) == race and run.requested.seed < SEEDS * race + CONTROLS]


def _bar(board: Board, race: int, seeds: int, worker_class: str) -> float:
    """Return the nominal level at which a challenger is tested after this many seeds."""
    promotions = max(0, len(board.champions) - 1)
    whole = level(race + promotions, promotions, board.spec.selection.fdr)
    looks = tuple(stages(board.spec.selection.confirm_seeds))
    before = len(proofs(board, board.champion, worker_class)) - len(_runs(board, board.champion, race, worker_class))
    own = each(looks, whole, len(_entrants(board, race)), min(before, _KNOWN), HOPELESS, UNLIKELY)
    return nominal(looks, seeds, own)


def _entrants(board: Board, race: int) -> set[str]:
    """Return all proposals that have run as challengers in a race."""
    requested = (board.runs[name].requested for name in board.proofs)
    return {run.proposal for run in requested if run.lane == "confirm" and race_of(run) == race}


def _standing(board: Board, trees: Sequence[str], worker_class: str) -> dict[str, list[float]]:
    """Return the scores by which the challengers of a race are ranked among each other.

    These are the fresh scores and the claim. All challengers were chosen by their claims, so claims compare them as
    fairly as fresh scores do. If one claim comes from another worker class, no claim counts.
    """
    claims = {tree: claim(board, tree) for tree in trees}
    comparable = all(found is not None and worker_class in ("", found[1]) for found in claims.values())
    values = {tree: _values(board, tree, worker_class) for tree in trees}
    if not comparable:
        return values
    return {tree: [found[0], *values[tree]] for tree, found in claims.items() if found is not None}


def _mean(board: Board, values: Sequence[float]) -> float:
    """Return the mean, turned so that greater is better; minus infinity without values."""
    if not values:
        return -math.inf
    return board.spec.objective.gain(sum(values) / len(values))


def _values(board: Board, tree: str, worker_class: str) -> list[float]:
    return list(fresh(board, tree, worker_class).values())


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

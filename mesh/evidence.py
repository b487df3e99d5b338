"""Evidence from scores: the noise of an arena, means with intervals, and whether one proposal beats another. Pure.

Only fresh scores prove anything: those of the lanes `confirm` and `control`, on seeds that played no part in choosing
the proposal. All scores of the baseline are fresh, because no score chose it. The score that made a proposal
interesting is a claim. Scores are compared inside one worker class.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from mesh.board import Board, Proposal, Run
from mesh.equal_scores import ROUNDING, EqualScores, is_fresh
from mesh.events import PROOF, ProposalRetired
from mesh.fresh_scores import FreshScores, Pool, pooled_spread, squares
from mesh.item_evidence import ItemNoise, repeats
from mesh.items import Spread, together
from mesh.last_boards import LastBoards
from mesh.paired import Scores, SeedEffect, difference, moderated, side_by_side
from mesh.remembered import Remembered
from mesh.run_sums import has_many, run_sums
from mesh.standing import Rule

INTERVAL = 0.95
"""Coverage of the intervals."""

_ENOUGH = 10
"""With this many degrees of freedom, the noise since the last promotion is known well enough."""

CLOSE = 0.8
"""A retired proposal that is better than the champion with at least this probability is a close call."""


class Noise(msgspec.Struct, frozen=True):
    """Standard deviation between seeds, in units of the metric, and the degrees of freedom of this estimate.

    `seeds` is what the seeds share, None where they are not known to share anything.
    """

    sd: float
    dof: int
    seeds: SeedEffect | None = None


class Estimate(msgspec.Struct, frozen=True):
    """A mean with its 95 % interval, in units of the metric, and the number of scores."""

    mean: float
    low: float
    high: float
    count: int


def fresh(board: Board, tree: str, worker_class: str = "") -> Mapping[int, float]:
    """Return the fresh scores of a proposal by seed, in the order of the requests.

    Args:
        board: The board of the arena.
        tree: The proposal, by its tree hash.
        worker_class: Count only this worker class; "" counts all.
    """
    if not has_many(board, tree):
        return _fresh(board, tree, worker_class)
    found = run_sums(board, tree).fresh.get(worker_class)
    return found.scores if found else {}


def _fresh(board: Board, tree: str, worker_class: str) -> dict[int, float]:
    return {run.requested.seed: run.value for run in _proofs(board, tree, worker_class) if run.value is not None}


def proofs(board: Board, tree: str, worker_class: str = "") -> list[Run]:
    """Return the finished runs of a proposal that count as evidence; their scores, if any, are fresh."""
    if not has_many(board, tree):
        return _proofs(board, tree, worker_class)
    found = run_sums(board, tree).proofs.get(worker_class)
    return [*found.items] if found else []


def _proofs(board: Board, tree: str, worker_class: str) -> list[Run]:
    unchosen = tree == ranking_rule(board).base_tree
    return [
        run
        for run in board.current_runs(tree)
        if (unchosen or run.requested.lane in PROOF)
        and run.finished
        and worker_class in ("", run.finished.worker_class)
    ]


def claim(board: Board, tree: str) -> tuple[float, str] | None:
    """Return the mean score by which search found a proposal, and its worker class; None without such a score.

    If several worker classes have scores, the class of the latest request counts.
    """
    runs = run_sums(board, tree).claims.items if has_many(board, tree) else board.current_runs(tree)
    return _mean([run for run in runs if run.requested.lane not in PROOF], "")


def mean_of(board: Board, tree: str, worker_class: str = "") -> tuple[float, str] | None:
    """Return the mean of all scores of a proposal in a worker class; without a name, in that of the latest request."""
    if not has_many(board, tree):
        return _mean(board.current_runs(tree), worker_class)
    sums = run_sums(board, tree)
    worker_class = worker_class or (sums.classes.items[-1] if sums.classes.items else "")
    found = sums.scores.get(worker_class) if worker_class else None
    return (sum(found.items) / len(found.items), worker_class) if found else None


def _mean(runs: Iterable[Run], worker_class: str) -> tuple[float, str] | None:
    scored = [(run.value, run.finished.worker_class) for run in runs if run.value is not None and run.finished]
    worker_class = worker_class or (scored[-1][1] if scored else "")
    values = [value for value, measured_on in scored if measured_on == worker_class]
    return (sum(values) / len(values), worker_class) if values else None


def noise(board: Board, worker_class: str = "", *, without: str = "") -> Noise:
    """Return the noise between seeds, pooled over the proposals that ran on several seeds.

    The pooling assumes that competing proposals have equal variances. Bad proposals are often noisier than good ones,
    so only scores since the last promotion count, if they give `_ENOUGH` degrees of freedom; else all scores count.
    A worker class without repeated runs uses those of all classes. Without any repeated run the noise is infinite, and
    nothing is proven. The view `noise_in_force` has the same rule in SQL. What seeds share is estimated in the class
    alone, and by the same rule.

    Args:
        board: The board of the arena.
        worker_class: The worker class whose scores are pooled.
        without: A proposal to leave out; "" for none.
    """
    scores = _scores.of(board)
    return _noises.of(
        board, evidence_state(board), (worker_class, without), lambda: _noise_of(board, worker_class, without, scores)
    )


def _noise_of(board: Board, worker_class: str, without: str, scores: FreshScores) -> Noise:
    kept = scores.of(board, ranking_rule(board))
    return noise_of_pools(kept.whole, kept.recent, worker_class, without)


_scores = LastBoards(FreshScores)


def noise_of_pools(whole: Pool, recent: Pool, worker_class: str, without: str = "") -> Noise:
    """Return the noise of a worker class by all fresh scores and those since the last promotion, as `noise` does."""
    sd, dof = recent.spread(worker_class, without)
    seeds = recent.seeds(worker_class, without)
    if dof >= _ENOUGH and seeds and seeds.dof >= _ENOUGH:
        return Noise(sd, dof, seeds)
    seeds = whole.seeds(worker_class, without)
    return Noise(*((sd, dof) if dof >= _ENOUGH else whole.spread(worker_class, without)), seeds)


def side_by_side_levels(board: Board, worker_class: str) -> list[dict[str, float]]:
    """Return the levels of proposals without the effect of the seeds, by groups that common seeds connect.

    Empty where no effect of the seeds is shown: then a mean over all fresh scores says more.

    Args:
        board: The board of the arena.
        worker_class: The worker class whose scores count.
    """
    return _levels.of(board, evidence_state(board), worker_class, lambda: _levels_of(board, worker_class))


def _levels_of(board: Board, worker_class: str) -> list[dict[str, float]]:
    if not noise(board, worker_class).seeds:
        return []
    columns: dict[str, dict[int, float]] = defaultdict(dict)
    for run in _fresh_runs(board):
        if run.finished and run.finished.worker_class == worker_class and run.value is not None:
            columns[run.requested.proposal][run.requested.seed] = run.value
    return side_by_side(columns)


def shows_no_noise(board: Board, worker_class: str, found: Noise) -> bool:
    """Tell whether the scores of a worker class show that the metric is exact, so that one fresh run proves.

    At least three fresh scores of one proposal are equal, no two fresh scores of one proposal differ, and no fresh
    score differs from the claim. Where a metric is a mean over items, all items of one proposal are equal on two seeds
    or more; then the items have noise, but more seeds do not show more of it.

    Args:
        board: The board of the arena.
        worker_class: The worker class.
        found: Its noise.
    """
    if board.spec.objective.noise != "items":
        return (
            not found.sd
            and found.dof >= 2
            and _equal.of(board).of(board, ranking_rule(board), worker_class, claim).are_equal
        )
    return not found.sd and _equal.of(board).of(board, ranking_rule(board), worker_class, claim).repeats


_equal = LastBoards(EqualScores)


def _shows_no_noise(board: Board, worker_class: str, found: Noise) -> bool:
    if board.spec.objective.noise == "items":
        runs = [run for run in _fresh_runs(board) if run.finished and run.finished.worker_class == worker_class]
        return not found.sd and repeats(runs)
    if found.sd or found.dof < 2:
        return False
    seen: dict[str, float] = {}
    for run in _fresh_runs(board):
        if run.finished and run.finished.worker_class == worker_class and run.value is not None:
            tree = run.requested.proposal
            if tree not in seen:
                own = claim(board, tree)
                seen[tree] = own[0] if own and own[1] == worker_class else run.value
            if not math.isclose(seen[tree], run.value, rel_tol=ROUNDING):
                return False
    return True


_noises: Remembered[Noise] = Remembered()
_levels: Remembered[list[dict[str, float]]] = Remembered()


def evidence_state(board: Board) -> tuple[int | str, ...]:
    """Return all that fresh scores, their noise and their exactness depend on and that may change on a board."""
    opened = board.opened
    version, evaluator = (opened.version, opened.evaluator) if opened else (0, "")
    changes = board.evidence_changes, board.promoted_seq, board.scored_seq, len(board.ruled_out_late)
    return (board.champion, version, evaluator, *changes)


def is_close(proposal: Proposal) -> bool:
    """Tell whether a proposal was retired as not better, but is better with a probability of at least `CLOSE`."""
    last = proposal.rulings[-1] if proposal.rulings else None
    if proposal.verdict != "retired" or not isinstance(last, ProposalRetired) or last.why != "not_better":
        return False
    return (last.p_better or 0.0) >= CLOSE


def ranking_rule(board: Board) -> Rule:
    """Return which scores count in the ranking, and how. In an arena that was never opened, none does."""
    if (opened := board.opened) is None:
        return Rule("", "", -1, exact=False)
    goal = opened.spec.objective
    base = "" if goal.noise == "items" else opened.base_tree  # its score on the items of search is no proof
    return Rule(opened.evaluator, base, 1 if goal.better(1, 0) else -1, exact=goal.noise == "none")


def _fresh_runs(board: Board) -> Iterator[Run]:
    """Yield the runs that count as fresh evidence under the present evaluator."""
    rule = ranking_rule(board)
    names: Iterable[str] = board.proofs
    if rule.exact:
        names = board.runs
    elif base := board.proposals.get(rule.base_tree):
        claims = (name for name in base.runs if board.runs[name].requested.lane not in PROOF)
        names = sorted([*names, *claims], key=lambda name: board.runs[name].seq)
    for name in names:
        if is_fresh(board, rule, run := board.runs[name]):
            yield run


def pooled(groups: Iterable[Sequence[float]]) -> Noise:
    """Return the pooled standard deviation of groups of scores, each around its own mean."""
    return Noise(*pooled_spread([squares(values) for values in groups]))


def student_t(dof: int) -> float:
    """Return the quantile of Student's t for a two-sided 95 % interval with `dof` degrees of freedom."""
    from scipy.special import stdtrit  # takes half a second to import

    return float(stdtrit(dof, (1 + INTERVAL) / 2))


def estimate(values: Sequence[float], found: Noise, margin: float = 0.0) -> Estimate:
    """Return the mean of fresh scores with its interval by Student's t; infinite bounds if the noise is unknown.

    Args:
        values: Fresh scores of a proposal.
        found: The noise between seeds.
        margin: Half of the interval of the mean over its items (`mesh.item_evidence.margin_of`).
    """
    mean = sum(values) / len(values)
    if not found.dof:
        return Estimate(mean, -math.inf, math.inf, len(values))
    half = math.hypot(student_t(found.dof) * found.sd / math.sqrt(len(values)), margin)
    return Estimate(mean, mean - half, mean + half, len(values))


def p_better(board: Board, challenger: Scores, champion: Scores, found: Noise, items: ItemNoise | None = None) -> float:
    """Return 1 minus the one-sided p-value of Student's t-test that the challenger is better.

    Where seeds share a difficulty, scores on common seeds are compared in pairs (`mesh.paired`); else this is the
    two-sample test with the pooled variance. If the challenger's own scores spread more than the pooled ones, their
    variance is averaged with it, so that an outlier proves nothing (`mesh.paired.moderated`). Without scores or without
    a known noise the result is 0.5. Challengers of one champion share its scores, so their tests are positively
    dependent (Dunnett, "A multiple comparison procedure for comparing several treatments with a control", 1955).

    Where the metric is a mean over items, the variance over the items is added to that between seeds. If each seed has
    items of its own, the spread between seeds has it already, and the greater one counts. Without a comparison of the
    items the result is 0.5.

    Args:
        board: The board of the arena, which says which direction is better.
        challenger: Fresh scores of the challenger by seed.
        champion: Fresh scores of the champion by seed.
        found: The pooled noise of the arena.
        items: How exact the difference is by its items; None if it is not known.
    """
    from scipy.special import stdtr

    has_items = board.spec.objective.noise == "items"
    if has_items and items is None:
        return 0.5
    if not challenger or not champion or not found.dof:
        return 0.5
    sd, dof, correlation = found.sd, found.dof, 0.0
    if found.seeds and challenger.keys() & champion.keys():
        correlation, dof = found.seeds.correlation, found.seeds.dof
        sd = found.seeds.sd / math.sqrt(1 - correlation)
    sd = moderated(sd, challenger, champion, correlation)
    over, error = difference(challenger, champion, correlation)
    gain = board.spec.objective.gain(over)
    whole = Spread(error * sd, dof)
    if has_items and items:
        parts = (items.spread, whole)
        whole = together(parts) if items.fixed else max(parts, key=lambda part: part.error)
    if whole.error == 0:
        least = ROUNDING * max(map(abs, (*challenger.values(), *champion.values())))
        return 1.0 if gain > least else 0.0 if gain < -least else 0.5
    return float(stdtr(whole.dof, gain / whole.error))

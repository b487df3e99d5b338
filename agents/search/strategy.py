"""The order of a search: which sampler is asked when, and which of its ideas are worth a trial.

First come points of a Sobol sequence, which cover the space, beside steps near the baseline; Sobol ends early where
its points crash. Then the samplers share the proposals (`samplers.portfolio`). While many trials run and few have
ended, samplers without a model have Sobol points in their place. Ideas that break a rule which the log suggests are
mended, and ideas that would probably crash are mostly drawn again (`feasibility`).

Where literals that no author gave a range are knobs, points that turn all of them crash. There a walk comes first
(`samplers.walk`), and shares the proposals afterwards. The other samplers turn the few knobs that the walk found to
matter; the other knobs stay as they are in the best code. The numbers of large tables are moved several at a time
(`samplers.table_moves`), and not by the walk.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from random import Random

import msgspec

from agents.search.feasibility import SCREENED_BY, Feasibility
from agents.search.samplers import portfolio, walk
from agents.search.samplers.protocol import Idea, Sampler, Trial, Where, where
from agents.search.samplers.table_moves import without_tables
from agents.search.samplers.trial_log import with_values
from agents.search.structure.ties import unproductive
from mesh.knobs import Knob

TRIES = 30
"""Draws before an explorer stops looking for new files; the second half uses mutation and random draws."""

WALKED = 3
"""Draws of one proposal in which the walk comes first: an explorer may know its next moves under other code."""

REDRAWN = 6
"""Ideas of one draw at most; the first one that is accepted by its chance of a score is taken, else the safest."""

SETTLED_AFTER, SETTLED_SHARE = 30, 0.02
"""Code is rewritten once its literals have all been tried and the latest results, so many, added at most this share."""

IDLE_AFTER, RESTED = 25, 0.1
"""Beside samplers that rewrite code, one whose latest results, so many, gained nothing is asked so much less often."""

NEW, LEAST_SHARE = 12, 0.03
"""Results up to which a sampler is new, and the smallest share of one, where shares go by what was gained."""

EXPLORED = 0.05
"""Share of the ideas that are neither mended nor screened, so that a wrong rule is found out."""


Choose = Callable[[Sequence[str], Sequence[Trial], Random], tuple[str, float]]


class Choice(msgspec.Struct, frozen=True):
    """An idea, the sampler that had it, and the sampler's share of the proposals; None if shares played no part."""

    kind: str
    share: float | None
    idea: Idea


class Strategy:
    """Chooses samplers and screens their ideas; its state is a cache.

    `choose` returns the name and the share of the next sampler after the first points.
    """

    def __init__(
        self,
        samplers: Mapping[str, Sampler],
        kinds: Sequence[str],
        forced: str = "",
        choose: Choose = portfolio.choose_kind,
    ) -> None:
        self._samplers, self._kinds, self._forced, self._choose = samplers, kinds, forced, choose
        self._key: object = None
        self._feasible: Feasibility | None = None

    def ask(
        self,
        space: Sequence[Knob],
        trials: Sequence[Trial],
        pending: Sequence[Trial],
        rng: Random,
        attempt: int = 0,
        *,
        structural: Sequence[str] = (),
    ) -> Choice:
        """Return an idea; `attempt` counts the draws of one proposal, from 0.

        Args:
            space: The knobs.
            trials: The finished trials, in the order of the log; samplers learn from those with values.
            pending: The unfinished trials, in the order of the log.
            rng: The only source of randomness.
            attempt: How many draws of this proposal were of no use.
            structural: The samplers that rewrite code and share the proposals; the idea of such a choice is empty.
        """
        known = with_values(trials)  # samplers cannot learn from code without knobs
        if walk.has_literals(space) and not self._forced:
            return self._ask_of_few(space, list(known), pending, rng, attempt, structural)
        kind, share = self._kind(space, trials, pending, rng, attempt)
        return Choice(kind, share, self._screened(kind, space, known, pending, rng))

    def _ask_of_few(
        self,
        space: Sequence[Knob],
        known: Sequence[Trial],
        pending: Sequence[Trial],
        rng: Random,
        attempt: int,
        structural: Sequence[str],
    ) -> Choice:
        """Return a move of the walk, or an idea of another sampler for the few knobs that matter."""
        plain = without_tables(space)
        if not plain:  # tables alone: one number has hardly an effect, and a model of a few of them says nothing
            return self._ask_of_tables(space, known, pending, rng, attempt, structural)
        if attempt >= TRIES // 2 and structural:  # the literals have nothing new
            kinds = [*structural, "mutate", "random"]
            kind = kinds[attempt % len(kinds)]
            if kind in structural:
                return Choice(kind, None, Idea({}))
        is_begun = any(trial.by in structural for trial in (*known, *pending))
        if not is_begun and not (has_settled(known) and walk.is_made(plain, known, pending)):
            structural = ()  # the champion would have numbers in the place of the literals that still gain
        places = {where(knob) for knob in plain}
        known = [trial for trial in known if trial.by not in structural or places <= trial.values.keys()]
        known = since_rewritten(places, known, structural)
        if attempt < WALKED and walk.walks_first(plain, known, pending):
            return Choice("walk", None, self._samplers["walk"].ask(plain, known, pending, rng))
        few = walk.that_matter(plain, known)
        about = few.beside(known)
        kind, share = self._kind_of_few(few.knobs, about, known, rng, attempt, structural)
        if kind in structural:
            return Choice(kind, share, Idea({}))
        if kind == "walk":
            return Choice(kind, share, self._samplers[kind].ask(plain, known, pending, rng))
        idea = self._screened(kind, few.knobs, about, pending, rng)
        return Choice(kind, share, Idea(few.spread(idea.values), idea.parents or walk.best_tree(known)))

    def _ask_of_tables(
        self,
        space: Sequence[Knob],
        known: Sequence[Trial],
        pending: Sequence[Trial],
        rng: Random,
        attempt: int,
        structural: Sequence[str],
    ) -> Choice:
        kind, share = "mutate", 0.0
        if attempt < TRIES // 2:
            kind, share = self._earning([*structural, "mutate"], structural or ["mutate"], known, rng)
        if kind in structural:
            return Choice(kind, round(share, 4), Idea({}))
        whole = [trial for trial in known if all(where(knob) in trial.values for knob in space)]
        return Choice(kind, round(share, 4) or None, self._samplers[kind].ask(space, whole, pending, rng))

    def _kind_of_few(
        self,
        few: Sequence[Knob],
        about: Sequence[Trial],
        known: Sequence[Trial],
        rng: Random,
        attempt: int,
        structural: Sequence[str],
    ) -> tuple[str, float | None]:
        if attempt >= TRIES // 2:
            return ("mutate", "random")[attempt % 2], None
        kinds = [*self._kinds, "walk", *structural]
        kind, share = self._earning(kinds, structural, known, rng) if structural else self._choose(kinds, known, rng)
        has_model = kind in structural or portfolio.has_model(kind, len(few), about)
        return (kind if has_model else "walk"), round(share, 4)

    def _earning(
        self, kinds: Sequence[str], structural: Sequence[str], known: Sequence[Trial], rng: Random
    ) -> tuple[str, float]:
        """Return a sampler and its share where code is rewritten: by what it gained, and mostly one that still gains.

        There a tiny step from the best is nearly always among the best, and the turn of a knob without effect is as
        good as the best: ranks say little.
        """
        gained = strict_gains(known)
        idle = () if rng.random() < RESTED else unproductive(kinds, gained, IDLE_AFTER)
        offered = [kind for kind in kinds if kind not in idle] or structural
        share_of = shares_by_gain(offered, gained)
        kind = rng.choices(offered, [share_of[each] for each in offered])[0]
        return kind, share_of[kind]

    def _screened(
        self, kind: str, space: Sequence[Knob], known: Sequence[Trial], pending: Sequence[Trial], rng: Random
    ) -> Idea:
        """Return an idea of a sampler, mended, and drawn again where it would probably crash."""
        feasible = self._feasibility(space, known)
        best: tuple[float, Idea] | None = None
        is_own = kind not in portfolio.SAMPLERS  # a user's sampler may count its calls
        if is_own or kind == "walk" or not feasible.is_needed or rng.random() < EXPLORED:
            return self._samplers[kind].ask(space, known, pending, rng)
        for _ in range(REDRAWN):
            idea = self._samplers[kind].ask(space, known, pending, rng)
            idea = msgspec.structs.replace(idea, values=feasible.mended(idea.values))
            chance = feasible.chance(idea.values)
            if best is None or chance > best[0]:
                best = chance, idea
            if rng.random() < chance:
                best = chance, idea
                break
        assert best
        return best[1]

    def _feasibility(self, space: Sequence[Knob], known: Sequence[Trial]) -> Feasibility:
        key = space, [(trial.seq, trial.loss is None) for trial in known[-SCREENED_BY:]]
        if self._feasible is None or self._key != key:
            self._key, self._feasible = key, Feasibility(space, known)
        return self._feasible

    def _kind(
        self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random, attempt: int
    ) -> tuple[str, float | None]:
        if attempt >= TRIES // 2:
            return ("mutate", "random")[attempt % 2], None
        if self._forced:
            return self._forced, None
        if first := portfolio.first_kind(len(space), trials, pending):
            return first, None
        kind, share = self._choose(self._kinds, trials, rng)
        if not portfolio.has_model(kind, len(space), trials) and portfolio.covers(trials):
            return "sobol", None
        return kind, round(share, 4)


def since_rewritten(places: set[Where], known: list[Trial], structural: Sequence[str]) -> list[Trial]:
    """Return the trials of code with all of the places, if a rewriting gave it some that the first code lacks.

    The rewriting then counts as written by an author: a walk steps from there, because older code has no such number.

    Args:
        places: Where the knobs of the best code stand.
        known: The finished trials, in the order of the log.
        structural: The samplers that rewrite code.
    """
    first = next((trial for trial in known if not trial.by), None)
    whole = [trial for trial in known if places <= trial.values.keys()]
    if first is None or not whole or places <= first.values.keys() or whole[0].by not in structural:
        return known
    return [msgspec.structs.replace(whole[0], by=""), *whole[1:]]


def strict_gains(trials: Sequence[Trial]) -> list[tuple[Trial, float]]:
    """Return each trial with what it added to the best before it; 0 if it is only as good.

    Args:
        trials: The finished trials, in the order of the log.
    """
    found: list[tuple[Trial, float]] = []
    best = inf
    for trial in trials:
        loss = inf if trial.loss is None else trial.loss
        found.append((trial, best - loss if loss < best < inf else 0.0))
        best = min(best, loss)
    return found


def shares_by_gain(kinds: Sequence[str], gained: Sequence[tuple[Trial, float]]) -> dict[str, float]:
    """Return the share of each sampler: by what it gained per worker-second of late; a new one counts as the mean.

    Args:
        kinds: The names of the samplers.
        gained: The finished trials, in the order of the log, with what each gained.
    """
    made, earned, cost = (dict.fromkeys(kinds, 0.0) for _ in range(3))
    for place, (trial, gain) in enumerate(reversed(gained)):
        if trial.by in made:
            weight = 0.5 ** (place / portfolio.HALF_LIFE)
            made[trial.by] += 1
            earned[trial.by] += weight * gain
            cost[trial.by] += weight * max(trial.seconds, 1e-3)
    worth = {kind: earned[kind] / cost[kind] if cost[kind] else 0.0 for kind in kinds}
    mean = sum(worth.values()) / len(kinds)
    worth |= {kind: max(worth[kind], mean) for kind in kinds if made[kind] < NEW}
    total = sum(worth.values())
    rest = 1 - LEAST_SHARE * len(kinds)
    return {kind: LEAST_SHARE + rest * (worth[kind] / total if total else 1 / len(kinds)) for kind in kinds}


def has_settled(trials: Sequence[Trial]) -> bool:
    """Tell whether the search has found most of what it finds: the latest results added little to the whole gain.

    Failures count as results: where every other value of the literals fails, they have nothing more to give.

    Args:
        trials: The finished trials, in the order of the log.
    """
    losses = [inf if trial.loss is None or trial.violation else trial.loss for trial in trials]
    first, best = next((loss for loss in losses if loss < inf), inf), min(losses, default=inf)
    if len(losses) <= SETTLED_AFTER or best == inf:
        return False
    return min(losses[:-SETTLED_AFTER]) - best <= SETTLED_SHARE * (first - best)

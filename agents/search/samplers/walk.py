"""A walk over many knobs, most of which do not matter: single steps, stacked gains, then longer steps along a gain.

Where every literal of a program is a knob, turning all of them at once breaks the program. So the first moves turn one
knob, or the equal literals of one function together, by one natural step from the code that an author wrote. Moves that
gained are made together from the best trial; if that does not gain, fewer of them. A gain is walked along: its distance
from the start doubles while it gains (a factor of 2, 4, 16 …). Each move follows from the trials alone; pending moves
count as made. A joint move that others made loses the changes that no gain explains.

Single steps also say which knobs matter (elementary effects, Morris, 1991): the other samplers turn only those.
"""

import math
from collections.abc import Sequence
from itertools import chain, islice
from random import Random
from statistics import median

from msgspec.structs import replace

from agents.search.samplers.literal_moves import LiteralMoves, Together
from agents.search.samplers.mutate import Mutate
from agents.search.samplers.protocol import Idea, Trial, Values, Where, where
from mesh.knobs import Knob

FEW_KNOBS, FEW_KNOBS_CHEAP = 8, 16
"""How many knobs the other samplers turn; more where a trial is cheap."""

CHEAP_S = 0.3
"""A trial that takes less is cheap, in worker-seconds."""

_QUICK_S = 2.0
"""Trials that take less make both steps of every knob first; slower ones about one step for each."""

_SIZES = (0.5, 0.25, 0.1)
"""Sizes of steps from the best trial, once the larger moves are made."""

_SMALLEST = (0.03, 0.01, 0.003)
"""Smaller ones, where results have no noise: a geometry is often exact to a tenth of a percent."""

_AHEAD = 24
"""Most small steps that are drawn from."""

_NEXT = 0.6
"""Chance of the next move in order, then of the one after it, so that few explorers make the same at once."""


class FewKnobs:
    """The knobs that the other samplers turn; `ties` has for each one the literals that are turned with it."""

    def __init__(self, knobs: list[Knob], ties: dict[Where, Together], log: LiteralMoves) -> None:
        self.knobs, self._ties, self._log = knobs, ties, log

    def beside(self, trials: Sequence[Trial]) -> list[Trial]:
        """Return the trials that say something about these knobs.

        Crashes that other knobs may have caused do not, and neither do trials that turned equal literals apart.
        """
        together = [group for group in self._ties.values() if len(group) > 1]
        turned = {at for group in self._ties.values() for at in group}
        found = []
        for trial in trials:
            apart = self._log.differs(trial.values)
            is_whole = not any(
                apart & {*group} and len({trial.values.get(at) for at in group}) > 1 for group in together
            )
            loss = self._log.loss(trial)
            if is_whole and (loss is not None or apart <= turned):
                found.append(replace(trial, loss=loss))
        return found

    def spread(self, values: Values) -> Values:
        """Return the values of these knobs, with those of the literals that are turned with them."""
        return {at: value for lead, value in values.items() for at in self._ties.get(lead, (lead,))}


class LiteralWalk:
    """Makes the next moves of the walk, then ever smaller steps from the best trial."""

    def ask(self, space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial], rng: Random) -> Idea:
        log = LiteralMoves(space, trials, pending)
        joint, single = list(log.joint()), list(log.singles())
        if log.ranked:
            joint += log.hopeful()
        for moves in (joint, single) if rng.random() < 0.5 else (single, joint):
            if moves:
                return moves[_turn(len(moves), rng)]
        sizes = _SIZES + _SMALLEST if log.is_exact else _SIZES
        finer = list(islice(chain(log.finer(sizes), log.finer((1.0,))), _AHEAD))
        if finer:
            return finer[_turn(len(finer), rng)]
        turned = {log.lead(group) for group in log.ranked}
        few = [knob for knob in space if where(knob) in turned] or list(space)
        idea = Mutate().ask(few, trials, pending, rng)
        return Idea(log.head_values | idea.values, log.parents(log.head))


def has_literals(space: Sequence[Knob]) -> bool:
    """Tell whether knobs are literals that no author named or gave a range."""
    return any(knob.step for knob in space)


def walks_first(space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial]) -> bool:
    """Tell whether the first moves of the walk are not all made, so that no other sampler is asked yet.

    Args:
        space: The knobs.
        trials: The finished trials with values.
        pending: The unfinished trials.
    """
    log = LiteralMoves(space, trials, pending)
    made = sum(trial.by == "walk" for trial in (*trials, *pending))
    most = max(24, len(log.groups) * (4 if _trial_s(trials) < _QUICK_S else 1))
    return made < most and _has_moves(log)


def is_made(space: Sequence[Knob], trials: Sequence[Trial], pending: Sequence[Trial]) -> bool:
    """Tell whether every single step is made, and every joint one that they suggest.

    Args:
        space: The knobs.
        trials: The finished trials with values.
        pending: The unfinished trials.
    """
    return not _has_moves(LiteralMoves(space, trials, pending))


def that_matter(space: Sequence[Knob], trials: Sequence[Trial]) -> FewKnobs:
    """Return the few knobs with the largest effects so far; equal literals are one where they do most together.

    Args:
        space: The knobs.
        trials: The finished trials with values.
    """
    log = LiteralMoves(space, trials, ())
    is_cheap = _trial_s(trials) < CHEAP_S
    sizes = log.effects
    order = sorted(sizes, key=lambda group: (-sizes[group], -len(group)))
    if not is_cheap and sum(size > 0 for size in sizes.values()) > 1:  # dead ones may have an effect together
        order = [group for group in order if sizes[group] > 0]
    else:
        rest = [group for group, _ in sorted(log.groups, key=lambda each: each[1]) if group not in sizes]
        order += [group for group in rest if group not in log.crashing] or ([] if order else rest)
    ties: dict[Where, Together] = {}
    taken: set[Where] = set()
    for group in order:
        is_whole = len({log.head_values[at] for at in group}) == 1
        if is_whole and not taken & {*group} and len(ties) < (FEW_KNOBS_CHEAP if is_cheap else FEW_KNOBS):
            taken |= {*group}
            ties[log.lead(group)] = group
    return FewKnobs([knob for knob in space if where(knob) in ties], ties, log)


def best_tree(trials: Sequence[Trial]) -> tuple[str, ...]:
    """Return the tree of the best trial; nothing while none has a score."""
    scored = [(trial.loss, trial.seq, trial.tree) for trial in trials if trial.loss is not None]
    return (min(scored)[2],) if scored else ()


def _has_moves(log: LiteralMoves) -> bool:
    return any(True for _ in log.singles()) or any(True for _ in log.joint())


def _trial_s(trials: Sequence[Trial]) -> float:
    return median([trial.seconds for trial in trials if trial.loss is not None] or [math.inf])


def _turn(count: int, rng: Random) -> int:
    turn = 0
    while rng.random() > _NEXT:
        turn += 1
    return turn % count

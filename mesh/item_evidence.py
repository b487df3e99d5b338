"""Evidence from items: which runs are compared item by item, and how exact that makes the difference of two proposals.

The curator compares the items of two runs once, and the fact `items.compared` says what it found: folding the log needs
no object. With fixed items a second seed repeats the first one, unless training has noise of its own. Pure.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from mesh.items import Spread, together
from mesh.records import Run


class ItemNoise(msgspec.Struct, frozen=True):
    """How exact a difference of two proposals is by its items.

    Attributes:
        spread: standard error and degrees of freedom of the difference of two means over items.
        fixed: whether all seeds have the same items, so that more seeds make it no more exact.
    """

    spread: Spread
    fixed: bool


def repeats(runs: Iterable[Run]) -> bool:
    """Tell whether another seed changes no item: some proposal ran on several seeds, and no two runs of one differ."""
    seeds: dict[str, set[int]] = defaultdict(set)
    seen: dict[str, str] = {}
    for run in runs:
        if run.finished and run.finished.items:
            tree, name = run.requested.proposal, run.finished.items.sha256
            if seen.setdefault(tree, name) != name:
                return False
            seeds[tree].add(run.requested.seed)
    return any(len(found) > 1 for found in seeds.values())


def item_pairs(one: Sequence[Run], other: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Return the runs of two proposals to compare: those on one seed; if none is, the first one and its best partner.

    The best partner has the same items, by their names.
    """
    mine = [run for run in one if run.finished and run.finished.items]
    theirs = [run for run in other if run.finished and run.finished.items] if mine else []
    by_seed = {run.requested.seed: run for run in theirs}
    if common := [(run, by_seed[run.requested.seed]) for run in mine if run.requested.seed in by_seed]:
        return common
    if not mine or not theirs:
        return []
    same = [run for run in theirs if have_same_items(mine[0], run)]
    return [(mine[0], (same or theirs)[-1])]


def have_same_items(one: Run, other: Run) -> bool:
    """Tell whether two runs were scored on the same items, by their names."""
    mine, theirs = (run.finished.items if run.finished else None for run in (one, other))
    return bool(mine and theirs and mine.ids and mine.ids == theirs.ids)


def is_compared(one: Run, other: Run) -> bool:
    """Tell whether the items of two runs have been compared."""
    return bool(one.compared_with(other) or other.compared_with(one))


def item_noise(one: Sequence[Run], other: Sequence[Run]) -> ItemNoise | None:
    """Return how exact the difference of two proposals is by the items of their runs; None if it is not known.

    Of fixed items the mean of the variances on all seeds is taken: the differences of one item on two seeds may be
    equal. Fresh items of each seed are independent, and their mean is the more exact the more seeds there are.
    """
    pairs = item_pairs(one, other)
    found = [a.compared_with(b) or b.compared_with(a) for a, b in pairs]
    spreads = [Spread(each.error, each.dof) for each in found if each and each.error is not None and each.dof]
    if not pairs or len(spreads) < len(pairs):
        return None
    names = [run.finished.items.ids for run, _ in pairs if run.finished and run.finished.items]
    if len(pairs) > 1 and all(names) and len(set(names)) == len(names):
        whole = together(spreads)
        return ItemNoise(Spread(whole.error / len(pairs), whole.dof), fixed=False)
    error = math.sqrt(sum(each.error**2 for each in spreads) / len(spreads))
    return ItemNoise(Spread(error, min(each.dof for each in spreads)), fixed=True)


def margin_of(runs: Iterable[Run]) -> float:
    """Return half of the 95 % interval of a mean score over its items, 0 without items; the mean over the runs."""
    margins = [run.finished.items.margin for run in runs if run.finished and run.finished.items]
    return sum(margins) / len(margins) if margins else 0.0

"""Changes of a claim that may not matter: which of them are put back, one by one, then together. Pure."""

from collections.abc import Mapping, Sequence

from agents.search.samplers.protocol import Values, Where
from mesh.knobs import Knob

PUT_BACK = "put back"
"""The name of the sampler of proposals that put changes back."""

MOST_GROUPS = 12
"""Most proposals that put back one change, or several neighbours, of a claim."""


def changed_groups(old: Values, new: Values, knobs: Sequence[Knob]) -> list[Values]:
    """Return the values to put back, in at most `MOST_GROUPS` groups: equal literals together, else one each.

    Args:
        old: The literals of the champion, by file and name.
        new: The literals of the claim.
        knobs: The knobs of the claim's code, with the literals that are equal.
    """
    apart = [at for at in new if at in old and old[at] != new[at]]
    groups: list[list[Where]] = []
    taken: set[Where] = set()
    for knob in knobs:
        tied = [at for at in apart if at[0] == knob.file and at[1] in knob.tie and at not in taken]
        if len(tied) > 1 and len({old[at] for at in tied}) == len({new[at] for at in tied}) == 1:
            groups.append(tied)
            taken |= {*tied}
    known = {(knob.file, knob.name) for knob in knobs}
    groups += [[at] for at in apart if at not in taken and at in known]
    while len(groups) > MOST_GROUPS:
        groups = [[at for group in groups[n : n + 2] for at in group] for n in range(0, len(groups), 2)]
    return [{at: old[at] for at in group} for group in groups]


def next_put_backs(groups: Sequence[Values], made: Mapping[frozenset[Where], bool | None]) -> list[Values]:
    """Return what to put back next: each group, and once those have results, all that are not needed together.

    Args:
        groups: The values to put back, in groups.
        made: The places that a proposal puts back, and whether it is not worse; None while it has no result.
    """
    if len(groups) < 2:
        return []  # a claim with one change is that change
    first = [group for group in groups if frozenset(group) not in made]
    if first:
        return first
    results = {frozenset(group): made[frozenset(group)] for group in groups}
    needless = [group for group in groups if results[frozenset(group)]]
    together = {at: value for group in needless for at, value in group.items()}
    is_ready = None not in results.values() and 1 < len(needless) < len(groups)
    return [together] if is_ready and frozenset(together) not in made else []

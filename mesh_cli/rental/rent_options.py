"""Which machines to rent for an arena: measured time per run x price, the Pareto set, what was never measured. Pure.

An option is a worker class at one price. Only a class with `FEWEST` scored runs in this arena is ranked: nothing is
guessed from what a GPU can do elsewhere. All figures are of one machine whose slots are always busy.
"""

import datetime as dt
import math
from collections.abc import Iterable, Sequence

import msgspec

from mesh.board import Board
from mesh.errors import BadInput
from mesh.gpu_models import gpu_model, is_same_gpu
from mesh.gpu_prices import GpuPrice, newest, offers_of
from mesh.money import budget_words, limit_usd, spent_usd
from mesh_cli.rental.measured import ArenaMeasured, ClassMeasured, ProviderGroup

FEWEST = 5
"""Scored runs of a class from which it is ranked."""
BUDGET_USD = 20.0
"""Dollars to spend where nobody has said how many."""
ODD_STEPS = 0.1
"""By which share steps per trial of two classes differ before that is said."""


class RentOption(msgspec.Struct, frozen=True):
    """A machine of a measured class at one price.

    Attributes:
        worker_class: its class.
        provider: who lets it; "" is own hardware, or whoever the worker did not name.
        tier: the provider's name of it.
        gpu: its GPU in the price list; "" where a worker of the arena states the price.
        gpus: how many one has; 0 is unknown.
        spot: whether it may be taken back.
        usd_per_hour: the price of the machine.
        effective_usd_per_hour: the price x (1 + lost share); the price itself where that is unknown, or not of spot.
        lost_share: seconds lost per second of a run; None is unknown.
        trials_per_hour: scored runs, with all slots busy.
        usd_per_trial: dollars per scored run.
        usd_per_step: dollars per step of a trial; None without curves.
        trials: how many the budget pays for; None where they cost nothing.
        hours: in which one machine does them; `machines` do them in the hours that there are.
        machines: see `hours`.
        seen: when the price was seen; "" where a worker states it.
        is_pareto: whether no other option is as cheap per trial and as fast.
    """

    worker_class: str
    provider: str
    tier: str
    gpu: str
    gpus: float
    spot: bool
    usd_per_hour: float
    effective_usd_per_hour: float
    lost_share: float | None
    trials_per_hour: float
    usd_per_trial: float
    usd_per_step: float | None
    trials: int | None
    hours: float | None
    machines: int
    seen: str
    is_pareto: bool = False


class Unmeasured(msgspec.Struct, frozen=True):
    """A GPU, or a worker class, with fewer than `FEWEST` scored runs: the rest of them costs about this much."""

    name: str
    scored: int
    about_usd: float | None
    provider: str = ""
    tier: str = ""
    usd_per_gpu_hour: float | None = None


class Rental(msgspec.Struct, frozen=True):
    """The options, the cheapest trial first; what is not measured; and what has to be said."""

    options: list[RentOption]
    unmeasured: list[Unmeasured]
    remarks: list[str]


def rental(arena: ArenaMeasured, prices: Sequence[GpuPrice], *, budget_usd: float, hours: float, spot: bool) -> Rental:
    """Return which machines there are for an arena.

    Args:
        arena: what is measured.
        prices: the price table.
        budget_usd: what may be spent.
        hours: how long it may take.
        spot: whether machines may be spot machines; else none is.
    """
    ranked = [known for known in arena.classes if known.scored >= FEWEST and known.run_s]
    options = [option for known in ranked for option in _options(known, prices, budget_usd, hours, spot=spot)]
    options.sort(key=lambda option: (option.usd_per_trial, -option.trials_per_hour, option.worker_class))
    options = [msgspec.structs.replace(option, is_pareto=_is_pareto(option, options)) for option in options]
    remarks = [*_unpriced(ranked, options), *_lost_unknown(options), *_slots(ranked, options), *_steps(ranked, options)]
    return Rental(options, _unmeasured(arena, ranked, prices, spot=spot), remarks)


def budget_left(board: Board, now: dt.datetime) -> float:
    """Return how many dollars are left of what was granted to an arena; `BUDGET_USD` where it has no budget.

    Raises:
        BadInput: nothing is left.
    """
    limit = limit_usd(board)
    if limit is None:
        return BUDGET_USD
    left = limit - spent_usd(board, now)
    if left <= 0:
        spent = budget_words(board, now)
        raise BadInput(f"arena {board.arena} has spent {spent}: grant more by `mesh budget grant`, or say --budget")
    return left


def chosen(options: Sequence[RentOption], worker_class: str = "", provider: str = "") -> list[RentOption]:
    """Return the options of a class and a provider, "" for any.

    Raises:
        BadInput: there is none.
    """
    found = [
        option
        for option in options
        if worker_class in ("", option.worker_class) and provider.lower() in ("", option.provider)
    ]
    if not found and (worker_class or provider):
        there = sorted({f"{option.worker_class} at {option.provider or 'own price'}" for option in options})
        raise BadInput(
            f"no measured option is {' '.join(filter(None, [worker_class[:60], provider[:60]]))}; "
            f"there {'is' if len(there) == 1 else 'are'} {', '.join(there) or 'none'}"
        )
    return found


def _options(
    known: ClassMeasured, prices: Sequence[GpuPrice], budget_usd: float, hours: float, *, spot: bool
) -> Iterable[RentOption]:
    stated: dict[tuple[str, float], ProviderGroup] = {}
    for group in known.groups:
        if group.spot == spot and group.price_per_hour_usd is not None:
            stated.setdefault((group.provider, group.price_per_hour_usd), group)
    for group in stated.values():
        price = group.price_per_hour_usd or 0.0
        yield _option(known, budget_usd, hours, usd=price, slots=group.slots, provider=group.provider, spot=spot)
    if known.worker_class.startswith("cuda"):
        for offer in offers_of(prices, known.device, known.memory_mb / 1024 or None):
            if (usd := offer.usd(spot=spot)) is not None and offer.gpus:
                # one run at a time on each GPU: nothing says how many a worker of the class had
                slots = max(1, math.floor(offer.gpus))
                yield _option(known, budget_usd, hours, usd=usd * offer.gpus, slots=slots, offer=offer, spot=spot)


def _option(
    known: ClassMeasured,
    budget_usd: float,
    hours: float,
    *,
    usd: float,
    slots: int,
    spot: bool,
    provider: str = "",
    offer: GpuPrice | None = None,
) -> RentOption:
    lost = known.lost_share if spot else 0.0
    effective = usd * (1 + (lost or 0.0))
    assert known.run_s
    per_hour = slots * 3600 / known.run_s
    per_trial = effective / per_hour
    trials = math.floor(budget_usd / per_trial + 1e-9) if per_trial else None
    alone_h = None if trials is None else trials / per_hour
    return RentOption(
        worker_class=known.worker_class,
        provider=offer.provider if offer else provider,
        tier=offer.tier if offer else "",
        gpu=offer.gpu if offer else "",
        gpus=offer.gpus if offer else 0,
        spot=spot,
        usd_per_hour=usd,
        effective_usd_per_hour=effective,
        lost_share=lost,
        trials_per_hour=per_hour,
        usd_per_trial=per_trial,
        usd_per_step=per_trial / known.steps if known.steps else None,
        trials=trials,
        hours=alone_h,
        machines=1 if alone_h is None else max(1, math.ceil(alone_h / hours - 1e-9)),
        seen=offer.seen if offer else "",
    )


def _is_pareto(option: RentOption, options: Sequence[RentOption]) -> bool:
    """Tell whether no other option is as cheap and as fast, and better in one of the two."""
    return not any(
        other.usd_per_trial <= option.usd_per_trial
        and other.trials_per_hour >= option.trials_per_hour
        and (other.usd_per_trial < option.usd_per_trial or other.trials_per_hour > option.trials_per_hour)
        for other in options
    )


def _unmeasured(
    arena: ArenaMeasured, ranked: Sequence[ClassMeasured], prices: Sequence[GpuPrice], *, spot: bool
) -> list[Unmeasured]:
    """Return the classes with too few scored runs, then the GPUs of the table that have none, the cheapest first."""
    found = []
    for known in arena.classes:
        if known in ranked:
            continue
        run_s, paid = (
            known.run_s or _run_s(arena, ranked),
            [g for g in known.groups if g.price_per_hour_usd is not None],
        )
        usd = paid[0].price_per_hour_usd / paid[0].slots if paid and paid[0].price_per_hour_usd is not None else None
        left = FEWEST - known.scored
        found.append(Unmeasured(known.worker_class, known.scored, None if usd is None else left * run_s / 3600 * usd))
    if not _is_for_gpus(arena):
        return found
    seen = [gpu_model(known.device, known.memory_mb / 1024 or None) for known in arena.classes]
    best: dict[str, GpuPrice] = {}
    for price in newest(prices):
        usd, model = price.usd(spot=spot), price.model
        fits = price.memory_gb is not None and price.memory_gb >= arena.gpu_memory_gb and price.gpus
        if usd is None or not fits or any(is_same_gpu(model, other) for other in seen):
            continue
        if arena.worker_class != "any" and arena.worker_class != f"cuda-{model.family.lower()}":
            continue
        if (before := best.get(price.gpu)) is None or usd < (before.usd(spot=spot) or 0.0):
            best[price.gpu] = price
    run_s = _run_s(arena, ranked)
    gpus = [
        Unmeasured(name, 0, FEWEST * run_s / 3600 * usd, price.provider, price.tier, usd)
        for name, price in best.items()
        if (usd := price.usd(spot=spot)) is not None
    ]
    return [*found, *sorted(gpus, key=lambda each: (each.about_usd or 0.0, each.name))]


def _run_s(arena: ArenaMeasured, ranked: Sequence[ClassMeasured]) -> float:
    """Return how long a run of an unmeasured class may take: its budget, and the least that surrounds it elsewhere."""
    around = [known.run_s - arena.budget_s for known in ranked if known.run_s]
    return arena.budget_s + max(0.0, min(around, default=0.0))


def _is_for_gpus(arena: ArenaMeasured) -> bool:
    names = [arena.worker_class, *(known.worker_class for known in arena.classes)]
    return arena.gpu_memory_gb > 0 or any(name.startswith("cuda") for name in names)


def _unpriced(ranked: Sequence[ClassMeasured], options: Sequence[RentOption]) -> list[str]:
    priced = {option.worker_class for option in options}
    return [
        f"{known.worker_class} is measured, but no such price is known: start its workers with a price, or add it by "
        "`mesh prices --update`"
        for known in ranked
        if known.worker_class not in priced
    ]


def _lost_unknown(options: Sequence[RentOption]) -> list[str]:
    names = sorted({option.worker_class for option in options if option.lost_share is None})
    if not names:
        return []
    return [
        f"no spot machine of {', '.join(names)} has run here, so what is lost when one is taken back is not counted"
    ]


def _slots(ranked: Sequence[ClassMeasured], options: Sequence[RentOption]) -> list[str]:
    listed = {option.worker_class for option in options if option.gpu}
    names = [known.worker_class for known in ranked if known.worker_class in listed and known.groups[0].slots > 1]
    if not names:
        return []
    return [
        f"offers of {', '.join(names)} are counted with one run at a time on each GPU; its workers here had more slots"
    ]


def _steps(ranked: Sequence[ClassMeasured], options: Sequence[RentOption]) -> list[str]:
    """Say that classes do not do the same in a trial: its budget is time, so a slower one makes fewer steps."""
    known = {each.worker_class: each.steps for each in ranked if each.steps}
    listed = {option.worker_class for option in options}
    steps = {name: count for name, count in known.items() if name in listed}
    if len(steps) < 2 or max(steps.values()) <= min(steps.values()) * (1 + ODD_STEPS):
        return []
    by_steps = sorted(steps.items(), key=lambda item: -item[1])
    words = ", ".join(f"{name} {count:,.0f}" for name, count in by_steps)
    by_step = min((o for o in options if o.usd_per_step is not None), key=lambda o: o.usd_per_step or 0.0)
    cheapest = f"{by_step.worker_class} at {by_step.provider or 'its stated price'}"
    return [
        f"a trial makes different numbers of steps by class ({words}): scores of two classes are of two tasks, and "
        f"only compare within one; per step, {cheapest} is the cheapest"
    ]

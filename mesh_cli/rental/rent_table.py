"""`mesh rent` for people: a table of options, and a line for each of what is not measured."""

from collections.abc import Sequence

from mesh.text import printable
from mesh_cli.render.columns import Column, aligned
from mesh_cli.rental.price_table import usd_words
from mesh_cli.rental.rent_options import FEWEST, RentOption, Unmeasured

_SHOWN = 12
"""Unmeasured GPUs that are shown."""


def rent_lines(options: Sequence[RentOption], *, budget_usd: float, hours: float, width: int | None) -> list[str]:
    """Return a table of options; `*` marks the Pareto set: none is both cheaper per trial and faster."""
    columns = (
        Column(""),
        Column("class"),
        Column("provider"),
        Column("offer", fills=True),
        Column("$/h", right=True),
        Column("lost", right=True, rank=2),
        Column("trials/h", right=True),
        Column("$/trial", right=True),
        Column(f"trials for ${budget_usd:g}", right=True, rank=1),
        Column("hours", right=True, rank=1),
        Column(f"machines for {hours:g} h", right=True, rank=3),
        Column("seen", rank=4),
    )
    cells = [
        [
            "*" if option.is_pareto else "",
            printable(option.worker_class),
            printable(option.provider) or "own price",
            _offer(option),
            usd_words(option.usd_per_hour),
            "?" if option.lost_share is None else f"{option.lost_share:.0%}" if option.spot else "",
            f"{option.trials_per_hour:,.3g}" if option.trials_per_hour < 1000 else f"{option.trials_per_hour:,.0f}",
            usd_words(option.usd_per_trial),
            "any" if option.trials is None else f"{option.trials:,}",
            "" if option.hours is None else f"{option.hours:,.1f}",
            str(option.machines),
            printable(option.seen),
        ]
        for option in options
    ]
    return aligned(columns, cells, width)


def unmeasured_lines(unmeasured: Sequence[Unmeasured]) -> list[str]:
    """Return a line for each class or GPU that is not ranked, and what its first runs cost."""
    lines = []
    for each in unmeasured[:_SHOWN]:
        where = " ".join(filter(None, [each.provider, each.tier]))
        at = f" at {printable(where)}, ${usd_words(each.usd_per_gpu_hour)}/GPU-h" if where else ""
        state = f"only {each.scored} scored" if each.scored else "unmeasured"
        left = FEWEST - each.scored
        cost = "an unknown amount" if each.about_usd is None else f"about ${usd_words(each.about_usd)}"
        more = " more" if each.scored else ""
        lines.append(f"{printable(each.name)}: {state}: {left}{more} trials cost {cost}{at}")
    if len(unmeasured) > _SHOWN:
        lines.append(f"… and {len(unmeasured) - _SHOWN} more GPUs of the price table; --json lists them")
    return lines


def _offer(option: RentOption) -> str:
    many = f"{option.gpus:g}x " if option.gpus > 1 else ""
    return printable(" ".join(filter(None, [f"{many}{option.gpu}", option.tier, "spot" if option.spot else ""])))

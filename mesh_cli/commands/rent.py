"""`mesh rent`: which machines to rent for an arena."""

import sys
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh_cli.app import ArenaOption, Json, Nats, app, print_json
from mesh_cli.exit import run


@app.command
def rent(
    *,
    arena: ArenaOption = None,
    nats: Nats = None,
    budget: Annotated[
        float | None,
        Parameter(
            help="Dollars to spend; default: what is left of the arena's budget, else 20.", validator=Number(gt=0)
        ),
    ] = None,
    hours: Annotated[float, Parameter(help="Hours within which to spend them.", validator=Number(gt=0))] = 8.0,
    spot: Annotated[bool, Parameter(negative="", help="Rank spot machines, which may be taken back.")] = False,
    worker_class: Annotated[str, Parameter(name="--class", help="Only this worker class.")] = "",
    provider: Annotated[str, Parameter(help="Only this provider.")] = "",
    form: Annotated[
        Literal["sky", "slurm", "join"] | None,
        Parameter(
            name="--print",
            help="Print the cheapest option as a task of SkyPilot, a job of Slurm, or the line that joins a machine.",
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Rank machines for an arena by what its runs have measured and what they cost. Nothing is rented or started.

    Example: mesh rent --arena nanolm --budget 20 --hours 8
    """

    async def work() -> None:
        import datetime as dt

        from mesh import settings
        from mesh.errors import BadInput
        from mesh.gpu_prices import known_prices
        from mesh.money import cost_line
        from mesh_cli.connect import board_of, reach
        from mesh_cli.history.report import projection_to_ask
        from mesh_cli.render.columns import width_of_output
        from mesh_cli.rental.measured import measured_classes
        from mesh_cli.rental.price_table import age_remark
        from mesh_cli.rental.rent_forms import printed_form
        from mesh_cli.rental.rent_options import FEWEST, budget_left, chosen, rental
        from mesh_cli.rental.rent_table import rent_lines, unmeasured_lines

        if form is not None and json:
            raise BadInput("--print and --json exclude each other; use one of them")
        prices = known_prices(settings.home())
        async with reach(arena, nats) as bus:
            async with projection_to_ask(bus, None) as ask:
                measured = await measured_classes(ask, bus.arena)
            board = await board_of(bus)
        now, name = dt.datetime.now(dt.UTC), board.arena
        budget_usd = budget or budget_left(board, now)
        found = rental(measured, prices, budget_usd=budget_usd, hours=hours, spot=spot)
        options = chosen(found.options, worker_class, provider)
        if json:
            print_json({"options": options, "unmeasured": found.unmeasured, "remarks": found.remarks})
            return
        if form is not None:
            if not options:
                raise BadInput(
                    f"no class has {FEWEST} scored runs in arena {name} and a price: there is nothing to print"
                )
            best = next((option for option in options if option.gpu), options[0]) if form == "sky" else options[0]
            print(printed_form(form, best, name, hours=hours), end="")
            return
        if options:
            print("\n".join(rent_lines(options, budget_usd=budget_usd, hours=hours, width=width_of_output())))
        else:
            kind = "spot price" if spot else "price"
            print(
                f"mesh: no class has {FEWEST} scored runs in arena {name} and a {kind}: nothing is ranked",
                file=sys.stderr,
            )
        if found.unmeasured:
            print("\n".join([*([""] if options else []), *unmeasured_lines(found.unmeasured)]))
        print(f"mesh: {cost_line(board, now)}", file=sys.stderr)
        shown = {(option.provider, option.tier, option.gpu, option.seen) for option in options}
        listed = [price for price in prices if (price.provider, price.tier, price.gpu, price.seen) in shown]
        for sentence in filter(None, [*found.remarks, age_remark(listed, now.date())]):
            print(f"mesh: {sentence}", file=sys.stderr)

    return run(work)

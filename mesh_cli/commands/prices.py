"""`mesh prices`: what GPUs cost to rent."""

import sys
from typing import Annotated

from cyclopts import Parameter

from mesh_cli.app import Json, app, print_json
from mesh_cli.exit import run


@app.command
def prices(
    gpu: str | None = None,
    *,
    spot: Annotated[bool, Parameter(negative="", help="Show only spot prices, the cheapest first.")] = False,
    provider: Annotated[
        str, Parameter(help="Show only this provider's prices; with --update, whose prices a list of SkyPilot has.")
    ] = "",
    superseded: Annotated[
        bool, Parameter(name="--all", negative="", help="Show also what the same offers cost before.")
    ] = False,
    update: Annotated[
        str | None,
        Parameter(
            help="Read this file or address, in our form or a list of SkyPilot (vms.csv), and let it replace the "
            "prices of its providers in this home."
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Show what GPUs cost to rent, per GPU and hour, with date and source. Prices are never refreshed by themselves.

    Example: mesh prices H100 --spot
    """

    async def work() -> None:
        import datetime as dt

        from anyio.to_thread import run_sync

        from mesh import settings
        from mesh.errors import BadInput
        from mesh.gpu_prices import known_prices
        from mesh_cli.render.columns import width_of_output
        from mesh_cli.rental.price_table import age_remark, price_facts, price_lines, price_rows

        home = settings.home()
        if update is not None:
            from mesh_cli.rental.price_update import update_prices

            if gpu is not None or spot or superseded:
                raise BadInput("--update replaces whole lists: leave out the GPU, --spot and --all")
            done = await run_sync(update_prices, home, update, provider)
            if json:
                print_json({"providers": done.providers, "prices": done.prices, "left_out": done.left_out})
            else:
                print(f"{done.prices} prices of {', '.join(done.providers)} are in {done.path}")
            if done.left_out:
                rows = "1 row" if done.left_out == 1 else f"{done.left_out} rows"
                print(f"mesh: {rows} of GPUs without a machine or a price were left out", file=sys.stderr)
            return
        found = price_rows(known_prices(home), gpu=gpu or "", spot=spot, provider=provider, superseded=superseded)
        today = dt.datetime.now(dt.UTC).date()
        if json:
            print_json(price_facts(found, today))
            return
        print("\n".join(price_lines(found, today, width_of_output())))
        if remark := age_remark(found, today):
            print(f"mesh: {remark}", file=sys.stderr)

    return run(work)

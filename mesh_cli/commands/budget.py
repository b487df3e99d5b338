"""`mesh budget`: what an arena may spend, and what it has spent."""

from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from mesh_cli.app import ArenaOption, AuthorOption, Json, Nats, app, print_json
from mesh_cli.exit import run

_MOST_USD = 1e9
"""`mesh.bounds.MAX_USD`; its module is imported later."""

budget = App(name="budget")
app.command(budget)


@budget.default
def show_budget(*, arena: ArenaOption = None, nats: Nats = None, json: Json = False) -> int:
    """Show what an arena may spend in dollars, and what models, judges and workers have cost.

    Example: mesh budget --arena digits
    """

    async def work() -> None:
        import datetime as dt

        from mesh_cli.connect import reach
        from mesh_cli.live.spending import budget_figures, budget_lines, followed

        async with reach(arena, nats) as bus:
            _, board = await followed(bus)
        now = board.time if board.closed else dt.datetime.now(dt.UTC)
        if json:
            print_json(budget_figures(board, now))
        else:
            print("\n".join(budget_lines(board, now)))

    return run(work)


@budget.command
def grant(
    usd: Annotated[float, Parameter(help="So many dollars more.", validator=Number(gt=0, lte=_MOST_USD))],
    *,
    yes: Annotated[bool, Parameter(negative="", help="Do not ask: spend it.")] = False,
    arena: ArenaOption = None,
    nats: Nats = None,
    name: AuthorOption = None,
) -> int:
    """Let an arena spend more dollars, on models, judges and the time of workers. The first grant begins a budget.

    Example: mesh budget grant 20 --yes
    """

    async def work() -> None:
        import datetime as dt

        from mesh.grants import grant as grant_more
        from mesh.money import cost_line, limit_usd, spent_usd, unpriced_workers
        from mesh_cli.connect import own_author, reach
        from mesh_cli.live.spending import ask_to_spend, followed

        async with reach(arena, nats) as bus:
            follower, board = await followed(bus)
            now = board.time if board.closed else dt.datetime.now(dt.UTC)
            await ask_to_spend(f"${usd:,.2f} more for arena {bus.arena}: {cost_line(board, now)}", yes=yes)
            await grant_more(bus, follower, usd, author=own_author(name, nats))
            limit = limit_usd(follower.board) or 0.0
            print(f"arena {bus.arena} may spend ${limit:,.2f}, and has spent ${spent_usd(board, now):,.2f}")
            for worker in unpriced_workers(board) if not board.closed else ():
                print(f"worker {worker} has no price, so it gets no more runs: start it with --price-per-hour USD")
            if board.closed:
                print(f"arena {bus.arena} is closed: `mesh open` or `mesh up` opens its next version")

    return run(work)

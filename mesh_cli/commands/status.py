"""`mesh status`: the state of an arena."""

from mesh_cli.app import ArenaOption, Json, Nats, app, print_json
from mesh_cli.exit import run


@app.command
def status(*, arena: ArenaOption = None, nats: Nats = None, json: Json = False) -> int:
    """Show the state of an arena: queue, workers, rates, and how far the projector is behind the log.

    Example: mesh status --json
    """

    async def work() -> None:
        from mesh_cli.connect import reach
        from mesh_cli.live.status import figures, status_lines
        from mesh_cli.render.columns import width_of_output

        async with reach(arena, nats) as bus:
            row = await figures(bus)
        if json:
            print_json(row)
        else:
            print("\n".join(status_lines(row, width_of_output())))

    return run(work)

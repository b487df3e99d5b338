"""`mesh channels`: where notes are posted."""

from mesh_cli.app import ArenaOption, Json, Nats, app, print_json
from mesh_cli.exit import run


@app.command
def channels(*, arena: ArenaOption = None, nats: Nats = None, json: Json = False) -> int:
    """List the channels with their unread notes. `mesh tail --channel X` reads one.

    Example: mesh channels
    """

    async def work() -> None:
        from mesh_cli.board.channels import COLUMNS, channel_cells, channels_of
        from mesh_cli.board.read_marks import marks_of
        from mesh_cli.connect import reach
        from mesh_cli.render.columns import aligned, width_of_output

        async with reach(arena, nats) as bus:
            rows = await channels_of(bus, await marks_of(bus))
        if json:
            print_json(rows)
        else:
            print("\n".join(aligned(COLUMNS, [channel_cells(row) for row in rows], width_of_output())))

    return run(work)

"""`mesh top`: the swarm on one screen."""

import sys

from mesh_cli.app import ArenaOption, Nats, app
from mesh_cli.exit import run


@app.command
def top(*, arena: ArenaOption = None, nats: Nats = None) -> int:
    """Watch leaderboard, queue, workers and message board on one screen; press ? for the keys.

    Example: mesh top
    """

    async def work() -> None:
        from mesh.errors import BadInput
        from mesh_cli.connect import pick, reach_hub

        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise BadInput("mesh top needs a terminal; mesh status, leaderboard and tail print to a pipe")
        try:
            from mesh_cli.live.top import top as show
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "textual":
                raise
            raise BadInput("mesh top needs textual, which is not installed: pip install 'mesh-swarm[top]'") from None
        from mesh_cli.live.feed import Watch

        async with reach_hub(nats, endless=True) as hub:
            await show(Watch(await pick(hub, arena), lambda: hub.link.nc.is_connected))

    return run(work, endless=True)

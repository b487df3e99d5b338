"""`mesh open`: an arena on a running server."""

import sys
from pathlib import Path

from agents.llm.judge_price import judge_price
from mesh_cli.app import (
    Data,
    Evaluator,
    Folder,
    MetricDirection,
    MetricName,
    Nats,
    NoConfirm,
    RunSeconds,
    TaskConfig,
    TaskPython,
    app,
)
from mesh_cli.exit import run


@app.command(name="open")
def open_(
    folder: Folder = Path(),
    evaluator: Evaluator = None,
    *,
    config: TaskConfig = None,
    metric: MetricName = None,
    direction: MetricDirection = None,
    run_seconds: RunSeconds = None,
    environment: TaskPython = None,
    nats: Nats = None,
    data: Data = None,
    no_confirm: NoConfirm = False,
) -> int:
    """Open an arena on a running server; open its next version if its files changed or it was closed.

    Example: mesh open digits
    """

    async def work() -> None:
        import anyio.to_thread

        from mesh import settings
        from mesh.open_arena import exactly, open_arena
        from mesh.text import short
        from mesh_cli.arenas import loop_wish, told_folder
        from mesh_cli.connect import reach_hub
        from mesh_cli.setup.own_environment import agree_on_environment

        found = told_folder(folder, evaluator, config, loop_wish(metric, direction, run_seconds))
        await anyio.to_thread.run_sync(agree_on_environment, found, environment, abandon_on_cancel=True)
        async with reach_hub(nats) as hub:
            _, opened = await open_arena(
                hub, found, home=settings.home(), exact=no_confirm, data=data, price_of=judge_price
            )
        if no_confirm:
            print(f"mesh: {exactly(opened.spec)}", file=sys.stderr)
        print(f"arena {opened.spec.name} is open, version {opened.version}, base commit {short(opened.base_commit)}")

    return run(work)

"""`mesh hub start`: run a hub."""

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh_cli.commands.hub import HubDir, hub
from mesh_cli.exit import run


@hub.command
def start(
    *,
    directory: HubDir = None,
    listen: Annotated[
        str | None,
        Parameter(help="Address and port at which machines join; default: as `mesh hub init` was told."),
    ] = None,
    node: Annotated[
        int,
        Parameter(
            help="Which node of a hub of several this machine is; 0 where there is one.", validator=Number(gte=0)
        ),
    ] = 0,
    life: Annotated[
        str | None,
        Parameter(help="How long the credentials of a member hold, such as 24h; it renews them at half of that."),
    ] = None,
    monitoring: Annotated[
        str | None,
        Parameter(help="Let KEDA ask the server at this HOST:PORT how much waits. It asks nobody for a key."),
    ] = None,
    metrics: Annotated[
        str, Parameter(help="Serve Prometheus metrics and health on this port, or HOST:PORT.", show_default=False)
    ] = "",
    log_json: Annotated[
        bool, Parameter(help="Write JSON objects to standard error, one a line, also for each request.", negative="")
    ] = False,
) -> int:
    """Run a hub until Ctrl-C: the server of the log, the door at which machines join, and the warden.

    Whatever dies is started again, and whatever was acknowledged is kept. Print the address of the door.

    Example: mesh hub start
    """
    from functools import partial

    async def work() -> None:
        import sys

        from mesh.times import seconds
        from mesh_cli.hub.open_keys import keys_open_to_others
        from mesh_cli.hub.serving import opened_hub, serve_hub

        opened = opened_hub(directory)
        if found := keys_open_to_others(opened):
            what = f"{len(found)} files with keys of the hub, such as {found[0]}"
            print(f"mesh: other users of this machine can read {what}: chmod -R go= {opened.folder}", file=sys.stderr)

        def ready(log: str, door: str) -> None:
            print(f"mesh: the hub of {opened.folder} runs: log {log}", file=sys.stderr)
            print(door, flush=True)

        lifetime_s = seconds(life) if life else None
        await serve_hub(
            opened,
            listen=listen,
            node=node,
            lifetime_s=lifetime_s,
            monitoring=monitoring or "",
            metrics=metrics,
            on_ready=ready,
        )

    from mesh.daemon import while_parent_lives
    from mesh.log_lines import log_lines

    with log_lines("mesh", json=log_json):
        return run(partial(while_parent_lives, work), endless=True)

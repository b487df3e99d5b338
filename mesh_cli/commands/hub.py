"""`mesh hub`: a hub for machines of several owners, with keys, roles and TLS."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from mesh_cli.app import app
from mesh_cli.exit import run

hub = App(name="hub", help="Run a hub for machines of several owners, where everybody has keys of their own.")
app.command(hub)

HubDir = Annotated[
    Path | None, Parameter(name="--dir", help="Folder of the hub; default: hub in the home folder.", show_default=False)
]
_Port = Number(gte=1, lte=65535)


@hub.command
def init(
    *,
    directory: HubDir = None,
    host: Annotated[
        tuple[str, ...],
        Parameter(
            help="A name or address by which members reach this machine; repeatable, and they are told the first. "
            "Default: localhost, so this machine alone.",
            negative="",
        ),
    ] = (),
    port: Annotated[int, Parameter(help="Port of the NATS server.", validator=_Port)] = 4222,
    door_port: Annotated[int, Parameter(help="Port at which members join.", validator=_Port)] = 8443,
    disk_gb: Annotated[
        float | None,
        Parameter(
            name="--disk-gb",
            help="Gigabytes that all logs together may have; default: three quarters of what is free.",
            validator=Number(gte=1),
        ),
    ] = None,
) -> int:
    """Make the keys, accounts, certificates and the server's configuration of a hub. A second time changes nothing.

    Example: mesh hub init --host hub.example.org
    """

    async def work() -> None:
        from mesh import settings
        from mesh.accounts.hub_init import init_hub

        folder = directory or settings.home() / "hub"
        made, is_new = init_hub(
            folder, host, port=port, door_port=door_port, disk_bytes=int(disk_gb * 1e9) if disk_gb else None
        )
        print(made.folder)
        if not is_new:
            print(f"mesh: {made.folder} has this hub already; nothing was changed", file=sys.stderr)
            return
        for words in (
            f"members reach it at {made.server_url}",
            f"your own processes use --nats {made.own_url} and MESH_CREDENTIALS={made.hub_creds}",
            f"move {made.folder / 'keys' / 'operator.nk'} to a place that is not on this machine: only a new account "
            "needs it",
        ):
            print(f"mesh: {words}", file=sys.stderr)

    return run(work)

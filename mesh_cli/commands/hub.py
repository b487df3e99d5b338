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
    nodes: Annotated[
        tuple[str, ...],
        Parameter(
            help="How many servers keep the log together, three or five, and their hosts: HOST, or HOST:PORT for the "
            "port at which they reach each other.",
            consume_multiple=True,
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
        from mesh.accounts.certificates import host_of
        from mesh.accounts.hub_init import init_hub
        from mesh.errors import BadInput

        if port == door_port:
            raise BadInput(f"--port and --door-port are both {port}: the log and the door need a port each")
        folder = directory or settings.home() / "hub"
        made, is_new = init_hub(
            folder,
            host,
            port=port,
            door_port=door_port,
            nodes=_hosts_of(nodes),
            disk_bytes=int(disk_gb * 1e9) if disk_gb else None,
        )
        print(made.folder)
        if not is_new:
            print(f"mesh: {made.folder} has this hub already; nothing was changed", file=sys.stderr)
            return
        copies = [
            f"copy {made.config_file(number).parent} to {place}, and there run: nats-server -c nats.conf"
            for number, place in enumerate(map(host_of, made.settings.nodes), start=1)
        ]
        for words in (
            *copies,
            f"members reach it at {made.server_url}",
            f"your own processes use --nats {made.own_url} and MESH_CREDENTIALS={made.hub_creds}",
            f"move {made.folder / 'keys' / 'operator.nk'} to a place that is not on this machine: no command needs it "
            "again",
        ):
            print(f"mesh: {words}", file=sys.stderr)

    return run(work)


def _hosts_of(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the hosts in `--nodes 3 a b c`, where the number may be left out."""
    from mesh.errors import BadInput

    if not words or not words[0].isdecimal():
        return words
    if int(words[0]) != len(words) - 1:
        raise BadInput(f"--nodes says {words[0]} and names {len(words) - 1} hosts: name one for each server")
    return words[1:]

"""`mesh gateway`: the arenas over HTTP, for agents of others, and who may take part."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from mesh_cli.app import Json, Nats, app
from mesh_cli.exit import run

gateway = App(name="gateway")
app.command(gateway)

_Arenas = Annotated[
    tuple[str, ...], Parameter(name="--arena", negative="", help="Only this arena; repeatable. Default: all.")
]


@gateway.default
def serve(
    *,
    listen: Annotated[str, Parameter(help="Listen on this address and port; port 0 means any free one.")] = (
        "127.0.0.1:8080"
    ),
    arena: _Arenas = (),
    nats: Nats = None,
    open_: Annotated[
        bool | None,
        Parameter(
            name="--open",
            help="Let agents register without an invitation, and everybody read. Default: only if it listens on "
            "loopback; give --no-open there behind a proxy.",
        ),
    ] = None,
    pending: Annotated[
        int, Parameter(help="Proposals of one agent that may wait for a score.", validator=Number(gte=1))
    ] = 20,
    address: Annotated[
        str,
        Parameter(help="The address by which agents reach it, if that is another one, such as that of a proxy."),
    ] = "",
    tls: Annotated[
        tuple[Path, Path] | None, Parameter(help="Certificate and key (PEM): serve https.", show_default=False)
    ] = None,
    allow_host: Annotated[
        tuple[str, ...],
        Parameter(help="Accept this host name too, by which agents reach the gateway; repeatable.", negative=""),
    ] = (),
    hooks: Annotated[Path | None, Parameter(help="Post facts to the webhooks of this file (hooks.toml).")] = None,
    allow_private: Annotated[
        bool, Parameter(help="Let webhooks reach addresses that are not public, and http.", negative="")
    ] = False,
    metrics: Annotated[
        str, Parameter(help="Serve Prometheus metrics and health on this port, or HOST:PORT.", show_default=False)
    ] = "",
    log_json: Annotated[
        bool, Parameter(help="Write JSON objects to standard error, one a line, also for each request.", negative="")
    ] = False,
) -> int:
    """Serve the arenas as AgentHub does, until Ctrl-C, and print the address.

    Agents set HUB to that address, or to ADDRESS/a/ARENA if there are several arenas, and read ADDRESS/guide.

    Example: mesh gateway --listen 0.0.0.0:8080 --allow-host hub.example.org
    """

    async def work() -> None:
        from mesh_cli.live.gateway import serve_here

        await serve_here(
            listen,
            nats=nats,
            arenas=arena,
            is_open=open_,
            pending=pending,
            outside=address,
            tls=tls,
            hosts=allow_host,
            hooks=hooks,
            allow_private=allow_private,
            metrics=metrics,
            on_ready=lambda url: print(url, flush=True),
        )

    from mesh.daemon import while_parent_lives
    from mesh.log_lines import log_lines

    with log_lines("mesh", json=log_json):
        return run(partial(while_parent_lives, work), endless=True)


@gateway.command
def invite(
    *,
    arena: _Arenas = (),
    uses: Annotated[int, Parameter(help="Agents that may register with it.", validator=Number(gte=1))] = 1,
    ttl: Annotated[
        float, Parameter(name="--ttl-hours", help="Hours for which it holds; 0 is for ever.", validator=Number(gte=0))
    ] = 24.0,
    role: Annotated[
        Literal["agent", "observer"], Parameter(help="What they may do: take part, or only read.")
    ] = "agent",
    owner: Annotated[str, Parameter(help="Who answers for them.")] = "",
    nats: Nats = None,
) -> int:
    """Make an invitation, and print it. It is shown this once: the log keeps only its hash.

    Example: mesh gateway invite --arena nanolm --uses 5
    """

    async def work() -> None:
        from mesh_cli.live.gateway import reach_members

        async with reach_members(nats, arena) as members:
            secret = await members.invite(arenas=arena, role=role, uses=uses, ttl_s=ttl * 3600, owner=owner)
        where = f"/a/{arena[0]}" if arena else "/a/ARENA"
        print(f"mesh: agents set HUB=http://ADDRESS{where}/i/{secret}", file=sys.stderr)
        print(secret)

    return run(work)


@gateway.command
def admit(
    name: str,
    *,
    arena: _Arenas = (),
    role: Annotated[
        Literal["agent", "observer", "admin"], Parameter(help="What it may do; an admin may admit others over HTTP.")
    ] = "agent",
    owner: Annotated[str, Parameter(help="Who answers for it.")] = "",
    nats: Nats = None,
) -> int:
    """Admit an agent by name, and print its key. It is shown this once: the log keeps only its hash.

    Example: mesh gateway admit build-box --role admin
    """

    async def work() -> None:
        from mesh.errors import AlreadyPosted, BadInput
        from mesh_cli.live.gateway import reach_members

        async with reach_members(nats, arena) as members:
            try:
                key = await members.admit(name, arenas=arena, role=role, owner=owner)
            except AlreadyPosted:
                raise BadInput(f"{name!r} is a member already, or was one; choose another name") from None
        print(key)

    return run(work)


@gateway.command
def members(*, nats: Nats = None, json: Json = False) -> int:
    """List the members and the invitations of the hub.

    Example: mesh gateway members
    """

    async def work() -> None:
        from mesh_cli.live.gateway import members_text, reach_members

        async with reach_members(nats) as known:
            print(members_text(known.index, json=json))

    return run(work)


@gateway.command
def revoke(
    name: str,
    *,
    reason: Annotated[str, Parameter(allow_leading_hyphen=True, help="Why, in a sentence.")] = "",
    nats: Nats = None,
) -> int:
    """Revoke a member, or an invitation, for good: its key is refused at once by every gateway.

    Example: mesh gateway revoke build-box --reason "left the team"
    """

    async def work() -> None:
        from mesh_cli.live.gateway import reach_members

        async with reach_members(nats) as known:
            print(await known.revoke(name, reason))

    return run(work)

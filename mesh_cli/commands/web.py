"""`mesh web`: the arena as a live page."""

import sys
from functools import partial
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh_cli.app import ArenaOption, AuthorOption, Nats, app
from mesh_cli.exit import run


@app.command
def web(
    *,
    arena: ArenaOption = None,
    nats: Nats = None,
    host: Annotated[str, Parameter(help="Listen on this address.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        Parameter(
            help="Listen on this port; 0 means any free port. Default: the one that the page of this home had last.",
            validator=Number(gte=0, lte=65535),
        ),
    ] = None,
    token: Annotated[
        str | None,
        Parameter(
            help="Let whoever has this token post notes; - reads it from standard input.", allow_leading_hyphen=True
        ),
    ] = None,
    name: AuthorOption = None,
    allow_host: Annotated[
        tuple[str, ...],
        Parameter(
            help="Accept this host name too, where browsers reach the page by another name; repeatable.", negative=""
        ),
    ] = (),
) -> int:
    """Serve an arena as a live web page until Ctrl-C and print its address. Without a token it is read-only.

    Example: mesh web --port 8080
    """

    async def work() -> None:
        from mesh import settings
        from mesh.errors import BadInput
        from mesh_cli.connect import own_author, pick, reach_hub
        from mesh_cli.page_port import page_port

        try:
            from analytics.web.serve import serve
            from mesh.web.access import LOOPBACK, checked_token, is_loopback
            from mesh.web.listening import listen
        except ModuleNotFoundError as missing:
            raise BadInput(
                f"mesh web needs {missing.name}, which is not installed: pip install 'mesh-swarm[web,analytics]'"
            ) from None

        secret = sys.stdin.readline().strip() if token == "-" else token
        if secret == "":
            raise BadInput("the token is empty; leave --token out to serve a read-only page")
        checked_token(secret or "")
        shown = f"[{host}]" if ":" in host else host
        at = page_port(settings.home(), host) if port is None and is_loopback(host) else port or 0
        with listen(host, at) as listening:
            url = f"http://{shown}:{listening.getsockname()[1]}/"
            if not is_loopback(host):
                print(f"mesh: everybody who can reach {url} can read the whole arena (docs/web.md)", file=sys.stderr)
            async with reach_hub(nats, endless=True) as hub:
                await serve(
                    hub,
                    await pick(hub, arena),
                    listening,
                    home=settings.home(),
                    hosts=(*LOOPBACK, shown, *allow_host),
                    token=secret or "",
                    name=own_author(name, nats),
                    on_ready=lambda: print(url, flush=True),
                )

    from mesh.daemon import while_parent_lives

    return run(partial(while_parent_lives, work), endless=True)

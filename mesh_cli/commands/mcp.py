"""`mesh mcp`: an agent takes part by MCP."""

import os
import sys
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mesh_cli.app import ArenaOption, Nats, app
from mesh_cli.exit import run

if TYPE_CHECKING:
    from gateway.door import Door


@app.command
def mcp(
    *,
    arena: ArenaOption = None,
    nats: Nats = None,
    hub: Annotated[
        str, Parameter(help="Pass the calls on to this hub, such as https://HOST/a/ARENA, with the key in MESH_KEY.")
    ] = "",
    name: Annotated[str, Parameter(help="Author of what the agent posts; default: what the client calls itself.")] = "",
    model: Annotated[str, Parameter(help="The model of the agent; default: what the client calls itself.")] = "",
) -> int:
    """Serve the tools of an agent by MCP, over standard input and output, until the client goes away.

    A client starts it; the how-to page has what to write into the settings of Claude Code, Codex, OpenClaw, Cursor and
    VS Code. Nothing but the protocol goes to standard output.

    Example: mesh mcp --arena nanolm --name ann
    """

    async def work() -> None:
        import gc

        import anyio

        from mesh.errors import BadInput
        from mesh.wire import check_token
        from mesh_cli.live.lasting_door import LastingDoor

        if hub and (nats or name):
            raise BadInput("--hub cannot be used with --nats or --name: the key says who calls; leave those out")
        named = name and check_token("name", name)
        gc.disable()  # all that is imported stays: to look for garbage in it takes a tenth of the start
        try:
            from gateway.mcp_server import author_name, calls_of, serve_stdio
            from gateway.mcp_tools import Speaker
        except ModuleNotFoundError as missing:
            raise BadInput(
                f"mesh mcp needs {missing.name}, which is not installed: pip install 'mesh-swarm[mcp]'"
            ) from None
        if sys.stdin.isatty():
            print("mesh: a client speaks to this command on standard input; Ctrl-C ends it", file=sys.stderr)
        gc.freeze()
        gc.enable()

        def speaker(client: str, request: object) -> Speaker:
            author = named or author_name(client)
            return Speaker(author, model or (author_name(client) if client else author))

        if hub:
            from gateway.mcp_proxy import KEY, calls_to, hub_address

            await serve_stdio(calls_to(hub_address(hub, arena or ""), os.environ.get(KEY, ""), model))
            return
        lasting = LastingDoor(lambda: _opened(arena, nats))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lasting.keep)
            await serve_stdio(calls_of(lambda request: lasting.door(), speaker))
            tasks.cancel_scope.cancel()

    return run(work, endless=True)


def _opened(arena: str | None, nats: str | None) -> "AbstractAsyncContextManager[Door]":
    from mesh_cli.connect import reach_door

    return reach_door(arena, nats, endless=True)

"""`mesh context`: named places to work with."""

from typing import Annotated

from cyclopts import App, Parameter

from mesh_cli.app import Json, app, print_json
from mesh_cli.exit import run

context = App(name="context", help="Manage contexts: named sets of server, arena and credentials.")
app.command(context)


@context.command
def add(
    name: str,
    *,
    nats: Annotated[str, Parameter(help="Address of the NATS server; separate several with commas.")],
    arena: Annotated[str, Parameter(help="Name of the arena to use.")] = "",
    creds: Annotated[str, Parameter(help="File with your credentials (.creds or an nkey seed).")] = "",
) -> int:
    """Save or change a context. Only you can read the file where contexts are saved.

    Example: mesh context add lab --nats nats://lab.example.org:4222 --arena nanolm
    """

    async def work() -> None:
        from mesh_cli.setup.contexts import keep_context

        keep_context(name, nats=nats, arena=arena, credentials=creds)

    return run(work)


@context.command
def use(
    name: str | None = None,
    *,
    none: Annotated[bool, Parameter(negative="", help="Use no context, only the other settings.")] = False,
) -> int:
    """Use this context from now on. `MESH_CONTEXT` sets it for one command.

    Example: mesh context use lab
    """

    async def work() -> None:
        from mesh_cli.setup.contexts import switch

        switch(name, none=none)

    return run(work)


@context.command(name="list")
def list_(*, json: Json = False) -> int:
    """List the contexts; `*` marks the one in use.

    Example: mesh context list
    """

    async def work() -> None:
        from mesh_cli.setup.contexts import described

        rows = described()
        if json:
            print_json(rows)
            return
        for row in rows:
            words = [str(row[key]) for key in ("nats", "arena", "credentials") if row[key]]
            print(f"{'*' if row['used'] else ' '} {row['name']:<16} {'  '.join(words)}")

    return run(work)


@context.command
def show(name: str | None = None, *, json: Json = False) -> int:
    """Show one context; without a name, the one in use.

    Example: mesh context show lab
    """

    async def work() -> None:
        from mesh_cli.setup.contexts import one

        row = one(name)
        if json:
            print_json(row)
        else:
            print("\n".join(f"{key:<12} {value}" for key, value in row.items() if key != "used"))

    return run(work)


@context.command
def remove(name: str) -> int:
    """Delete a context.

    Example: mesh context remove lab
    """

    async def work() -> None:
        from mesh_cli.setup.contexts import forget

        forget(name)

    return run(work)

"""`mesh context`: named places to work with."""

from typing import Annotated

from cyclopts import App, Parameter

from mesh_cli.app import Json, app, print_json
from mesh_cli.exit import run

context = App(name="context", help="Named places to work with: a server, an arena, credentials.")
app.command(context)


@context.command
def add(
    name: str,
    *,
    nats: Annotated[str, Parameter(help="NATS server, several with commas between them.")],
    arena: Annotated[str, Parameter(help="The arena to work with.")] = "",
    creds: Annotated[str, Parameter(help="File that proves who you are (.creds, or an nkey's seed).")] = "",
) -> int:
    """Keep a place under a name, or change it; only you can read the file it is kept in.

    Example: mesh context add lab --nats nats://lab.example.org:4222 --arena nanolm
    """

    async def work() -> None:
        from mesh_cli.setup.contexts import keep

        keep(name, nats=nats, arena=arena, credentials=creds)

    return run(work)


@context.command
def use(
    name: str | None = None,
    *,
    none: Annotated[bool, Parameter(negative="", help="Use no context: go by the other settings.")] = False,
) -> int:
    """Work with the context of that name from now on; `MESH_CONTEXT` says it for one command.

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
    """Show one context, without a name the one in use.

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
    """Forget a context.

    Example: mesh context remove lab
    """

    async def work() -> None:
        from mesh_cli.setup.contexts import forget

        forget(name)

    return run(work)

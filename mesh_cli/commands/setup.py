"""`mesh context`, `config`, `completion` and `doctor`: how this machine is set up to work with a mesh."""

import sys
from typing import Annotated, Literal

from cyclopts import App, Parameter

from mesh_cli.app import Json, Nats, app, print_json
from mesh_cli.exit import ExitCode, run

context = App(name="context", help="Named places to work with: a server, an arena, credentials.")
config = App(name="config", help="The settings in force.")
app.command(context)
app.command(config)


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


@config.command(name="show")
def show_config(*, json: Json = False) -> int:
    """Show every setting, its value, and where it comes from.

    Example: mesh config show
    """

    async def work() -> None:
        from mesh import settings
        from mesh.config import hide

        rows = [
            {"setting": key, "value": hide(found.value), "source": found.source}
            for key, found in settings.values().items()
        ]
        found = {"setting": "home", "value": str(settings.home()), "source": "found"}
        rows = [found if row["setting"] == "home" and not row["value"] else row for row in rows]
        if json:
            print_json(rows)
            return
        for row in rows:
            print(f"{row['setting']:<12} {row['value'] or '-':<40} {row['source']}")

    return run(work)


@app.command
def completion(shell: Literal["bash", "zsh", "fish"]) -> int:
    """Print a script that lets a shell complete commands and options; docs/cli.md says where to put it.

    Example: mesh completion bash
    """

    async def work() -> None:
        sys.stdout.write(app.generate_completion(prog_name="mesh", shell=shell))

    return run(work)


@app.command
def doctor(*, nats: Nats = None, json: Json = False) -> int:
    """Check what a mesh needs here: server, store, versions, disk, clock, sandbox, GPU; each trouble with its cure.

    Example: mesh doctor
    """
    failed = False

    async def work() -> None:
        nonlocal failed
        from mesh.text import printable
        from mesh_cli.setup.checks import worst
        from mesh_cli.setup.doctor import examine

        findings = await examine(nats)
        failed = worst(findings) == "fail"
        if json:
            print_json(findings)
            return
        for finding in findings:
            print(f"{finding.state:<5} {finding.name:<12} {printable(finding.what)}")
            if finding.cure:
                print(f"{'':<18} cure: {printable(finding.cure)}")

    code = run(work)
    return code or (ExitCode.FAILED if failed else ExitCode.OK)

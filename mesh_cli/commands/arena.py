"""`mesh up`, `open` and `close`: the life of an arena."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh.text import short
from mesh_cli.app import Arena, Nats, NoConfirm, app
from mesh_cli.exit import run

Folder = Annotated[
    Path, Parameter(help="A folder with an arena.toml, or the name of an arena that comes with the mesh: digits.")
]


@app.command
def up(
    folder: Folder,
    *,
    minutes: Annotated[float | None, Parameter(help="End after so long.")] = None,
    explorers: Annotated[int, Parameter(help="How many explorers.", validator=Number(gte=0))] = 3,
    slots: Annotated[
        int | None, Parameter(help="Trials at a time; default: what fits.", validator=Number(gte=1))
    ] = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    nats: Nats = None,
    sync: Annotated[str, Parameter(help="When the embedded server syncs: always, or every so often (1s).")] = "always",
    sandbox: Annotated[Literal["auto", "weak", "none"], Parameter(help="What may hold trials.")] = "auto",
    model: Annotated[str | None, Parameter(help="A model (provider/name) that a researcher asks.")] = None,
    api_base: Annotated[str | None, Parameter(help="A server of its own that speaks as the provider does.")] = None,
    budget_usd: Annotated[float | None, Parameter(help="Dollars it may spend in all.", validator=Number(gt=0))] = None,
    budget_tokens: Annotated[int | None, Parameter(help="Tokens it may use in all.", validator=Number(gt=0))] = None,
    no_confirm: NoConfirm = False,
) -> int:
    """Run a whole swarm on this machine until Ctrl-C, shown live; the next `mesh up` goes on where it ended.

    Example: mesh up digits --minutes 1
    """
    from mesh_cli.live import up as swarm

    async def work() -> None:
        swarm.check_minutes(minutes)
        size = swarm.Size(minutes, explorers, slots)
        thinker = swarm.thinker_of(model, api_base, budget_usd, budget_tokens)
        await swarm.up(
            _found(folder),
            size,
            device=device,
            nats=nats,
            sync=sync,
            sandbox=sandbox,
            thinker=thinker,
            no_confirm=no_confirm,
        )

    return run(work, endless=True)


@app.command(name="open")
def open_(folder: Folder, *, nats: Nats = None, no_confirm: NoConfirm = False) -> int:
    """Open an arena on a running server, or its next version if its files changed or it was closed.

    Example: mesh open digits
    """

    async def work() -> None:
        from mesh import settings
        from mesh.open_arena import describe, exactly, open_arena
        from mesh_cli.connect import reach_hub

        found = _found(folder)
        if said := describe(found):
            print(f"mesh: {said}", file=sys.stderr)
        async with reach_hub(nats) as hub:
            _, opened = await open_arena(hub, found, home=settings.home(), exact=no_confirm)
        if no_confirm:
            print(f"mesh: {exactly(opened.spec)}", file=sys.stderr)
        print(f"arena {opened.spec.name} is open, version {opened.version}, base commit {short(opened.base_commit)}")

    return run(work)


@app.command
def close(*, arena: Arena = None, nats: Nats = None, text: str = "") -> int:
    """Close an arena: every process of it ends its work.

    Example: mesh close --arena digits
    """

    async def work() -> None:
        from mesh.errors import BadInput
        from mesh.events import ArenaClosed
        from mesh.wire import Post
        from mesh_cli.connect import board_of, reach

        async with reach(arena, nats) as bus:
            board = await board_of(bus)
            if board.opened is None or board.closed:
                raise BadInput(f"arena {bus.arena} is not open")
            event = ArenaClosed(version=board.opened.version, reason="operator", text=text)
            await bus.post(Post.new("operator", event))
            print(f"arena {bus.arena} is closed")

    return run(work)


def _found(given: Path) -> Path:
    """Return the folder of an arena, and say so where it is a new copy of one that comes with the mesh."""
    from mesh_cli.arenas import arena_folder

    folder, said = arena_folder(given)
    if said:
        print(f"mesh: {said}", file=sys.stderr)
    return folder

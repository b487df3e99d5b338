"""`mesh compact`: the code of retired proposals as few objects."""

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh_cli.app import ArenaOption, Nats, app
from mesh_cli.exit import run


@app.command
def compact(
    *,
    dry_run: Annotated[bool, Parameter(negative="", help="Only say what would be moved and what that frees.")] = False,
    wait: Annotated[
        float | None,
        Parameter(
            help="Seconds between writing and deleting, at least the server's sync interval; default: none where the "
            "server of this home syncs every post, 1.25 times its interval where it syncs later, else 150.",
            validator=Number(gte=0, lte=86_400),
        ),
    ] = None,
    arena: ArenaOption = None,
    nats: Nats = None,
) -> int:
    """Move the code of retired proposals into one object per thousand; no commit is lost, and the swarm goes on.

    Example: mesh compact --dry-run
    """

    async def work() -> None:
        from mesh_cli.connect import opened_board_of, reach
        from mesh_cli.history.compaction import movable, settle_s, words

        async with reach(arena, nats) as bus:
            names = movable(await opened_board_of(bus))
            pause_s = settle_s(nats) if wait is None else wait
            moved = await bus.group(names, settle_s=pause_s, only_count=dry_run)
            print(words(bus.arena, moved, only_count=dry_run))

    return run(work)

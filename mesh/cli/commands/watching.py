"""`mesh status` and `tail`: how an arena stands, and what is said on its board."""

import sys
from contextlib import aclosing
from typing import Annotated

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from mesh.cli.app import Arena, Json, Nats, app, print_json
from mesh.cli.run import run


@app.command
def status(*, arena: Arena = None, nats: Nats = None, json: Json = False) -> int:
    """Show how an arena stands.

    Example: mesh status --json
    """

    async def work() -> None:
        from mesh.cli.reach import board_of, reach

        async with reach(arena, nats) as bus:
            board = await board_of(bus)
        running = sum(1 for run in board.unfinished if board.runs[run].attempts)
        row = {
            "arena": board.arena,
            "version": board.opened.version if board.opened else 0,
            "state": "closed" if board.closed else "open",
            "seq": board.seq,
            "proposals": len(board.proposals),
            "runs_finished": len(board.runs) - len(board.unfinished),
            "runs_running": running,
            "runs_waiting": len(board.unfinished) - running,
            "champion": board.champion,
            "agents": len({m.name for m in board.agents.values() if not m.left}),
            "workers": len({m.name for m in board.workers.values() if not m.left}),
            "not_understood": board.unknown,
        }
        if json:
            print_json(row)
        else:
            print("\n".join(f"{name.replace('_', ' '):<15} {value}" for name, value in row.items()))

    return run(work)


@app.command
def tail(
    *,
    arena: Arena = None,
    nats: Nats = None,
    follow: Annotated[bool | None, Parameter(help="Wait for more; default: on a terminal.")] = None,
    n: Annotated[
        int, Parameter(name="-n", help="How many of the last entries to begin with.", validator=Number(gte=0))
    ] = 20,
    from_seq: Annotated[int | None, Parameter(help="Sequence to begin with, instead of -n.")] = None,
    kind: Annotated[str | None, Parameter(help="Only facts of this kind, such as run.finished.")] = None,
    author: Annotated[str | None, Parameter(help="Only what this author says.")] = None,
    json: Json = False,
) -> int:
    """Show the message board, following it on a terminal; every line begins with its sequence.

    Example: mesh tail --kind proposal.promoted --no-follow -n 1000
    """

    async def work() -> None:
        from mesh.cli.reach import reach
        from mesh.cli.text import line_of
        from mesh.errors import UnknownName
        from mesh.events import KINDS

        if kind is not None and kind not in KINDS:
            raise UnknownName(f"there is no fact of kind {kind!r}; kinds are {', '.join(KINDS)}")
        goes_on = sys.stdout.isatty() if follow is None else follow
        async with reach(arena, nats) as bus:
            head = await bus.head()
            after = max(0, head - n) if from_seq is None else max(0, from_seq - 1)
            batches = bus.read(after, follow=True) if goes_on else bus.read(after, until=head)
            async with aclosing(batches):
                async for batch in batches:
                    for entry in batch:
                        if kind not in (None, entry.subject.kind) or author not in (None, entry.subject.author):
                            continue
                        if json:
                            row = {"seq": entry.seq, "time": entry.time, "kind": entry.subject.kind}
                            row |= {"author": entry.subject.author, "post": entry.raw.decode("utf-8", "replace")}
                            if entry.post:
                                row["post"] = msgspec.to_builtins(entry.post)
                            print_json(row)
                        else:
                            print(line_of(entry))
                    sys.stdout.flush()

    return run(work, endless=True)

"""`mesh wait`: until a proposal has its score or its verdict."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from mesh_cli.app import ArenaOption, Json, Nats, app, print_json
from mesh_cli.exit import ExitCode, run


@app.command
def wait(
    proposal: Annotated[
        str, Parameter(help="The proposal; default: the last one of the checkout in this folder.", show_default=False)
    ] = "",
    *,
    until: Annotated[Literal["score", "verdict"], Parameter(name="--for", help="What to wait for.")] = "verdict",
    timeout: Annotated[
        str | None, Parameter(help="Stop waiting after this time, such as 50s or 10m; default: never.")
    ] = None,
    arena: ArenaOption = None,
    nats: Nats = None,
    json: Json = False,
) -> int:
    """Wait until a proposal has its first score, or is promoted or retired. Say it again to go on waiting.

    The exit code says what became of it: 0 promoted (with --for score: better than its parent), 10 not better or
    retired, 11 no score, 12 refused, 13 not decided in time, 14 the arena was closed before.

    Example: mesh wait 3dac44e3fb --for score --timeout 10m
    """
    ended = ExitCode.TIMED_OUT

    async def work() -> None:
        from gateway.checkout_folder import read_note
        from mesh.errors import BadInput
        from mesh.times import seconds
        from mesh_cli.proposals.waiting import EXIT_CODES, outcome_lines, waited

        nonlocal ended
        note = read_note(Path())
        word = proposal or (note.proposed if note else "")
        if not word:
            raise BadInput(
                "it is not known what to wait for; name a proposal, or run `mesh propose` in a checkout first"
            )
        where = arena or (note.arena if note else None)
        done = await waited(where, nats, word, until, None if timeout is None else seconds(timeout))
        ended = EXIT_CODES[done.ending]
        if json:
            print_json(done)
        else:
            print("\n".join(outcome_lines(done)))

    code = run(work)
    return code if code else ended

"""`mesh digest`: what has happened, for an agent to read."""

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh_cli.app import ArenaOption, Json, Nats, app, print_json
from mesh_cli.exit import run


@app.command
def digest(
    *,
    since: Annotated[
        int,
        Parameter(help="Tell what came after this sequence number; 0 also tells the task.", validator=Number(gte=0)),
    ] = 0,
    max_tokens: Annotated[int, Parameter(help="Print at most this many tokens, 200 to 8000.")] = 2000,
    arena: ArenaOption = None,
    nats: Nats = None,
    name: Annotated[str, Parameter(help="Tell first what became of this author's proposals.")] = "",
    json: Json = False,
) -> int:
    """Tell what happened since a sequence number, most important first, in few tokens; the last line is how to go on.

    Example: mesh digest --since 120 --max-tokens 1000
    """

    async def work() -> None:
        from gateway.news import news
        from mesh_cli.connect import reach_door

        async with reach_door(arena, nats) as door:
            told = await news(door, since, max_tokens=max_tokens, author=name)
        if json:
            print_json(told)
        else:
            print(told.text)

    return run(work)

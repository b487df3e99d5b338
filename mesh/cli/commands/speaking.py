"""`mesh post`: what people say on the board."""

import sys
from typing import Annotated

from cyclopts import Parameter

from mesh.cli.app import Arena, Nats, app
from mesh.cli.run import run


@app.command
def post(
    channel: str,
    text: Annotated[str, Parameter(allow_leading_hyphen=True)],
    *,
    arena: Arena = None,
    nats: Nats = None,
    name: Annotated[str, Parameter(help="Who says it.")] = "operator",
) -> int:
    """Post a note to a channel of the board; the text `-` is read from standard input.

    Example: mesh post general "try a longer warmup"
    """
    body = sys.stdin.buffer.read().decode("utf-8", "replace") if text == "-" else text

    async def work() -> None:
        from mesh.cli.reach import reach
        from mesh.events import NotePosted
        from mesh.wire import Post, check_token

        check_token("channel", channel)
        async with reach(arena, nats) as bus:
            print(await bus.post(Post.new(name, NotePosted(channel=channel, text=body))))

    return run(work)

"""`mesh post` and `reply`: notes on the board."""

from typing import Annotated

from cyclopts import Parameter

from mesh_cli.app import ArenaOption, Nats, app
from mesh_cli.exit import run

Text = Annotated[
    str | None, Parameter(allow_leading_hyphen=True, help="The text; with - or without it, read standard input.")
]


_Name = Annotated[str, Parameter(help="Author of the note.")]


@app.command
def post(
    channel: str, text: Text = None, *, arena: ArenaOption = None, nats: Nats = None, name: _Name = "operator"
) -> int:
    """Post a note of at most 256 KiB to a channel and print its sequence number.

    Example: mesh post general "try a longer warmup"
    """
    from mesh_cli.board.notes import text_of

    words = text_of(text)

    async def work() -> None:
        from mesh.events import NotePosted
        from mesh.wire import Post, check_token
        from mesh_cli.connect import reach

        check_token("channel", channel)
        note = Post.new(name, NotePosted(channel=channel, text=words))
        async with reach(arena, nats) as bus:
            print(await bus.post(note))

    return run(work)


@app.command
def reply(
    seq: int,
    text: Text = None,
    *,
    channel: Annotated[
        str | None, Parameter(help="Post to this channel; default: the channel of the note, else general.")
    ] = None,
    arena: ArenaOption = None,
    nats: Nats = None,
    name: _Name = "operator",
) -> int:
    """Reply to the entry with this sequence number: to a note in its channel, to any other entry in general.

    Example: mesh reply 12 "agreed, on two more seeds"
    """
    from mesh_cli.board.notes import text_of

    words = text_of(text)

    async def work() -> None:
        from gateway.note import answer_to
        from mesh.wire import Post, check_token
        from mesh_cli.connect import reach

        if channel is not None:
            check_token("channel", channel)
        async with reach(arena, nats) as bus:
            event, cause = await answer_to(bus, seq, words, channel)
            print(await bus.post(Post.new(name, event, cause=cause)))

    return run(work)

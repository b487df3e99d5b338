"""`mesh post` and `reply`: notes on the board."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mesh_cli.app import ArenaOption, AuthorOption, Json, Nats, app, print_json
from mesh_cli.exit import run

if TYPE_CHECKING:
    from mesh.wire import Post

Text = Annotated[
    str | None, Parameter(allow_leading_hyphen=True, help="The text; with - or without it, read standard input.")
]


@app.command
def post(
    channel: str,
    text: Text = None,
    *,
    arena: ArenaOption = None,
    nats: Nats = None,
    name: AuthorOption = None,
    json: Json = False,
) -> int:
    """Post a note of at most 256 KiB to a channel and print its sequence number.

    Example: mesh post general "try a longer warmup"
    """
    from mesh_cli.board.notes import text_of

    words = text_of(text)

    async def work() -> None:
        from mesh.events import NotePosted
        from mesh.wire import Post, check_token
        from mesh_cli.connect import own_author, reach

        check_token("channel", channel)
        note = Post.new(own_author(name, nats), NotePosted(channel=channel, text=words))
        async with reach(arena, nats) as bus:
            _tell(bus.arena, await bus.post(note), note, as_json=json)

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
    name: AuthorOption = None,
    json: Json = False,
) -> int:
    """Reply to the entry with this sequence number: to a note in its channel, to any other entry in general.

    Example: mesh reply 12 "agreed, on two more seeds"
    """
    from mesh_cli.board.notes import text_of

    words = text_of(text)

    async def work() -> None:
        from gateway.note import answer_to
        from mesh.wire import Post, check_token
        from mesh_cli.connect import own_author, reach

        if channel is not None:
            check_token("channel", channel)
        async with reach(arena, nats) as bus:
            event, cause = await answer_to(bus, seq, words, channel)
            note = Post.new(own_author(name, nats), event, cause=cause)
            _tell(bus.arena, await bus.post(note), note, as_json=json)

    return run(work)


def _tell(arena: str, seq: int, note: "Post", *, as_json: bool) -> None:
    from mesh.events import NotePosted

    if not as_json:
        print(seq)
        return
    assert isinstance(note.event, NotePosted)
    channel, reply_to = note.event.channel, note.event.reply_to
    print_json({"arena": arena, "posted": seq, "author": note.author, "channel": channel, "reply_to": reply_to})

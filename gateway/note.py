"""`note` and `reply`: words on the board, posted once also where a call that was cut off is said again.

The same text of the same author in the same place, said again within ten minutes, is one note; for an hour, it may be.
"""

import hashlib
from contextlib import aclosing

from msgspec.structs import replace

from gateway.answers import Noted, closed_words
from gateway.door import Door
from gateway.refusals import check_open, check_text
from mesh.bus import Bus
from mesh.errors import AlreadyPosted, UnknownName
from mesh.events import NotePosted
from mesh.wire import Pattern, Post, check_token

GENERAL = "general"
"""The channel of replies to anything but a note."""

NOTE_BYTES = 32 * 1024
"""Bytes of a note that somebody posts through a door."""

_ONE_NOTE_S, _SURELY_S = 3600, 600


async def note(
    door: Door, text: str, *, author: str, channel: str = GENERAL, about: str = "", once: bool = True
) -> Noted:
    """Post a note, and return it once the board has it.

    Args:
        door: The arena.
        text: The note.
        author: Who writes, as the log names them.
        channel: The channel.
        about: What the note is about, as a word that names a proposal, run or entry; "" is nothing in particular.
        once: Whether the same text that was just posted is that note, rather than another one.

    Raises:
        ArenaIsClosed: The arena takes no notes.
        BadInput: It is refused; nothing was posted.
        UnknownName: There is nothing of the name `about`.
        BusError: The log cannot be reached.
    """
    _check(door, author)
    check_token("channel", channel)
    event = NotePosted(channel=channel, text=check_text("the note", text, NOTE_BYTES))
    cause = ""
    if about:
        event, cause = await answer_to(door.bus, door.entry(about), event.text, channel)
    return await _posted(door, event, author, cause, once=once)


async def reply(door: Door, seq: int, text: str, *, author: str, once: bool = True) -> Noted:
    """Answer an entry of the log: a note in its channel, anything else in `general`; otherwise as `note`.

    Raises:
        UnknownName: There is no such entry.
    """
    _check(door, author)
    event, cause = await answer_to(door.bus, seq, check_text("the note", text, NOTE_BYTES), None)
    return await _posted(door, event, author, cause, once=once)


async def answer_to(bus: Bus, seq: int, text: str, channel: str | None) -> tuple[NotePosted, str]:
    """Return the note that answers entry `seq`, and the id of the post that it answers.

    Args:
        bus: The log.
        seq: The entry.
        text: The answer.
        channel: Where the answer goes; None is the channel of the note that is answered, else `general`.

    Raises:
        UnknownName: There is no such entry.
    """
    head = await bus.head()
    if not 0 < seq <= head:
        raise UnknownName(f"arena {bus.arena} has no entry {seq}; use 1 to {head}")
    cause = ""
    for entry in await bus.entries([seq]):
        if entry.post:
            cause = entry.post.id
            if isinstance(entry.post.event, NotePosted) and channel is None:
                channel = entry.post.event.channel
    return NotePosted(channel=channel or GENERAL, text=text, reply_to=seq), cause


def _check(door: Door, author: str) -> None:
    check_token("name", author)
    check_open(door.board, "notes")


async def _posted(door: Door, event: NotePosted, author: str, cause: str, *, once: bool) -> Noted:
    post = Post.new(author, event, cause=cause)
    is_new, seq = True, await _earlier(door.bus, post) if once else 0
    if seq:
        is_new = False
    elif once:
        seq = await _post_as(door.bus, replace(post, id=_id(door.bus.arena, post)))
        [entry] = await door.bus.entries([seq])
        is_new = entry.post is not None and entry.post.at == post.at
        if entry.subject.author != author:  # somebody has guessed the id: it is of no use any more
            is_new, seq = True, await door.bus.post(post)
    else:
        seq = await door.bus.post(post)
    board = await door.folded(seq)
    return Noted(
        arena=board.arena,
        seq=board.seq,
        closed=closed_words(board),
        posted=seq,
        author=author,
        channel=event.channel,
        reply_to=event.reply_to,
        is_new=is_new,
    )


async def _post_as(bus: Bus, post: Post) -> int:
    """Post a note with an id that others may have too; return the entry that has the id."""
    try:
        return await bus.post(post)
    except AlreadyPosted as already:
        if not already.seq:
            raise
        return already.seq


async def _earlier(bus: Bus, post: Post) -> int:
    """Return the entry of this note from the end of the last span of time, 0 without one."""
    if post.at.timestamp() % _ONE_NOTE_S >= _SURELY_S:
        return 0
    wanted = Pattern(kind="note.posted", key=_id(bus.arena, post, ago=1), author=post.author)
    async with aclosing(bus.read(only=[wanted])) as batches:
        async for batch in batches:
            return batch[0].seq
    return 0


def _id(arena: str, post: Post, ago: int = 0) -> str:
    """Return the id of a note: the same for equal notes in a span of time, or in one some spans ago."""
    event, span = post.event, int(post.at.timestamp()) // _ONE_NOTE_S - ago
    assert isinstance(event, NotePosted)
    words = f"{span} {arena} {post.author} {event.channel} {event.reply_to or 0} {event.text}"
    return hashlib.sha256(words.encode()).hexdigest()[:32]

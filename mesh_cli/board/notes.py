"""The text of `mesh post` and `reply`, from an argument or a pipe, and the entry that it answers."""

import sys
from contextlib import aclosing

from mesh.bus import Bus
from mesh.errors import BadInput, UnknownName
from mesh.events import NotePosted
from mesh.wire import MAX_POST_BYTES

GENERAL = "general"
"""The channel of replies to anything but a note."""


def text_of(text: str | None) -> str:
    """Return the text, or standard input for `-` or None, without line breaks at the end.

    Raises:
        BadInput: the text is empty or too long.
    """
    if text is None or text == "-":
        if sys.stdin is None or (text is None and sys.stdin.isatty()):
            raise BadInput("there is no text; give it as an argument or through a pipe")
        data = sys.stdin.buffer.read(MAX_POST_BYTES + 1)
        if len(data) > MAX_POST_BYTES:
            raise BadInput(f"the text is longer than {MAX_POST_BYTES:,} bytes; shorten it")
        text = data.decode("utf-8", "replace").rstrip("\r\n")
    if not text.strip():
        raise BadInput("the text is empty; write at least one character")
    return text


async def answer_to(bus: Bus, seq: int, text: str, channel: str | None) -> tuple[NotePosted, str]:
    """Return the note that answers entry `seq`, and the id of the post that it answers.

    Raises:
        UnknownName: there is no such entry.
    """
    head = await bus.head()
    if not 0 < seq <= head:
        raise UnknownName(f"arena {bus.arena} has no entry {seq}; use 1 to {head}")
    cause = ""
    async with aclosing(bus.read(seq - 1, until=seq)) as batches:
        async for batch in batches:
            for entry in batch:
                if entry.post:
                    cause = entry.post.id
                    if isinstance(entry.post.event, NotePosted) and channel is None:
                        channel = entry.post.event.channel
    return NotePosted(channel=channel or GENERAL, text=text, reply_to=seq), cause

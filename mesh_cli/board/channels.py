"""The channels of an arena's board: how many notes each has, how many of them this user has not read."""

from contextlib import aclosing
from typing import Any

from mesh.bus import Bus
from mesh.events import NotePosted
from mesh.text import printable
from mesh.wire import Pattern
from mesh_cli.board.read_marks import Marks
from mesh_cli.render.columns import Column

COLUMNS = [
    Column("channel"),
    Column("unread", right=True),
    Column("notes", right=True, rank=2),
    Column("last", right=True, rank=1),
    Column("time (UTC)", rank=3),
    Column("author", rank=4),
    Column("text", fills=True),
]


async def channels_of(bus: Bus, marks: Marks) -> list[dict[str, Any]]:
    """Return a row for each channel, the one with the latest note first; only notes are read."""
    rows: dict[str, dict[str, Any]] = {}
    async with aclosing(bus.read(only=[Pattern(kind="note.posted")])) as batches:
        async for batch in batches:
            for entry in batch:
                event = entry.post.event if entry.post else None
                if not entry.post or not isinstance(event, NotePosted):
                    continue
                row = rows.setdefault(event.channel, {"channel": event.channel, "unread": 0, "notes": 0})
                row["notes"] += 1
                row["unread"] += entry.seq > marks.of(event.channel)
                row |= {"last": entry.seq, "time": entry.time, "author": entry.post.author, "text": event.text}
    return sorted(rows.values(), key=lambda row: -int(row["last"]))


def channel_cells(row: dict[str, Any]) -> list[str]:
    """Return a row as the cells of `COLUMNS`."""
    numbers = [str(row[name]) for name in ("unread", "notes", "last")]
    time = row["time"].strftime("%m-%d %H:%M")
    return [printable(row["channel"], 40), *numbers, time, printable(row["author"], 20), printable(row["text"])]

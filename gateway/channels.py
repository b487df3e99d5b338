"""The channels of an arena's message board as a gateway knows them: names, order and replies, without the texts."""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from gateway.log_index import LogIndex
from mesh.events import ChannelOpened, NotePosted
from mesh.wire import Entry

MOST_CHANNELS = 100
"""Channels that may be opened in one arena."""


class Channel(msgspec.Struct):
    """A channel: opened by name, or one in which somebody posted a note. `id` is the sequence of its first entry."""

    id: int
    name: str
    created_at: str
    description: str = ""
    is_opened: bool = False
    notes: "array[int]" = msgspec.field(default_factory=lambda: array("q"))


class ChannelIndex(LogIndex):
    """All channels of an arena in the order of the log, and the notes of each by sequence."""

    kinds: ClassVar[tuple[str, ...]] = ("note.posted", "channel.opened")

    def __init__(self) -> None:
        self.channels: dict[str, Channel] = {}
        self.opened = 0
        self._replies: dict[int, array[int]] = {}

    def take(self, entry: Entry) -> None:
        event = entry.post.event if entry.post else None
        if isinstance(event, ChannelOpened):
            channel = self._channel(event.name, entry)
            if not channel.is_opened and self.opened < MOST_CHANNELS:
                channel.is_opened, channel.description = True, event.description
                self.opened += 1
        elif isinstance(event, NotePosted):
            self._channel(event.channel, entry).notes.append(entry.seq)
            if event.reply_to:
                self._replies.setdefault(event.reply_to, array("q")).append(entry.seq)

    def listed(self) -> list[Channel]:
        """Return the channels, the oldest first."""
        return [channel for channel in self.channels.values() if channel.is_opened or channel.notes]

    def find(self, name: str) -> Channel | None:
        """Return a channel that was opened, or has notes; None without one."""
        found = self.channels.get(name)
        return found if found and (found.is_opened or found.notes) else None

    def of_note(self, seq: int) -> Channel | None:
        """Return the channel of a note; None if entry `seq` is not a note."""
        return next((channel for channel in self.channels.values() if has(channel.notes, seq)), None)

    def replies(self, seq: int) -> Sequence[int]:
        """Return the sequences of the replies to a note, the oldest first."""
        return self._replies.get(seq, ())

    def _channel(self, name: str, entry: Entry) -> Channel:
        at = entry.time.strftime("%Y-%m-%dT%H:%M:%SZ")
        return self.channels.setdefault(name, Channel(entry.seq, name, at))


def has(notes: "array[int]", seq: int) -> bool:
    """Return whether a sequence is among sorted ones."""
    place = bisect_left(notes, seq)
    return place < len(notes) and notes[place] == seq

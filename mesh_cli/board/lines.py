"""Entries as lines of `mesh tail`, `top` and `up`: sequence, time, author, a sign for the kind, and words.

All text from the log goes through `printable`. Replies name the post that they answer; of those, the last `KEPT` are
remembered, others are read from the log.
"""

import datetime as dt
from collections import OrderedDict
from contextlib import aclosing

from mesh import events as e
from mesh.bus import Bus
from mesh.text import printable
from mesh.wire import Entry
from mesh_cli.render.colour import Ink
from mesh_cli.render.words import say

_KEPT = 2000
QUOTED = 40
"""Characters of a post that are shown with a reply to it."""

_SIGNS = {
    "arena.opened": "▣",
    "arena.closed": "▢",
    "agent.joined": "+",
    "worker.joined": "+",
    "agent.left": "-",
    "worker.left": "-",
    "proposal.posted": "◆",
    "run.requested": "·",
    "run.started": "▸",
    "run.killed": "✂",
    "proposal.promoted": "★",
    "proposal.retired": "☆",
    "note.posted": "≡",
    "model.asked": "?",
    "budget.granted": "$",
}
_MEANINGS = {"proposal.promoted": "star", "run.killed": "warn", "model.asked": "warn"}


def entry_words(entry: Entry) -> str:
    """Return the words of an entry, not yet safe for a terminal."""
    if entry.post is None:
        return f"{entry.subject.kind} (not understood)"
    event = entry.post.event
    hint = f" (mesh show {entry.seq} --answer)" if isinstance(event, e.ModelAsked) and event.call else ""
    return f"{say(event)}{hint}"


def author_of(entry: Entry) -> str:
    """Return the author of an entry, safe for a terminal."""
    return printable(entry.post.author if entry.post else entry.subject.author, 20)


def sign_of(entry: Entry) -> tuple[str, str]:
    """Return the sign of an entry and what it means: good, bad, warn, star or nothing."""
    match entry.post.event if entry.post else None:
        case e.RunFinished(outcome=e.Scored()):
            return "✔", "good"
        case e.RunFinished(outcome=e.Failed(reason="killed")):
            return "✂", "warn"
        case e.RunFinished():
            return "✘", "bad"
        case e.CritiquePosted(verdict=verdict):
            return {"endorse": ("✓", "good"), "warn": ("!", "warn"), "block": ("✗", "bad")}[verdict]
        case None:
            return "¿", "warn"
    kind = entry.subject.kind
    return _SIGNS.get(kind, " "), _MEANINGS.get(kind, "")


def clock(time: dt.datetime, now: dt.datetime | None) -> str:
    """Return a time in UTC: on a screen (`now` is known) short, with the date where it is another; else in full."""
    if now is None:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ")
    return time.strftime("%H:%M:%S" if time.date() == now.date() else "%m-%d %H:%M")


class Lines:
    """Draws entries as lines; `screen` says that a person reads them as they come."""

    def __init__(self, ink: Ink, *, screen: bool) -> None:
        self._ink, self._screen = ink, screen
        self._quotes: OrderedDict[int, str] = OrderedDict()

    def line(self, entry: Entry) -> str:
        """Return an entry as one line; a reply to an entry that is not remembered quotes it as "?"."""
        author = author_of(entry)
        sign, meaning = sign_of(entry)
        words = printable(entry_words(entry))
        event = entry.post.event if entry.post else None
        self.remember(entry)
        if isinstance(event, e.NotePosted) and event.reply_to is not None:
            thread = self._ink.dim(f"↳ to #{event.reply_to} {self._quotes.get(event.reply_to, '?')}")
            words = f"#{printable(event.channel, 40)} {thread} │ {printable(event.text)}"
        now = dt.datetime.now(dt.UTC) if self._screen else None
        begin = self._ink.dim(f"{entry.seq:>6} {clock(entry.time, now)}")
        return f"{begin} {self._ink.by(author, f'{author:<14}')} {self._ink.sign(meaning, sign)} {words}"

    async def line_from(self, bus: Bus, entry: Entry) -> str:
        """Return an entry as one line; what it answers is read from the log where it is not remembered."""
        event = entry.post.event if entry.post else None
        answered = event.reply_to if isinstance(event, e.NotePosted) else None
        if answered is not None and answered not in self._quotes and 0 < answered < entry.seq:
            async with aclosing(bus.read(answered - 1, until=answered)) as batches:
                async for batch in batches:
                    for found in batch:
                        self.remember(found)
        return self.line(entry)

    def remember(self, entry: Entry) -> None:
        """Keep the author and the first words of an entry, for replies to it."""
        event = entry.post.event if entry.post else None
        words = event.text if isinstance(event, e.NotePosted) else entry_words(entry)
        first = printable(words[: QUOTED + 1])
        cut = f"{first[:QUOTED].rstrip()}…" if len(first) > QUOTED else first
        self._quotes[entry.seq] = f"{author_of(entry)}: {cut}"
        while len(self._quotes) > _KEPT:
            self._quotes.popitem(last=False)

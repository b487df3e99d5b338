"""An entry of the log as a client sees it."""

import datetime as dt

import msgspec

from mesh.events import AnyEvent
from mesh.wire import Entry


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A fact in the log: its entry, the server's time, its author, its kind such as `run.finished`, and what it says.

    `id` names the post, and `cause` the post that led to it, "" if there is none, or if a hub does not tell.
    """

    seq: int
    at: dt.datetime
    author: str
    kind: str
    event: AnyEvent
    id: str = ""
    cause: str = ""


def log_entry(entry: Entry) -> LogEntry | None:
    """Return an entry for a client; None if it cannot be decoded."""
    post = entry.post
    if post is None:
        return None
    return LogEntry(
        seq=entry.seq,
        at=entry.time,
        author=post.author,
        kind=post.kind,
        event=post.event,
        id=post.id,
        cause=post.cause,
    )

"""`wait` for an agent between two ideas: until something happens after an entry of the log that concerns it.

Every call is short; say it again with `since=next` to go on. Nothing is lost between two calls.
"""

from collections.abc import Sequence
from contextlib import aclosing

import anyio
import msgspec

from gateway.answers import News, closed_words
from gateway.door import Door
from gateway.news import news
from gateway.wait import LONGEST_S
from mesh.board import Board
from mesh.errors import BadInput
from mesh.events import (
    KINDS,
    ArenaClosed,
    ArenaOpened,
    CritiquePosted,
    NotePosted,
    ProposalPromoted,
    ProposalRetired,
    RunFinished,
)
from mesh.text import printable
from mesh.wire import Entry, Pattern

_CONCERN = (
    "arena.opened",
    "arena.closed",
    "proposal.promoted",
    "proposal.retired",
    "run.finished",
    "critique.posted",
    "note.posted",
)
_SHOWN = 20


class WakingFact(msgspec.Struct, frozen=True):
    """An entry that ended a wait; `about` is the proposal that it is about, "" for none."""

    seq: int
    kind: str
    author: str
    about: str


class NewsAwaited(News, frozen=True, kw_only=True):
    """What has happened after entry `since`, and what of it ended the wait: nothing, if the time was over before."""

    woken_by: tuple[WakingFact, ...]


async def await_news(
    door: Door,
    since: int,
    *,
    seconds: float = 25.0,
    kinds: Sequence[str] = (),
    author: str = "",
    max_tokens: int = 1500,
    go_on: str = "",
) -> NewsAwaited:
    """Return what has happened after an entry, once there is something, or when the time is over.

    Args:
        door: The arena.
        since: The entry.
        seconds: The longest time to wait, at most `LONGEST_S`.
        kinds: Kinds of facts to wait for, of any author but this one; without any, what concerns the author: scores,
            verdicts and doubts of its proposals, new champions, notes of people, the end of the arena.
        author: Who waits, as the log names them.
        max_tokens: As for `news`.
        go_on: As for `news`.

    Raises:
        BadInput: A number is out of range, or there is no such kind.
        BusUnavailable: The log cannot be reached.
    """
    board = door.board
    if not 0 <= since <= board.seq:
        raise BadInput(f"arena {board.arena} has no entry {since}; use 0 to {board.seq}")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise BadInput(f"{printable(unknown[0], 60)!r} is not a kind of fact; use some of {', '.join(sorted(KINDS))}")
    wanted = [Pattern(kind=kind) for kind in dict.fromkeys(kinds or _CONCERN)]
    found, seen = await _found(door, since, wanted, author, is_any=bool(kinds))
    if not found and not board.closed:  # nothing concerns anybody any more there
        with anyio.move_on_after(min(seconds, LONGEST_S)):
            async with aclosing(door.bus.read(seen, follow=True, only=wanted)) as batches:
                async for batch in batches:
                    await door.follower.reached(batch[-1].seq)
                    if any(_counts(door.board, entry, author, is_any=bool(kinds)) for entry in batch):
                        break
        found, seen = await _found(door, seen, wanted, author, is_any=bool(kinds))
    if found:
        told = await news(door, since, max_tokens=max_tokens, author=author, go_on=go_on)
        if told.seq > seen:  # what came meanwhile stands in the news as well
            found += (await _found(door, seen, wanted, author, is_any=bool(kinds), until=told.seq))[0]
        woken_by = tuple(_fact(door.board, entry) for entry in found[:_SHOWN])
        return NewsAwaited(**{name: getattr(told, name) for name in told.__struct_fields__}, woken_by=woken_by)
    board = door.board
    return NewsAwaited(
        arena=board.arena,
        seq=board.seq,
        closed=closed_words(board),
        since=since,
        next=seen,
        tokens=0,
        left_out=0,
        text="",
        woken_by=(),
    )


async def _found(
    door: Door, since: int, wanted: Sequence[Pattern], author: str, *, is_any: bool, until: int = 0
) -> tuple[list[Entry], int]:
    """Return the entries after `since` that end the wait, and up to which entry all were seen."""
    until, found = until or door.board.seq, []
    async with aclosing(door.bus.read(since, until=until, only=wanted)) as batches:
        async for batch in batches:
            found += [entry for entry in batch if _counts(door.board, entry, author, is_any=is_any)]
            if len(found) >= _SHOWN:
                break
    return found, until


def _counts(board: Board, entry: Entry, author: str, *, is_any: bool) -> bool:
    """Tell whether an entry ends the wait of an author."""
    if entry.post is None or entry.seq in board.void or entry.post.author == author:
        return False
    event = entry.post.event
    if is_any or isinstance(event, ArenaOpened | ArenaClosed | ProposalPromoted):
        return True
    if isinstance(event, NotePosted):
        return not any(each.name == entry.post.author for each in [*board.agents.values(), *board.workers.values()])
    if isinstance(event, CritiquePosted) and event.verdict == "endorse":
        return False
    known = board.proposals.get(_about(board, entry))
    return bool(author and known and known.author == author)


def _fact(board: Board, entry: Entry) -> WakingFact:
    assert entry.post is not None
    return WakingFact(entry.seq, entry.post.kind, entry.post.author, _about(board, entry))


def _about(board: Board, entry: Entry) -> str:
    """Return the proposal that an entry is about, "" for none."""
    event = entry.post.event if entry.post else None
    if isinstance(event, ProposalPromoted | ProposalRetired):
        return event.proposal
    if isinstance(event, RunFinished | CritiquePosted):
        name = event.run if isinstance(event, RunFinished) else event.target
        return board.runs[name].requested.proposal if name in board.runs else name
    return str(getattr(event, "proposal", "") or getattr(event, "tree", ""))

"""A board of the few facts that a command needs, which a projector picks out of a long log.

The facts are folded as those of the whole log are, so that one rule says what they mean. What such a board has is as on
the whole board; what it lacks (other proposals and runs, their counts and sums) has to be asked for in SQL.

Every excerpt has the openings, the members, the champions and what is ruled out.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec

from mesh.board import Board
from mesh.events import AnyEvent
from mesh.wire import Entry, Post, Subject
from mesh_cli.projected.asking import Projector, Row, Unanswered

MOST_FACTS = 20_000
"""Facts of an excerpt; with more of them, folding the log is no slower."""
MOST_PROVEN = 100_000
"""Facts of an excerpt with all proofs: folding them is sooner than folding a log that has so many."""
_AT_ONCE = 4000
"""Facts of one query; the length of a query is bounded."""
_MOST_RANGES = 32
_NO_PROPOSAL, _NO_RUN = "SELECT NULL::VARCHAR AS proposal", "SELECT NULL::VARCHAR AS run"
_EVENT: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def sequences(
    projector: Projector, *, trees: str = "", relatives: str = "", runs: str = "", queue: bool = False
) -> str:
    """Return the query for the sequences of the facts of an excerpt, in the column `seq`.

    Args:
        projector: The projector.
        trees: A query for proposals that come with their runs and all critiques, in the column `proposal`.
        relatives: A query for proposals that come without their runs.
        runs: A query for runs that come with what became of them, in the column `run`.
        queue: With the runs that are not finished, and the latest ones.
    """
    return projector.sql(
        "facts",
        trees=trees or _NO_PROPOSAL,
        relatives=relatives or _NO_PROPOSAL,
        runs=runs or _NO_RUN,
        queue=projector.sql("queue") if queue else _NO_RUN,
    )


async def excerpt(
    projector: Projector, found: list[Row], *, seq: int, whole: bool = False, most: int = MOST_FACTS
) -> Board:
    """Return the board of the facts with these sequences.

    Args:
        projector: The projector.
        found: Rows with the column `seq`.
        seq: The entry that the board is of.
        whole: With learning curves and the ends of the logs of trials.
        most: How many facts at most.

    Raises:
        BusUnavailable: No projector answers.
        Unanswered: It cannot say it, or there are too many facts.
    """
    wanted = sorted({int(row["seq"]) for row in found})
    if len(wanted) > most:
        raise Unanswered
    board = Board(arena=projector.arena)
    asked = wanted if seq in wanted else [*wanted, seq]
    for start in range(0, len(asked), _AT_ONCE):
        part = asked[start : start + _AT_ONCE]
        seqs = ", ".join(map(str, part))
        sql = projector.sql("bodies", seqs=seqs, ranges=_ranges(part), whole=whole)
        for row in await projector.rows(sql):
            entry = _entry(projector.arena, row)
            if entry.seq == seq:
                board.time = entry.time
            if entry.seq != seq or seq in wanted:
                board.fold(entry)
    board.seq = seq
    return board


def _ranges(seqs: Sequence[int]) -> str:
    """Return a condition that these sorted sequences meet, and few others: ranges between the widest gaps."""
    gaps = sorted(range(1, len(seqs)), key=lambda place: seqs[place - 1] - seqs[place])[: _MOST_RANGES - 1]
    starts = [0, *sorted(gaps)]
    ranges = [(seqs[first], seqs[last - 1]) for first, last in zip(starts, [*starts[1:], len(seqs)], strict=True)]
    return " OR ".join(f"seq BETWEEN {first} AND {last}" for first, last in ranges)


def _entry(arena: str, row: list[Any]) -> Entry:
    seq, time, name, posted_at, author, kind, key, cause, body = row
    post = Post(id=name, at=_utc(posted_at), author=author, cause=cause, event=_EVENT.decode(body))
    return Entry(seq, _utc(time), Subject(arena, kind, key, author), post, b"")


def _utc(microseconds: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(microseconds=microseconds)

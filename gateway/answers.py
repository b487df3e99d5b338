"""What the functions of the gateway answer; text of other people in it is fenced and capped.

Every answer has `seq`, the entry of the log that it is as of, and `closed`, why the arena is closed ("": it is open).
"""

from typing import Literal

import msgspec

from mesh.admission_order import QueuePlace
from mesh.board import Board
from mesh.data_marks import fence_of, fenced, tame

MOST_QUOTED = 600
"""Characters of one text of somebody else in an answer."""

OutcomeWord = Literal["", "better", "promoted", "not_better", "retired", "no_score", "refused", "closed"]
"""What became of a proposal; "" as long as that is open."""


class DoorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer has: the arena, the entry that it is as of, and why the arena is closed, "" if it is open."""

    arena: str
    seq: int
    closed: str


class CheckedOut(DoorAnswer, frozen=True, kw_only=True):
    """A proposal in a folder: what may change there, and what was written and deleted.

    `left_out` are files of the proposal that would instruct tools in the folder, and are not written.
    """

    proposal: str
    commit: str
    title: str
    folder: str
    editable: tuple[str, ...]
    written: tuple[str, ...]
    deleted: tuple[str, ...]
    left_out: tuple[str, ...]


class Proposed(DoorAnswer, frozen=True, kw_only=True):
    """A proposal that is in the log as entry `posted`, and its place.

    `known_by` is who has proposed these files before, "" if this call, or an earlier one of the same author, did.
    """

    proposal: str
    posted: int
    author: str
    title: str
    parent: str
    is_new: bool
    known_by: str
    queue: QueuePlace
    next: str


class Outcome(DoorAnswer, frozen=True, kw_only=True):
    """How a proposal fares: where it is in the queue, its score, the parent's, its verdict, and how that ends a wait.

    `mean` and `gain` (over the first parent) are in units of the metric, None as long as they are not known. `why` is
    text of others.
    """

    proposal: str
    posted: int
    author: str
    state: str
    ending: OutcomeWord
    queue: QueuePlace
    metric: str
    mean: float | None
    low: float | None
    high: float | None
    fresh: int
    parent: str
    parent_mean: float | None
    gain: float | None
    champion: str
    why: str


class News(DoorAnswer, frozen=True, kw_only=True):
    """What has happened after entry `since`, as text; ask for what follows with `since=next`."""

    since: int
    next: int
    tokens: int
    left_out: int
    text: str


class Applied(DoorAnswer, frozen=True, kw_only=True):
    """A proposal in the folder of its arena: the files that differed, and those with changes of their owner.

    `is_written` says whether they were written, or only shown.
    """

    proposal: str
    folder: str
    files: tuple[str, ...]
    kept: tuple[str, ...]
    is_written: bool


def applied(
    board: Board, tree: str, folder: str, files: tuple[str, ...], kept: tuple[str, ...], *, is_written: bool
) -> Applied:
    """Return what `mesh apply` has done, as of a board."""
    return Applied(
        arena=board.arena,
        seq=board.seq,
        closed=closed_words(board),
        proposal=tree,
        folder=folder,
        files=files,
        kept=kept,
        is_written=is_written,
    )


def closed_words(board: Board) -> str:
    """Return why an arena is closed, "" if it is open."""
    return board.closed.reason if board.closed else ""


def quote_of(board: Board, author: str, text: str) -> str:
    """Return text of somebody else on one board between marks, with its author; "" without any text."""
    cut = tame(text)[:MOST_QUOTED]
    return fenced(f"by {tame(author)}:", cut, fence_of(board, [author, text])) if cut.strip() else ""

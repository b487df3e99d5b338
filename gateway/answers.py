"""What the functions of the gateway answer; text of other people in it is fenced and capped.

Every answer has `seq`, the entry of the log that it is as of, and `closed`, why the arena is closed ("": it is open).
"""

from typing import Any, Literal

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


class ArenaStatus(DoorAnswer, frozen=True, kw_only=True):
    """How an arena is: its best score, its queue, who is there by the log, and what it has cost.

    Scores are in units of the metric, None as long as they are not known. `paused` says in text of others why the
    search is paused, "" if it is not.
    """

    version: int
    summary: str
    metric: str
    direction: str
    champion: str
    mean: float | None
    low: float | None
    high: float | None
    baseline: str
    baseline_mean: float | None
    gain: float | None
    proposals: int
    undecided: int
    runs_finished: int
    runs_running: int
    runs_waiting: int
    agents: int
    workers: int
    slots: int
    tokens: int
    usd: float
    paused: str


class LeaderRow(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal on the leaderboard; the fields are those of `mesh.leaderboard`, `title` is text of its author."""

    rank: int
    proposal: str
    author: str
    state: str
    mean: float
    low: float | None
    high: float | None
    fresh: int
    title: str


class Leaders(DoorAnswer, frozen=True, kw_only=True):
    """The first rows of the leaderboard, best first; `left_out` is how many more there are."""

    metric: str
    direction: str
    rows: tuple[LeaderRow, ...]
    left_out: int


class Shown(DoorAnswer, frozen=True, kw_only=True):
    """One thing of an arena: what it is, its name, and what is known about it; texts of others stand in fences.

    `others` is how many other things have a name that starts with the same word. `more` says what was left out and how
    to get it, "" if nothing was.
    """

    kind: str
    id: str
    about: dict[str, Any]
    others: int
    more: str


class FamilyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal in a lineage; `gain` is over the best of its parents, `depth` the steps from the one asked about."""

    proposal: str
    depth: int
    parents: tuple[str, ...]
    author: str
    state: str
    mean: float | None
    gain: float | None
    title: str


class Ancestry(DoorAnswer, frozen=True, kw_only=True):
    """The ancestors of a proposal, nearest first, with it.

    `left_out` is how many known ones follow; to see more, ask for the lineage of `next`, "" at the end.
    """

    proposal: str
    rows: tuple[FamilyRow, ...]
    left_out: int
    next: str


class ChangedFile(msgspec.Struct, frozen=True):
    """A file that differs, with the lines that were added and removed; `remark` says why its lines are not compared."""

    path: str
    added: int
    removed: int
    remark: str = ""


class Difference(DoorAnswer, frozen=True, kw_only=True):
    """What differs from `old` to `new`: a unified diff in a fence.

    `left_out` is how many lines of it follow: go on with `first_line=next_line`.

    `gain` is by how much the new one is better, in units of the metric; None if that is not known.
    """

    old: str
    new: str
    gain: float | None
    files: tuple[ChangedFile, ...]
    text: str
    left_out: int
    next_line: int


class CodeFile(msgspec.Struct, frozen=True):
    """A file of a proposal; `may_change` says whether a proposal may change it."""

    path: str
    bytes: int
    may_change: bool


class CodeShown(DoorAnswer, frozen=True, kw_only=True):
    """The files of a proposal, or one of them: lines from `first_line` on, in a fence.

    `left_out` is how many lines, or files, follow: go on with `first_line=next_line`.
    """

    proposal: str
    commit: str
    files: tuple[CodeFile, ...]
    path: str
    first_line: int
    text: str
    left_out: int
    next_line: int


class Noted(DoorAnswer, frozen=True, kw_only=True):
    """A note that is in the log as entry `posted`; `is_new` is false where an earlier call has posted it."""

    posted: int
    author: str
    channel: str
    reply_to: int | None
    is_new: bool


class Critiqued(DoorAnswer, frozen=True, kw_only=True):
    """A critique that is in the log as entry `posted`; `is_new` is false where an earlier call has posted it.

    `target` is a proposal, or a run. `predicted` is the score that it predicts, in units of the metric.
    """

    posted: int
    author: str
    target: str
    verdict: str
    predicted: float | None
    confidence: float | None
    is_new: bool


class Queried(DoorAnswer, frozen=True, kw_only=True):
    """Rows of a query, whose texts stand in fences; `as_of` is the entry that the projector had folded.

    `is_cut` says that there are more rows than these, and `cut_cells` how many texts were shortened.
    """

    as_of: int
    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    is_cut: bool
    cut_cells: int
    remark: str


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


def quote_of(board: Board, author: str, text: str, most: int = MOST_QUOTED) -> str:
    """Return text of somebody else on one board between marks, with its author; "" without any text.

    Args:
        board: The board, which the marks depend on.
        author: Who wrote it.
        text: The text.
        most: How many characters of it; the end of a longer one is left out and counted.
    """
    whole = tame(text)
    if not whole.strip():
        return ""
    cut = whole if len(whole) <= most else f"{whole[:most]}… ({len(whole) - most:,} more characters)"
    return fenced(f"by {tame(author)}:", cut, fence_of(board, [author, text]))

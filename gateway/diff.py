"""`diff`: what differs between two proposals, as a unified diff of the files that a trial sees."""

from functools import partial

import anyio.to_thread

from gateway.answers import ChangedFile, Difference, closed_words
from gateway.checkout import files_of_trial
from gateway.code import lines_that_fit
from gateway.door import Door
from mesh.data_marks import fence_of, fenced, tame
from mesh.errors import BadInput
from mesh.file_changes import MOST_CHANGED, file_changes
from mesh.leaderboard import Ranking
from mesh.proposal_numbers import gain_of
from mesh.text import short


async def diff(door: Door, old: str, new: str, *, first_line: int = 1) -> Difference:
    """Return what differs from one proposal to another.

    Args:
        door: The arena.
        old: The one, as `Door.proposal` takes it.
        new: The other.
        first_line: The line of the diff to begin with.

    Raises:
        BadInput: The diff has no such line.
        UnknownName: There is no such proposal.
        ObjectMissing: Nobody has shared the files of one.
        BusError: The log cannot be reached.
    """
    trees = [await door.proposal(word) for word in (old, new)]
    board = door.board
    base = board.opened.base_tree if board.opened else ""
    before, after = [await files_of_trial(door, tree) for tree in trees]
    found = await anyio.to_thread.run_sync(partial(file_changes, before, after, most_changed=MOST_CHANGED))
    lines = [line for change in found for line in change.lines]
    if not 1 <= first_line <= max(1, len(lines)):
        raise BadInput(f"the diff has no line {first_line}; use 1 to {max(1, len(lines))}")
    shown = lines_that_fit(lines[first_line - 1 :])
    names = [tree or base for tree in trees]
    text = tame("\n".join(shown))
    last = first_line - 1 + len(shown)
    label = f"from {short(names[0])} to {short(names[1])}, lines {first_line} to {last} of {len(lines)}:"
    ranking = Ranking(board)
    known = all(name in board.proposals for name in names)
    return Difference(
        arena=board.arena,
        seq=board.seq,
        closed=closed_words(board),
        old=names[0],
        new=names[1],
        gain=gain_of(ranking, names[1], names[0]) if known else None,
        files=tuple(ChangedFile(change.file, change.added, change.removed, change.remark) for change in found),
        text=fenced(label, text, fence_of(board, [label, text])) if text else "",
        left_out=len(lines) - last,
        next_line=last + 1,
    )

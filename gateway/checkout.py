"""`checkout`: a proposal's files into a folder, as a trial sees them: without hidden files and private data."""

from collections.abc import Mapping
from pathlib import Path

from gateway.answers import CheckedOut, closed_words, quote_of
from gateway.checkout_folder import CheckoutNote, hashes_of, lay_out, read_note
from gateway.door import Door
from mesh.agent.code_reader import commit_of
from mesh.arena import overlay
from mesh.editable_paths import editable_paths
from mesh.errors import BadInput
from mesh.tool_orders import without_orders


async def check_out(door: Door, word: str, folder: Path) -> CheckedOut:
    """Write a proposal into a folder, and return what may change there.

    Args:
        door: The arena.
        word: The proposal, as `Door.proposal` takes it.
        folder: A new folder, or one that nothing was changed in since an earlier checkout.

    Raises:
        BadInput: The folder belongs to another arena, or has changes of its owner.
        UnknownName: There is no such proposal.
        ObjectMissing: Nobody has shared its files.
        HostTrouble: The folder cannot be written.
    """
    tree = await door.proposal(word)
    board = door.board
    before = read_note(folder)
    if before and before.arena != board.arena:
        raise BadInput(f"{folder} is a checkout of arena {before.arena}, not of {board.arena}; name a new folder")
    base = await door.files.files(board)
    files, left_out = without_orders(base, await files_of_trial(door, tree))
    note = CheckoutNote(board.arena, tree, commit_of(board, tree), hashes_of(files))
    written, deleted = lay_out(folder, files, note)
    known = board.proposals.get(tree)
    return CheckedOut(
        arena=board.arena,
        seq=board.seq,
        closed=closed_words(board),
        proposal=tree or (board.opened.base_tree if board.opened else ""),
        commit=note.commit,
        title=quote_of(board, known.author, known.event.title) if known else "",
        folder=str(folder),
        editable=tuple(name for name in editable_paths(board.spec, files) if name in files),
        written=tuple(written),
        deleted=tuple(deleted),
        left_out=left_out,
    )


async def files_of_trial(door: Door, tree: str) -> Mapping[str, bytes]:
    """Return the files that a trial of a proposal finds; "" is the baseline."""
    board = door.board
    return overlay(board.spec, await door.files.files(board), await door.files.files(board, tree))

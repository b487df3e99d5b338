"""Snapshots of boards that a swarm hands on: who has no snapshot of its own need not fold the log from its first entry.

From 20,000 entries on, and whenever the log has doubled since, one process stores its snapshot beside the log: as an
object that is named by its hash, and a pointer to it that is named by the code that can read it. A claim keeps others
from doing the same; where its owner dies, the next one comes when the log has grown by a quarter. What is taken is
compared with its hash, with the log that it says it is of, and in some places with the facts in that log. A member of
the swarm can still hand on a board that never was, so a setting refuses what others hand on (docs/adr/0018).
"""

import hashlib
import io
import random
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import anyio.to_thread
import msgspec

from mesh import events as e
from mesh.board import Board
from mesh.board_bytes import SHAPE, read_snapshot
from mesh.bounds import Sha256
from mesh.bus import Bus, Objects
from mesh.errors import BusError, ObjectMissing
from mesh.lean import lean_finish

HANDED_ON_FROM = 20_000
"""Entries of a log from which on its board is handed on."""

_QUARTERS = 4
"""Tries to hand on a board before the log has doubled."""
_BACK = 3
"""Pointers that a reader asks for, the latest first."""
_ASKED, _AGAIN_S = 10, 0.2
"""How often a claim is read back that a replica does not have yet, and seconds in between."""
_COMPARED = 30
"""Proposals of a board that are compared with the log."""


class _Pointer(msgspec.Struct, frozen=True):
    sha256: Sha256
    seq: int


class Keeper(Protocol):
    """Whoever keeps a board current and writes its snapshot; `written` is the last entry in it, 0 without one."""

    written: int

    async def wait_for_save(self) -> None:
        """Wait until another snapshot is written."""


async def taken_from_swarm(bus: Bus, objects: Objects, identity: str, head: int) -> Board | None:
    """Return the latest board that the swarm hands on; None if there is none that this reader believes.

    Args:
        bus: the log.
        objects: where boards are handed on.
        identity: the id of the log.
        head: the last entry of the log.
    """
    last = _place(head)[0]
    for step in range(last, max(-1, last - _BACK), -1):
        try:
            pointer = msgspec.json.decode(await objects.get(_name(step)), type=_Pointer)
            data = await objects.get(pointer.sha256)
            if hashlib.sha256(data).hexdigest() != pointer.sha256:
                continue
            board = await anyio.to_thread.run_sync(read_snapshot, io.BytesIO(data), identity)
            if board and board.arena == bus.arena and board.seq <= head and await _is_of_log(bus, board):
                return board
        except (ObjectMissing, msgspec.MsgspecError, ValueError, OverflowError, RecursionError, MemoryError):
            continue
        except BusError:
            return None
    return None


async def hand_on(objects: Objects, keeper: Keeper, path: Path) -> None:
    """Hand on the snapshots that are written to a file, until cancelled.

    Args:
        objects: where boards are handed on.
        keeper: who writes the snapshots.
        path: the file.
    """
    me, tried = uuid.uuid4().hex.encode(), (-1, 0)
    while True:
        place = _place(keeper.written)
        if place[0] >= 0 and place > tried:
            tried = place
            with suppress(BusError, ObjectMissing, OSError):  # it only saves time
                await _hand_on(objects, path, me, keeper.written, *place)
        await keeper.wait_for_save()


async def _hand_on(objects: Objects, path: Path, me: bytes, seq: int, step: int, quarter: int) -> None:
    """Store a snapshot and the pointer to it, unless somebody has done so or is doing it."""
    if await _is_there(objects, _name(step)):
        return
    data = await anyio.to_thread.run_sync(path.read_bytes)
    claim = f"{_name(step)}-{quarter}"
    await objects.put(claim, me)
    for _ in range(_ASKED):  # a replica may be behind
        if await _is_there(objects, claim):
            break
        await anyio.sleep(_AGAIN_S)
    if await objects.get(claim) != me:
        return
    name = await anyio.to_thread.run_sync(lambda: hashlib.sha256(data).hexdigest())
    await objects.put(name, data)
    await objects.put(_name(step), msgspec.json.encode(_Pointer(name, seq)))


async def _is_there(objects: Objects, name: str) -> bool:
    try:
        await objects.get(name)
    except ObjectMissing:
        return False
    return True


def _place(seq: int) -> tuple[int, int]:
    """Return how often a log has doubled since boards are handed on, -1 before, and which quarter it is in."""
    step = (seq // HANDED_ON_FROM).bit_length() - 1
    return (step, (seq - (HANDED_ON_FROM << step)) * _QUARTERS // (HANDED_ON_FROM << step)) if step >= 0 else (-1, 0)


def _name(step: int) -> str:
    """Return the name of the pointer to the board after so many doublings."""
    return f"board-{SHAPE[:16]}-{step}"


async def _is_of_log(bus: Bus, board: Board) -> bool:
    """Compare some proposals of a board, their runs and its champion with the log, which ones by chance."""
    try:
        trees = random.SystemRandom().sample([*board.proposals], min(_COMPARED, len(board.proposals)))
        known = [board.proposals[tree] for tree in trees]
        runs = [board.runs[name] for proposal in known for name in proposal.runs]
        ended = [run for run in runs if run.finished]
        seqs = [
            *(each.seq for each in known),
            *(run.finished_seq for run in ended),
            *filter(None, [board.promoted_seq]),
        ]
        found = {entry.seq: entry.post for entry in await bus.entries(seqs)}
        if not await anyio.to_thread.run_sync(_can_be_read, board):
            return False
        for tree, proposal in zip(trees, known, strict=True):
            post = found.get(proposal.seq)
            if not post or not isinstance(post.event, e.ProposalPosted) or post.event.tree != tree:
                return False
            if (post.author, post.event.commit) != (proposal.author, proposal.event.commit):
                return False
        for run in ended:
            post = found.get(run.finished_seq)
            if not post or not isinstance(post.event, e.RunFinished) or not run.finished:
                return False
            if lean_finish(post.event) != lean_finish(run.finished):
                return False
        crowned = found.get(board.promoted_seq)
        is_crowned = bool(crowned and isinstance(crowned.event, e.ProposalPromoted))
        return not board.promoted_seq or (is_crowned and crowned.event.proposal == board.champion)  # type: ignore[union-attr]
    except _NOBODY_MADE:
        return False


_NOBODY_MADE = (
    *(AssertionError, AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError),
    msgspec.MsgspecError,
)
"""What bytes lead to that are a board, but none that a process has written."""


def _can_be_read(board: Board) -> bool:
    """Tell whether every run is in the pack of the proposal that has it: one that is not would end whoever reads it."""
    proposals = board.proposals
    for tree, pack in proposals.known.items():
        if isinstance(pack, bytes):
            found = proposals.packer.unpack(tree, pack)
            if {*found.runs} != {*found.proposal.runs, *found.proposal.sealed}:
                return False
            if any(board.runs.known[name] != tree for name in found.runs):
                return False
    stands_for = {tree for tree in board.runs.known.values() if isinstance(tree, str)}
    return all(isinstance(proposals.known[tree], bytes) for tree in stands_for)

"""Writes a board to bytes and reads it back, so that a process need not fold the log from its first entry.

Proposals and runs are written and read in chunks. The names in a chunk become those that other facts share
(`mesh.lean`) before the next one is read, so that a board takes no more memory than one that was folded.
"""

import hashlib
import inspect
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TypeVar

import msgspec

from mesh import board as board_module
from mesh import bounds, fact_values, failed_calls, lean, outcomes, records, ruling_out, spec, stages
from mesh import events as e
from mesh.board import Board
from mesh.records import Proposal, Run

_CHUNK = 1000
"""Proposals or runs that are read at a time."""

_T = TypeVar("_T")
_ENCODER = msgspec.msgpack.Encoder()
_PARTS = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw, list[msgspec.Raw], list[msgspec.Raw]])
_BOARD = msgspec.msgpack.Decoder(Board)
_PROPOSALS, _RUNS = msgspec.msgpack.Decoder(dict[str, Proposal]), msgspec.msgpack.Decoder(dict[str, Run])


def to_bytes(board: Board) -> bytes:
    """Return a board as bytes, with a hash of the code that defines it."""
    rest = msgspec.structs.replace(board, proposals={}, runs={})
    return _ENCODER.encode((_SHAPE, rest, list(_chunks(board.proposals)), list(_chunks(board.runs))))


def from_bytes(data: bytes) -> Board | None:
    """Return the board in `data`, None if another version wrote it or it is damaged."""
    try:
        shape, rest, proposals, runs = _PARTS.decode(data)
        if shape != _SHAPE:
            return None
        board = _BOARD.decode(rest)
        for chunk in proposals:
            some = _PROPOSALS.decode(chunk)
            lean.share_proposals(some)
            board.proposals |= some
        for chunk in runs:
            ended = _RUNS.decode(chunk)
            lean.share_runs(ended)
            board.runs |= ended
    except msgspec.MsgspecError:
        return None
    return board


def _chunks(things: Mapping[str, _T]) -> Iterator[dict[str, _T]]:
    """Yield some of the things at a time, in their order."""
    items = iter(things.items())
    while chunk := dict(islice(items, _CHUNK)):
        yield chunk


# A hash of the source code of the state and of its facts: after any edit, old snapshots are ignored, never misread.
_SOURCES = (board_module, failed_calls, records, lean, ruling_out, bounds, outcomes, fact_values, e, spec, stages)
_SHAPE = hashlib.sha256("".join(map(inspect.getsource, _SOURCES)).encode()).hexdigest()

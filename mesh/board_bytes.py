"""Writes a board to bytes and reads it back, so that a process need not fold the log from its first entry."""

import hashlib
import inspect

import msgspec

from mesh import board as board_module
from mesh import bounds, fact_values, lean, outcomes, records, ruling_out, spec, stages
from mesh import events as e
from mesh.board import Board


def to_bytes(board: Board) -> bytes:
    """Return a board as bytes, with a hash of the code that defines it."""
    return msgspec.msgpack.encode((_SHAPE, board))


def from_bytes(data: bytes) -> Board | None:
    """Return the board in `data`, None if another version wrote it or it is damaged."""
    try:
        shape, raw = msgspec.msgpack.decode(data, type=tuple[str, msgspec.Raw])
        if shape != _SHAPE:
            return None
        board = msgspec.msgpack.decode(raw, type=Board)
    except msgspec.MsgspecError:
        return None
    lean.share_all(board.proposals, board.runs)
    return board


# A hash of the source code of the state and of its facts: after any edit, old snapshots are ignored, never misread.
_SOURCES = (board_module, records, lean, ruling_out, bounds, outcomes, fact_values, e, spec, stages)
_SHAPE = hashlib.sha256("".join(map(inspect.getsource, _SOURCES)).encode()).hexdigest()

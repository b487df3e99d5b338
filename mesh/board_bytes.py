"""Writes a board to bytes and reads it back, so that a process need not fold the log from its first entry.

Proposals and runs are written and read in parts of a thousand: whoever writes them to a file can do other work in
between, and neither side needs all bytes in memory. The names in a part become those that other facts share
(`mesh.lean`) before the next one is read, so that a board takes no more memory than one that was folded.
"""

import hashlib
import inspect
import io
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import BinaryIO, TypeVar

import msgspec

from mesh import board as board_module
from mesh import (
    bounds,
    commit_facts,
    fact,
    fact_values,
    failed_calls,
    hand_outs,
    kept,
    lean,
    life_facts,
    outcomes,
    packing,
    records,
    ruling_out,
    run_facts,
    spec,
    stages,
    stated_costs,
    worker_costs,
)
from mesh import events as e
from mesh.board import Board
from mesh.kept import KeptProposals, KeptRuns
from mesh.packing import Blanks
from mesh.records import Proposal, Run

_PART = 1000
"""Proposals or runs that are read at a time."""
_LENGTH_BYTES, _HASH_BYTES, _READ_BYTES = 8, 32, 1024**2

_T = TypeVar("_T")
_ENCODER = msgspec.msgpack.Encoder()
_FIRST = msgspec.msgpack.Decoder(tuple[str, int, msgspec.Raw])
_BOARD, _COMMON = msgspec.msgpack.Decoder(Board), msgspec.msgpack.Decoder(Blanks)
_PROPOSALS = msgspec.msgpack.Decoder(dict[str, bytes | Proposal])
_RUNS = msgspec.msgpack.Decoder(dict[str, int | Run])


def to_parts(board: Board) -> Iterator[bytes]:
    """Yield the parts of a board, the first with a hash of the code that defines it.

    It must not fold meanwhile; texts may be recalled.
    """
    proposals, runs = dict(board.proposals.known), dict(board.runs.known)  # a recall takes some out of their packs
    rest = {name: getattr(board, name) for name in board.__struct_fields__ if name not in ("proposals", "runs")}
    yield _ENCODER.encode((SHAPE, -(-len(board.proposals) // _PART), rest))
    yield _ENCODER.encode(board.proposals.packer.common)
    places = dict[str, int]()
    for some in _some(proposals):
        places.update(zip(some, range(len(places), len(places) + len(some)), strict=True))
        yield _ENCODER.encode(some)
    for part in _some(runs):
        yield _ENCODER.encode({name: places[run] if isinstance(run, str) else run for name, run in part.items()})


def from_parts(parts: Iterable[bytes]) -> Board | None:
    """Return the board of these parts, None if another version wrote them or they are damaged."""
    later = iter(parts)
    try:
        shape, count, rest = _FIRST.decode(next(later, b""))
        if shape != SHAPE:
            return None
        board, proposals = _BOARD.decode(rest), KeptProposals(common=_COMMON.decode(next(later, b"")))
        for part in islice(later, count):
            some = _PROPOSALS.decode(part)
            lean.share_proposals(each for each in some.values() if isinstance(each, Proposal))
            proposals.known.update((sys.intern(tree), each) for tree, each in some.items())
        runs, trees = KeptRuns(), [*proposals]
        for part in later:
            for name, run in _RUNS.decode(part).items():
                if isinstance(run, Run):
                    lean.share_run(run)
                    runs.known[sys.intern(name)] = run
                else:
                    runs.known[name] = trees[run]
        proposals.find_changed(board.full)
        board.proposals, board.runs = proposals, runs
        runs.link(proposals)
    except (msgspec.MsgspecError, ValueError, OverflowError, LookupError):
        return None
    return board


def framed(part: bytes) -> bytes:
    """Return a part with its length before it."""
    return len(part).to_bytes(_LENGTH_BYTES) + part


def unframed(file: BinaryIO) -> Iterator[bytes]:
    """Yield the parts that `framed` wrote one after the other, from where a file is read now to its end.

    Raises:
        ValueError: the last one is cut off.
    """
    while length := file.read(_LENGTH_BYTES):
        part = file.read(int.from_bytes(length))
        if len(part) < int.from_bytes(length):
            raise ValueError(f"a part of {int.from_bytes(length):,} bytes is cut off after {len(part):,}")
        yield part


def write_snapshot(file: BinaryIO, board: Board, identity: str) -> Iterator[None]:
    """Write the hash of its parts, then the id of the log and the parts of a board; others may work at each yield."""
    total = hashlib.sha256()
    file.write(bytes(_HASH_BYTES))
    for part in chain([identity.encode()], to_parts(board)):
        total.update(data := framed(part))
        file.write(data)
        yield
    file.seek(0)
    file.write(total.digest())


def read_snapshot(file: BinaryIO, identity: str) -> Board | None:
    """Return the board in a snapshot, None if it is not whole, or of another log or version.

    Raises:
        ValueError: a part is cut off.
    """
    digest, total = file.read(_HASH_BYTES), hashlib.sha256()
    while data := file.read(_READ_BYTES):
        total.update(data)
    if total.digest() != digest:
        return None
    file.seek(_HASH_BYTES)
    parts = unframed(file)
    return from_parts(parts) if next(parts, b"") == identity.encode() else None


def to_bytes(board: Board) -> bytes:
    """Return a board as bytes."""
    return b"".join(map(framed, to_parts(board)))


def from_bytes(data: bytes) -> Board | None:
    """Return the board in `data`, None if another version wrote it or it is damaged."""
    return from_parts(unframed(io.BytesIO(data)))


def _some(things: Mapping[str, _T]) -> Iterator[dict[str, _T]]:
    """Yield some of the things at a time, in their order."""
    items = iter(things.items())
    while some := dict(islice(items, _PART)):
        yield some


_SOURCES = (
    board_module,
    failed_calls,
    hand_outs,
    kept,
    packing,
    records,
    lean,
    ruling_out,
    bounds,
    outcomes,
    fact_values,
    fact,
    commit_facts,
    life_facts,
    run_facts,
    e,
    spec,
    stages,
    stated_costs,
    worker_costs,
)
SHAPE = hashlib.sha256("".join(map(inspect.getsource, _SOURCES)).encode()).hexdigest()
"""A hash of the source code of the state and of its facts: after any edit, old snapshots are ignored, never misread."""

"""Keeps a board current from a bus, and starts it from a snapshot if there is one."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing, suppress
from itertools import chain
from pathlib import Path

import anyio
import anyio.lowlevel

from mesh.atomic_write import atomic_write
from mesh.board import Board
from mesh.board_bytes import framed, from_parts, to_parts, unframed
from mesh.bus import Bus
from mesh.disk import open_regular
from mesh.errors import AlreadyPosted
from mesh.wire import Entry, Post

SNAPSHOT_EVERY, SNAPSHOT_SHARE = 2000, 0.05
"""Entries between two snapshots: this many, or this share of those before where that is more.

A snapshot writes the whole board, so with the share its cost per entry does not grow with the log; who starts from one
folds a twentieth of the log at most.
"""
_MAX_SNAPSHOT_BYTES = 4 * 1024**3
_HASH_BYTES, _READ_BYTES = 32, 1024**2


async def post_once(bus: Bus, board: Board, post: Post) -> int:
    """Append a fact, also where entries that do not count have its key, and return its sequence.

    Whoever may post can put an entry with any key into the log. Where it does not count, the key is free.

    Raises:
        AlreadyPosted: a fact that counts, or one that the board has not folded, has the key.
        BusError: as `Bus.post`.
    """
    over = 0
    while True:
        try:
            return await bus.post(post, over=over)
        except AlreadyPosted as already:
            if already.seq not in board.void:
                raise
            over = already.seq


class Follower:
    """Folds one arena's log into `board`: call `catch_up` first, then run `follow`."""

    def __init__(self, bus: Bus, *, snapshot: Path | None = None) -> None:
        self.board = Board(arena=bus.arena)
        self._bus, self._snapshot = bus, snapshot
        self._saved = 0
        self._told = False
        self._identity = ""
        self._changed = anyio.Event()

    async def catch_up(self, on_progress: Callable[[int, int], None] | None = None) -> None:
        """Fold all entries that are in the log now.

        Args:
            on_progress: called now and then, with the entry that is folded and the last one.

        Raises:
            BusUnavailable: the log cannot be reached.
        """
        self._identity = await self._bus.identity()
        head = await self._bus.head()
        self._load(head)
        async with aclosing(self._bus.read(self.board.seq, until=head)) as batches:
            async for batch in batches:
                for entry in batch:
                    self.board.fold(entry)
                if on_progress:
                    on_progress(self.board.seq, head)
        await self._save()

    async def follow(self, on_entry: Callable[[Entry, bool], None] | None = None) -> None:
        """Fold new entries until cancelled.

        Args:
            on_entry: called after each entry, with the entry and whether its fact counts.
        """
        async with aclosing(self._bus.read(self.board.seq, follow=True)) as batches:
            async for batch in batches:
                for entry in batch:
                    counts = self.board.fold(entry)
                    if on_entry:
                        on_entry(entry, counts)
                self._changed.set()
                self._changed = anyio.Event()
                await self._save()

    async def reached(self, seq: int) -> None:
        """Wait until the board has folded entry `seq`; another task must run `follow`."""
        await self.until(lambda board: board.seq >= seq)

    async def until(self, holds: Callable[[Board], bool]) -> None:
        """Wait until `holds` returns true for the board; another task must run `follow`."""
        while not holds(self.board):
            await self._changed.wait()

    async def post_once(self, post: Post) -> int:
        """Append a fact as `post_once`, or find that it is there; another task must run `follow`.

        Returns:
            The sequence of the fact that has the key.

        Raises:
            BusError: as `Bus.post`, but for `AlreadyPosted`.
        """
        while True:
            try:
                return await post_once(self._bus, self.board, post)
            except AlreadyPosted as already:
                if already.seq <= self.board.seq and already.seq not in self.board.void:
                    return already.seq
                await self.reached(already.seq)

    def save(self) -> None:
        """Write the snapshot if it is due. Trouble ends nobody: it is told once, and the next start takes longer."""
        for _ in self._write_snapshot():
            pass

    async def _save(self) -> None:
        """Write the snapshot if it is due, and let others work between two parts of it."""
        for _ in self._write_snapshot():
            await anyio.lowlevel.checkpoint()

    def _write_snapshot(self) -> Iterator[None]:
        """Write the snapshot if it is due: the hash of its parts, then the id of the log and the parts of the board."""
        before = self._saved
        if self._snapshot is None or self.board.seq - before < max(SNAPSHOT_EVERY, SNAPSHOT_SHARE * before):
            return
        self._saved, total = self.board.seq, hashlib.sha256()
        try:
            self._snapshot.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._snapshot) as beside, beside.open("wb") as file:
                file.write(bytes(_HASH_BYTES))
                for part in chain([self._identity.encode()], to_parts(self.board)):
                    total.update(data := framed(part))
                    file.write(data)
                    yield
                file.seek(0)
                file.write(total.digest())
        except GeneratorExit:
            self._saved = before
            raise
        except Exception as error:  # it only saves time
            if not self._told:
                self._told = True
                why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                with suppress(OSError):  # the log may be on the same full disk
                    sys.stderr.write(f"{self._snapshot} cannot be written: {why}; the next start folds the log again\n")

    def _load(self, head: int) -> None:
        """Start from the snapshot if it is undamaged, belongs to this log and version, and is not ahead of the log."""
        try:
            board = self._read_snapshot(self._snapshot) if self._snapshot else None
        except (OSError, ValueError, OverflowError, RecursionError, MemoryError):
            return
        if board and board.arena == self.board.arena and board.seq <= head:
            self.board, self._saved = board, board.seq

    def _read_snapshot(self, path: Path) -> Board | None:
        """Return the board in a snapshot: first its hash is checked, then it is read part by part."""
        with open_regular(path, _MAX_SNAPSHOT_BYTES) as file:
            digest, total = file.read(_HASH_BYTES), hashlib.sha256()
            while data := file.read(_READ_BYTES):
                total.update(data)
            if total.digest() != digest:
                return None
            file.seek(_HASH_BYTES)
            parts = unframed(file)
            return from_parts(parts) if next(parts, b"") == self._identity.encode() else None

"""Keeps a board current from a bus, and starts it from a snapshot if there is one."""

import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing, suppress
from pathlib import Path

import anyio
import anyio.lowlevel

from mesh.atomic_write import atomic_write
from mesh.board import Board
from mesh.board_bytes import read_snapshot, write_snapshot
from mesh.bus import Bus, Objects
from mesh.disk import open_regular
from mesh.errors import AlreadyPosted
from mesh.swarm_boards import taken_from_swarm
from mesh.wire import Entry, Post

SNAPSHOT_EVERY, SNAPSHOT_SHARE = 2000, 0.05
"""Entries between two snapshots: this many, or this share of those before where that is more.

A snapshot writes the whole board, so with the share its cost per entry does not grow with the log; who starts from one
folds a twentieth of the log at most.
"""
_MAX_SNAPSHOT_BYTES = 4 * 1024**3


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

    def __init__(self, bus: Bus, *, snapshot: Path | None = None, swarm: Objects | None = None) -> None:
        """Follow a log.

        Args:
            bus: the log.
            snapshot: file of the board's snapshot; None keeps none.
            swarm: where the swarm hands on boards, for who has no snapshot; None believes nobody.
        """
        self.board = Board(arena=bus.arena)
        self._bus, self._snapshot, self._swarm = bus, snapshot, swarm
        self.saved = self.written = 0
        self._told = self._is_following = False
        self._identity = ""
        self._has_saved = anyio.Event()
        self._changed = anyio.Event()

    async def catch_up(self, on_progress: Callable[[int, int], None] | None = None) -> None:
        """Fold all entries that are in the log now; where `follow` runs, wait until it has folded them.

        Args:
            on_progress: called now and then, with the entry that is folded and the last one.

        Raises:
            BusUnavailable: the log cannot be reached.
        """
        if self._is_following:
            await self.reached(await self._bus.head())
            return
        self._identity = await self._bus.identity()
        head = await self._bus.head()
        self._load(head)
        if not self.board.seq and self._swarm:
            self.board = await taken_from_swarm(self._bus, self._swarm, self._identity, head) or self.board
        fold = self.board.fold
        async with aclosing(self._bus.read(self.board.seq, until=head)) as batches:
            async for batch in batches:
                for entry in batch:
                    fold(entry)
                if on_progress:
                    on_progress(self.board.seq, head)
        await self._save()

    async def follow(self, on_entry: Callable[[Entry, bool], None] | None = None) -> None:
        """Fold new entries until cancelled.

        Args:
            on_entry: called after each entry, with the entry and whether its fact counts.
        """
        self._is_following = True
        try:
            async with aclosing(self._bus.read(self.board.seq, follow=True)) as batches:
                async for batch in batches:
                    for entry in batch:
                        counts = self.board.fold(entry)
                        if on_entry:
                            on_entry(entry, counts)
                    self._changed.set()
                    self._changed = anyio.Event()
                    await self._save()
        finally:
            self._is_following = False

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

    async def wait_for_save(self) -> None:
        """Wait until another snapshot is written."""
        await self._has_saved.wait()

    def save(self) -> None:
        """Write the snapshot if it is due. Trouble ends nobody: it is told once, and the next start takes longer."""
        for _ in self._write_snapshot():
            pass

    async def _save(self) -> None:
        """Write the snapshot if it is due, and let others work between two parts of it."""
        for _ in self._write_snapshot():
            await anyio.lowlevel.checkpoint()

    def _write_snapshot(self) -> Iterator[None]:
        """Write the snapshot if it is due."""
        before = self.saved
        if self._snapshot is None or self.board.seq - before < max(SNAPSHOT_EVERY, SNAPSHOT_SHARE * before):
            return
        self.saved = self.board.seq
        try:
            self._snapshot.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._snapshot) as beside, beside.open("wb") as file:
                yield from write_snapshot(file, self.board, self._identity)
            self.written = self.saved
            self._has_saved.set()
            self._has_saved = anyio.Event()
        except GeneratorExit:
            self.saved = before
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
            if self._snapshot is None:
                return
            with open_regular(self._snapshot, _MAX_SNAPSHOT_BYTES) as file:
                board = read_snapshot(file, self._identity)
        except (OSError, ValueError, OverflowError, RecursionError, MemoryError):
            return
        if board and board.arena == self.board.arena and board.seq <= head:
            self.board, self.saved = board, board.seq
            self.written = board.seq

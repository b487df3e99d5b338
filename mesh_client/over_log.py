"""The way to an arena straight over its log."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskGroup, TaskStatus

from gateway.answers import Outcome, Proposed
from gateway.checkout import check_out, files_of_trial
from gateway.checkout_folder import read_note
from gateway.code import code
from gateway.critique import critique
from gateway.diff import diff
from gateway.door import Door
from gateway.leaderboard import leaderboard
from gateway.lineage import lineage
from gateway.news import news
from gateway.note import note, reply
from gateway.propose import propose
from gateway.proposed_files import from_checkout, from_folder, from_patch
from gateway.reach import follower_of
from gateway.resolve import NO_BASELINE
from gateway.show import show
from gateway.status import status
from gateway.wait import Awaited, await_outcome
from mesh.board import Board
from mesh.bus import Hub
from mesh.errors import BadInput, BusUnavailable, UnknownName
from mesh.follow import Follower
from mesh.sql_protocol import Query, ask
from mesh.wire import Pattern, kind_filter
from mesh_client.access import Asked
from mesh_client.entries import LogEntry, log_entry
from mesh_client.rows import SqlRows

if TYPE_CHECKING:
    from analytics.sql_client import SqlClient

_ANSWER_S = 60.0
"""Seconds in which the server must answer a call that does not wait for the swarm."""

_MOST_ROWS = 1_000_000
"""Rows of an answer that comes at once."""

_FOLDED_WITHIN_S, _AGAIN_S = 5.0, 0.1
"""Seconds in which rows must be as of what this client has seen, and between two tries; later older rows will do."""


async def _propose(door: Door, files: Mapping[str, bytes], patch: str, parent: str, **words: Any) -> Proposed:
    tree = await door.proposal(parent)
    found = (await from_patch(door, patch, tree)).files if patch else files
    return await propose(door, found, parent=tree, **words)


async def _wait(door: Door, word: str, until: Awaited, seconds: float) -> Outcome:
    if not (tree := await door.proposal(word)):
        raise UnknownName(NO_BASELINE.format(door.board.arena))
    return await await_outcome(door, tree, until=until, seconds=seconds)


_FUNCTIONS: dict[str, Callable[..., Awaitable[Any]]] = {
    "checkout": check_out,
    "code": code,
    "critique": critique,
    "diff": diff,
    "digest": news,
    "leaderboard": leaderboard,
    "lineage": lineage,
    "note": note,
    "propose": _propose,
    "reply": reply,
    "show": show,
    "status": status,
    "wait": _wait,
}
"""What can be asked, by name; a door is the first argument of each."""


class OverLog:
    """An arena behind a door; `tasks` run what outlasts a call."""

    def __init__(self, door: Door, hub: Hub, tasks: TaskGroup) -> None:
        self.arena = door.bus.arena
        self._door, self._hub, self._tasks = door, hub, tasks
        self._own: Follower | None = None
        self._sql: SqlClient | None = None
        self._first, self._seen = anyio.Lock(), 0

    def door(self) -> Door:
        return self._door

    async def board_now(self) -> Board:
        async with self._first:
            with _bounded():
                if self._own is None:
                    own = follower_of(self._door.bus)
                    await own.catch_up()
                    self._own = own
                board, head = self._own.board, await self._door.bus.head()
                async with aclosing(self._door.bus.read(board.seq, until=head)) as batches:
                    async for batch in batches:
                        for entry in batch:
                            board.fold(entry)
        return board

    async def ask(self, what: str, answer: type[Asked], **words: Any) -> Asked:
        with _bounded(words.get("seconds", 0.0)):
            said = await _FUNCTIONS[what](self._door, **words)
        assert isinstance(said, answer)
        self._seen = max(self._seen, getattr(said, "seq", 0))
        return said

    async def files(self, word: str) -> dict[str, bytes]:
        return dict(await files_of_trial(self._door, await self._door.proposal(word)))

    async def folder(self, folder: Path) -> tuple[dict[str, bytes], str | None]:
        note = read_note(folder)
        found = await from_checkout(self._door, folder, note) if note else from_folder(self._door, folder)
        return found.files, found.parent

    async def follow(self, since: int | None, kinds: Sequence[str], until: int | None) -> AsyncGenerator[LogEntry]:
        board = self._door.board
        for kind in kinds:
            kind_filter(self.arena, kind)
        wanted = [Pattern(kind=kind) for kind in dict.fromkeys(kinds)]
        after = board.seq if since is None else since
        if after < 0:
            raise BadInput(f"since is {after}; use 0 for all entries, or the number of one")
        ends = {} if until is None else {"until": until}
        async with aclosing(self._door.bus.read(after, follow=until is None, only=wanted, **ends)) as batches:
            async for batch in batches:
                for entry in batch:
                    found = log_entry(entry)
                    if found and entry.seq not in self._door.board.void:
                        yield found

    async def rows(self, query: str, max_rows: int, timeout_s: float) -> SqlRows:
        if find_spec("duckdb") is None:  # only a projector can answer
            answer = await ask(self._door.bus, Query(query, max_rows or _MOST_ROWS, timeout_s))
            return SqlRows(answer.columns, answer.types, answer.rows, answer.as_of, truncated=answer.truncated)
        async with self._first:
            if self._sql is None:
                self._sql = await self._tasks.start(self._hold_sql)
        end = anyio.current_time() + _FOLDED_WITHIN_S
        while True:
            found = await _all_rows(self._sql, query, max_rows, timeout_s)
            if found.as_of.get(self.arena, 0) >= self._seen or anyio.current_time() > end:
                return found
            await anyio.sleep(_AGAIN_S)

    async def _hold_sql(self, *, task_status: "TaskStatus[SqlClient]") -> None:
        from analytics.sql_client import sql_client

        async with sql_client(self._hub, self._door.bus) as client:
            task_status.started(client)
            await anyio.sleep_forever()


async def _all_rows(client: "SqlClient", query: str, max_rows: int, timeout_s: float) -> SqlRows:
    async with aclosing(client.pages(Query(query, max_rows, timeout_s))) as found:
        pages = [page async for page in found]
    rows = [row for page in pages for row in page.rows]
    return SqlRows(pages[0].columns, pages[0].types, rows, pages[-1].as_of, truncated=pages[-1].truncated)


@contextmanager
def _bounded(more_s: float = 0.0) -> Iterator[None]:
    """Bound a call: if the server is away for long, it ends with a sentence."""
    with anyio.move_on_after(_ANSWER_S + more_s) as scope:
        yield
    if scope.cancelled_caught:
        raise BusUnavailable(f"the server has not answered for {_ANSWER_S:.0f} s; the call may be repeated")

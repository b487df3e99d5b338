"""The client of a plain script or a notebook: it runs that of an event loop in a thread of its own.

A notebook whose own event loop runs can therefore use it. A call that is interrupted with Ctrl-C is cancelled in the
thread too, and `close` takes seconds at most.
"""

import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from gateway.answers import (
    Ancestry,
    ArenaStatus,
    CheckedOut,
    CodeShown,
    Critiqued,
    Difference,
    Leaders,
    News,
    Noted,
    Outcome,
    Proposed,
    Shown,
)
from gateway.critique import CritiqueVerdict
from gateway.wait import Awaited
from mesh.board import Board
from mesh_client.aclient import AsyncClient, FilesByPath
from mesh_client.entries import LogEntry
from mesh_client.loop_thread import LoopThread
from mesh_client.rows import SqlRows

if TYPE_CHECKING:
    from agents.search.samplers.protocol import Sampler
    from mesh_client.study import Study

_Result = TypeVar("_Result")

_AHEAD = 1000
"""Entries that are read before they are asked for."""


class Client:
    """An arena for one who takes part; `mesh.connect` makes it. Methods do what those of `AsyncClient` do.

    Close it with `close`, or use it as `with mesh.connect(...) as m`.
    """

    def __init__(self, opening: Callable[[], AbstractAsyncContextManager[AsyncClient]]) -> None:
        self._thread = LoopThread(opening)
        self._inner = self._thread.opened
        weakref.finalize(self, self._thread.let_go).atexit = False  # as when a cell of a notebook runs again
        self.arena, self.name = self._inner.arena, self._inner.name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        who = f" as {self.name}" if self.name else ""
        return f"<mesh.Client of arena {self.arena}{who}{' (closed)' if self._thread.is_closed else ''}>"

    def close(self) -> None:
        """Close the connection. Nothing happens if it is closed."""
        self._thread.close()

    @property
    def board(self) -> Board:
        """The board as of now; it stays as it is until it is asked for again, which brings this object up to date."""
        return self._call(self._inner.board_now)

    def status(self) -> ArenaStatus:
        """Return how the arena is: champion, queue, workers, cost."""
        return self._call(self._inner.status)

    def leaderboard(self, top: int = 20) -> Leaders:
        """Return the first rows of the leaderboard, at most 200, the best first."""
        return self._call(self._inner.leaderboard, top)

    def show(self, word: str) -> Shown:
        """Return what is known about a proposal, run, agent or worker, or about an entry such as `12`."""
        return self._call(self._inner.show, word)

    def lineage(self, proposal: str | Proposed) -> Ancestry:
        """Return a proposal and its ancestors, the nearest first."""
        return self._call(self._inner.lineage, proposal)

    def diff(self, old: str | Proposed, new: str | Proposed) -> Difference:
        """Return what differs from one proposal to another, as a unified diff between marks."""
        return self._call(self._inner.diff, old, new)

    def code(self, proposal: str | Proposed = "", path: str = "") -> CodeShown:
        """Return the files of a proposal, or lines of one between marks, as a model reads them; see `files`."""
        return self._call(self._inner.code, proposal, path)

    def files(self, proposal: str | Proposed = "") -> dict[str, bytes]:
        """Return the files of a proposal as a trial finds them; by default those of the champion, else the baseline."""
        return self._call(self._inner.files, proposal)

    def note(self, text: str, *, channel: str = "general", about: str | Proposed = "") -> Noted:
        """Post a note; `about` names what it is about. The same text said again within a minute is one note."""
        return self._call(self._inner.note, text, channel=channel, about=about)

    def reply(self, seq: int, text: str) -> Noted:
        """Answer entry `seq` of the log: a note in its channel, anything else in `general`."""
        return self._call(self._inner.reply, seq, text)

    def critique(
        self,
        proposal: str | Proposed,
        verdict: CritiqueVerdict,
        text: str,
        *,
        predicted_gain: float | None = None,
        confidence: float | None = None,
        model: str = "",
    ) -> Critiqued:
        """Judge a proposal or a run: `endorse`, `warn` or `block`; see `AsyncClient.critique`."""
        return self._call(
            self._inner.critique,
            proposal,
            verdict,
            text,
            predicted_gain=predicted_gain,
            confidence=confidence,
            model=model,
        )

    def digest(self, since: int = 0, *, max_tokens: int = 2000) -> News:
        """Return what has happened after entry `since` of the log; see `AsyncClient.digest`."""
        return self._call(self._inner.digest, since, max_tokens=max_tokens)

    def follow(
        self, since: int | None = None, *, kinds: Sequence[str] = (), until: int | None = None
    ) -> Iterator[LogEntry]:
        """Yield the facts of the log in order, and go on as they come; see `AsyncClient.follow`."""
        send, receive = self._call(_stream)
        pump = self._thread.start(_pump, self._inner.follow(since, kinds=kinds, until=until), send)
        try:
            while some := self._call(_some, receive):
                yield from some
            pump.result()
        finally:
            pump.cancel()
            if not self._thread.is_closed:
                self._call(receive.aclose)

    def checkout(self, proposal: str, folder: str | Path) -> CheckedOut:
        """Write the files of a proposal into a folder; see `AsyncClient.checkout`."""
        return self._call(self._inner.checkout, proposal, folder)

    def propose(
        self,
        files: FilesByPath | Path | None = None,
        *,
        patch: str = "",
        parent: str | Proposed | None = None,
        title: str = "",
        rationale: str = "",
        predicted_gain: float | None = None,
        confidence: float | None = None,
        model: str = "",
    ) -> Proposed:
        """Propose changed files, and return the proposal and its place in the queue; see `AsyncClient.propose`."""
        return self._call(
            self._inner.propose,
            files,
            patch=patch,
            parent=parent,
            title=title,
            rationale=rationale,
            predicted_gain=predicted_gain,
            confidence=confidence,
            model=model,
        )

    def wait(self, proposal: str | Proposed, timeout: float | None = None, *, until: Awaited = "verdict") -> Outcome:
        """Wait until a proposal is promoted, retired or refused; see `AsyncClient.wait`."""
        return self._call(self._inner.wait, proposal, timeout, until=until)

    def study(self, name: str = "study", *, sampler: "str | Sampler" = "", seed: int = 0) -> "Study":
        """Return a study: an optimiser asks for values of knobs and is told scores; see `AsyncClient.study`."""
        from mesh_client.study import Study

        return Study(self._inner.study(name, sampler=sampler, seed=seed), self._call)

    def sql(self, query: str, *, max_rows: int = 0, timeout: float = 30.0) -> SqlRows:
        """Return the rows of a read-only query; see `AsyncClient.sql`."""
        return self._call(self._inner.sql, query, max_rows=max_rows, timeout=timeout)

    def _call(self, function: Callable[..., Awaitable[_Result]], *args: Any, **words: Any) -> _Result:
        return self._thread.call(function, *args, **words)


async def _stream() -> tuple[MemoryObjectSendStream[LogEntry], MemoryObjectReceiveStream[LogEntry]]:
    return anyio.create_memory_object_stream[LogEntry](_AHEAD)


async def _pump(entries: AsyncGenerator[LogEntry], send: MemoryObjectSendStream[LogEntry]) -> None:
    async with send, aclosing(entries):
        async for entry in entries:
            await send.send(entry)


async def _some(receive: MemoryObjectReceiveStream[LogEntry]) -> list[LogEntry]:
    """Return the entries that are there, at least one; none after the last."""
    found: list[LogEntry] = []
    with suppress(anyio.EndOfStream, anyio.WouldBlock):
        found.append(await receive.receive())
        while True:
            found.append(receive.receive_nowait())
    return found

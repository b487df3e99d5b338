"""The client of an event loop: `async with mesh.aconnect(...) as m`."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

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
from gateway.wait import LONGEST_S, Awaited
from mesh.admission_order import place_words
from mesh.board import Board
from mesh.errors import BadInput, BusUnavailable, NotYet
from mesh.text import short
from mesh_client.access import Access
from mesh_client.entries import LogEntry
from mesh_client.rows import SqlRows

if TYPE_CHECKING:
    from agents.search.samplers.protocol import Sampler
    from mesh_client.astudy import AsyncStudy

FilesByPath = Mapping[str, str | bytes]
"""Whole files by path."""

_GRACE_S, _AGAIN_S = 2.0, 1.0


class AsyncClient:
    """An arena for one who takes part.

    Attributes:
        arena: The name of the arena.
        name: Who posts, as the log names them; "" through a hub, where the key says so.

    Every method may raise `BusUnavailable` if the server does not answer, and `BadInput` if an argument is not valid.
    Where it takes a proposal, that is what `propose` returned, the beginning of its hash, `champion` or `baseline`.
    """

    def __init__(self, access: Access, name: str) -> None:
        self.arena, self.name, self._access = access.arena, name, access

    @property
    def board(self) -> Board:
        """The board, which follows the log: it may change whenever the caller awaits something."""
        return self._access.door().board

    async def board_now(self) -> Board:
        """Return a board of the caller's own, folded up to the last entry; the next call goes on with it."""
        return await self._access.board_now()

    async def status(self) -> ArenaStatus:
        """Return how the arena is: champion, queue, workers, cost."""
        return await self._access.ask("status", ArenaStatus)

    async def leaderboard(self, top: int = 20) -> Leaders:
        """Return the first rows of the leaderboard, at most 200, the best first."""
        return await self._access.ask("leaderboard", Leaders, top=top)

    async def show(self, word: str) -> Shown:
        """Return what is known about a proposal, run, agent or worker, or about an entry such as `12`."""
        return await self._access.ask("show", Shown, word=word)

    async def lineage(self, proposal: "str | Proposed") -> Ancestry:
        """Return a proposal and its ancestors, the nearest first."""
        return await self._access.ask("lineage", Ancestry, word=_word(proposal))

    async def diff(self, old: "str | Proposed", new: "str | Proposed") -> Difference:
        """Return what differs from one proposal to another, as a unified diff between marks."""
        return await self._access.ask("diff", Difference, old=_word(old), new=_word(new))

    async def code(self, proposal: "str | Proposed" = "", path: str = "") -> CodeShown:
        """Return the files of a proposal, or lines of one between marks, as a model reads them; see `files`."""
        return await self._access.ask("code", CodeShown, word=_word(proposal), path=path)

    async def files(self, proposal: "str | Proposed" = "") -> dict[str, bytes]:
        """Return the files of a proposal as a trial finds them; by default those of the champion, else the baseline."""
        return await self._access.files(_word(proposal))

    async def note(self, text: str, *, channel: str = "general", about: "str | Proposed" = "") -> Noted:
        """Post a note; `about` names what it is about. The same text said again within a minute is one note."""
        return await self._access.ask("note", Noted, text=text, author=self.name, channel=channel, about=_word(about))

    async def reply(self, seq: int, text: str) -> Noted:
        """Answer entry `seq` of the log: a note in its channel, anything else in `general`."""
        return await self._access.ask("reply", Noted, seq=seq, text=text, author=self.name)

    async def critique(
        self,
        proposal: "str | Proposed",
        verdict: CritiqueVerdict,
        text: str,
        *,
        predicted_gain: float | None = None,
        confidence: float | None = None,
        model: str = "",
    ) -> Critiqued:
        """Judge a proposal or a run.

        Args:
            proposal: The proposal, or the name of a run.
            verdict: `endorse`, `warn` or `block`.
            text: Why.
            predicted_gain: The expected gain over the first parent, in units of the metric.
            confidence: The probability that an endorsed proposal becomes champion, or another one does not, 0 to 1.
            model: The model whose judgement it is; "" is a person.
        """
        return await self._access.ask(
            "critique",
            Critiqued,
            word=_word(proposal),
            verdict=verdict,
            text=text,
            author=self.name,
            predicted_gain=predicted_gain,
            confidence=confidence,
            model=model,
        )

    async def digest(self, since: int = 0, *, max_tokens: int = 2000) -> News:
        """Return what has happened after entry `since` of the log, most important first, in at most so many tokens."""
        return await self._access.ask("digest", News, since=since, max_tokens=max_tokens, author=self.name)

    async def follow(
        self, since: int | None = None, *, kinds: Sequence[str] = (), until: int | None = None
    ) -> AsyncGenerator[LogEntry]:
        """Yield the facts of the log in order, and go on as they come; also after a lost connection.

        Args:
            since: Begin after this entry; 0 is the first one, None begins with what comes next.
            kinds: Only facts of these kinds, such as `run.finished`; by default all.
            until: End after this entry; by default never.
        """
        found = self._access.follow(since, kinds, until)
        try:
            async for entry in found:
                yield entry
        finally:
            await found.aclose()

    async def checkout(self, proposal: str, folder: str | Path) -> CheckedOut:
        """Write the files of a proposal into a folder, as `mesh checkout` does."""
        return await self._access.ask("checkout", CheckedOut, word=_word(proposal), folder=Path(folder))

    async def propose(
        self,
        files: FilesByPath | Path | None = None,
        *,
        patch: str = "",
        parent: "str | Proposed | None" = None,
        title: str = "",
        rationale: str = "",
        predicted_gain: float | None = None,
        confidence: float | None = None,
        model: str = "",
    ) -> Proposed:
        """Propose changed files, and return the proposal and its place in the queue. It is safe to repeat.

        Args:
            files: Editable files by path, whole; or a folder, such as a checkout. Others stay as the parent has them.
            patch: A unified diff of the parent, instead of files.
            parent: The proposal that is changed; by default the champion, else the baseline.
            title: The change in one line; by default what differs.
            rationale: Why it should be better.
            predicted_gain: The expected gain over the parent, in units of the metric.
            confidence: The probability of a gain, 0 to 1.
            model: The model that made it; "" is a person.

        Raises:
            ArenaIsClosed: The arena takes no proposals.
            BadInput: It is refused; nothing was posted.
        """
        if (files is None) == (not patch):
            raise BadInput("propose takes files or a patch: give one of them")
        found: dict[str, bytes] = {}
        if isinstance(files, Path):
            found, known = await self._access.folder(files)
            parent = parent if parent is not None else known
        elif files is not None:
            found = {path: _data(path, text) for path, text in files.items()}
        return await self._access.ask(
            "propose",
            Proposed,
            files=found,
            patch=patch,
            parent=_word(parent) if parent is not None else "",
            author=self.name,
            title=title,
            rationale=rationale,
            predicted_gain=predicted_gain,
            confidence=confidence,
            model=model,
        )

    async def wait(
        self, proposal: "str | Proposed", timeout: float | None = None, *, until: Awaited = "verdict"
    ) -> Outcome:
        """Wait until a proposal is promoted, retired or refused; a server that is away is waited for.

        Args:
            proposal: The proposal.
            timeout: Seconds to wait; None is any time.
            until: `verdict`, or `score` for the first score.

        Raises:
            NotYet: The time is over. It is a `TimeoutError`, and `so_far` has how the proposal fares.
        """
        word = _word(proposal)
        end = float("inf") if timeout is None else anyio.current_time() + timeout
        so_far: Outcome | None = None
        while True:
            left = max(0.0, end - anyio.current_time())
            with anyio.move_on_after(left + _GRACE_S):
                try:
                    seconds = min(left, LONGEST_S)
                    so_far = await self._access.ask("wait", Outcome, word=word, until=until, seconds=seconds)
                except BusUnavailable:
                    await anyio.sleep(min(left, _AGAIN_S))
                else:
                    if so_far.ending:
                        return so_far
            if anyio.current_time() >= end:
                raise _not_yet(word, timeout or 0.0, so_far)

    def study(self, name: str = "study", *, sampler: "str | Sampler" = "", seed: int = 0) -> "AsyncStudy":
        """Return a study, in which an optimiser asks for values of knobs and is told scores.

        Args:
            name: The name under which its proposals are credited, as that of a sampler.
            sampler: Who chooses values that `ask` is not given: a built-in one such as `tpe`, or one of your own with
                `ask(space, trials, pending, rng)`; by default all built-in ones share the proposals.
            seed: Begins its randomness.
        """
        from mesh_client.astudy import AsyncStudy

        wait = partial(self.wait, until="score")
        return AsyncStudy(self._access.door(), self.name, wait, name=name, sampler=sampler, seed=seed)

    async def sql(self, query: str, *, max_rows: int = 0, timeout: float = 30.0) -> SqlRows:
        """Return the rows of a read-only query of all arenas' views: leaderboard, runs, proposals, events and others.

        Args:
            query: One statement of DuckDB.
            max_rows: The most rows; 0 is all.
            timeout: Seconds after which the statement is interrupted.

        Raises:
            QueryError: The statement was refused or failed.
        """
        return await self._access.rows(query, max_rows, timeout)


def _word(proposal: "str | Proposed") -> str:
    return proposal if isinstance(proposal, str) else proposal.proposal


def _data(path: str, text: object) -> bytes:
    if isinstance(text, bytes):
        return text
    if isinstance(text, str):
        return text.encode()
    raise BadInput(f"the contents of {path!r} are a {type(text).__name__}; use str or bytes")


def _not_yet(word: str, timeout: float, so_far: Outcome | None) -> NotYet:
    if so_far is None:
        return NotYet(f"proposal {short(word)} is not decided after {timeout:g} s: the server does not answer")
    rest = place_words(so_far.queue) or so_far.state
    return NotYet(f"proposal {short(so_far.proposal)} is not decided after {timeout:g} s: {rest}; wait again", so_far)

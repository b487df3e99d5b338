"""The roll call: which workers and agents answer now. The log alone cannot know that one was killed.

Every worker and every agent answers for its life as long as it runs. The question names the life and then its author,
so that on a hub with accounts the server lets nobody else hear it (`mesh.accounts.rights`); the answer repeats the word
that the question has. So nobody can answer for another one, nor take its questions. A server without a listener says so
at once; whoever is frozen, or cut off, does not answer in time. On a hub with accounts its own processes alone call the
roll: who might answer any member could write anywhere in its name.

A process of an earlier version hears questions that name its life alone, and one of a later version answers these too.
The fact that a life joined says whether it answers by name; a life that does is asked in no other way.
"""

import datetime as dt
import secrets
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

import anyio

from mesh.board import Board
from mesh.bus import ArenaBus, Live
from mesh.errors import BusError, BusRefused

_WITHIN_S = 2.0
"""Seconds in which whoever is there answers."""
_EVERY_S = 2.0
GONE_S = 8.0
"""Seconds without an answer after which a life counts as gone for those who watch; a connection may break and heal."""
_AGAIN_S = 30.0
"""Seconds after which one that is gone is asked again."""
_AT_ONCE = 32


async def answer_roll_call(bus: Live, boot: str, name: str) -> None:
    """Answer for one life of a worker or an agent until cancelled.

    Args:
        bus: the arena.
        boot: the boot id of that life.
        name: its name, under which it posts.
    """

    async def here(question: bytes) -> bytes:
        return question or b"here"

    async with anyio.create_task_group() as tasks:
        for service in (_service(boot, name), _service(boot, "")):
            tasks.start_soon(bus.answer, service, here)


async def roll_call(
    bus: Live, boots: Collection[str], names: Mapping[str, str], within_s: float = _WITHIN_S
) -> frozenset[str]:
    """Return those of the boot ids that answer within `within_s` seconds.

    Args:
        bus: the arena.
        boots: the boot ids.
        names: who alone may answer, by boot id (`names_to_ask`); a life without a name is asked by its boot id.
        within_s: seconds to wait for an answer.

    Raises:
        BusRefused: this member of a hub may not call the roll.
    """
    found = set[str]()
    refused: list[BusRefused] = []
    turn = anyio.CapacityLimiter(_AT_ONCE)

    async def ask(boot: str) -> None:
        name = names.get(boot, "")
        word = secrets.token_bytes(16) if name else b""
        async with turn:
            try:
                if await bus.ask(_service(boot, name), word, timeout_s=within_s) == (word or b"here"):
                    found.add(boot)
            except BusRefused as refusal:
                refused.append(refusal)
            except BusError:
                pass

    async with anyio.create_task_group() as tasks:
        for boot in boots:
            tasks.start_soon(ask, boot)
    if refused:
        raise refused[0]
    return frozenset(found)


async def who_answers(bus: Live, board: Board, boots: Collection[str]) -> frozenset[str] | None:
    """Return those of the boot ids that answer a roll call, None for a member of a hub, which may not call it."""
    try:
        return await roll_call(bus, boots, names_to_ask(board))
    except BusRefused:
        return None


def names_to_ask(board: Board) -> dict[str, str]:
    """Return by boot id the names of the lives that are to be asked by name: of all that said so when they joined."""
    lives = [*board.workers.items(), *board.agents.items()]
    return {boot: life.name for boot, life in lives if not life.left and life.joined.answers_by_name}


def expected(board: Board) -> set[str]:
    """Return the boot ids that a roll call names: of all that have not left, and of those that began a run."""
    lives = [*board.workers.items(), *board.agents.items()]
    began = {board.runs[run].worker for run in board.unfinished if board.runs[run].attempts}
    left = {boot for boot, member in lives if member.left}
    return ({boot for boot, _ in lives} | began) - left - {""}


class Watchman:
    """Calls the roll again and again for those who watch an arena.

    `answering` are the boot ids that count as present, None before the first round, and for a member of a hub, which
    may not call the roll. `silent_since` is when the server last answered, None while it does.
    """

    def __init__(self, bus: ArenaBus, board: Callable[[], Board]) -> None:
        self.answering: frozenset[str] | None = None
        self.silent_since: dt.datetime | None = None
        self._bus, self._board = bus, board
        self._heard = dict[str, float]()
        self._asked = dict[str, float]()
        self._answered_at = dt.datetime.now(dt.UTC)
        self._may_call = True

    async def keep(self, on_change: Callable[[], None] = lambda: None) -> None:
        """Call until cancelled; `on_change` is called when somebody came or went, or the server fell silent."""
        while True:
            before = self.answering, self.silent_since
            await self._round()
            if before != (self.answering, self.silent_since):
                on_change()
            await anyio.sleep(_EVERY_S)

    async def _round(self) -> None:
        if not await self._server_answers():
            self.silent_since = self._answered_at
            self._excuse()
            return
        if self._may_call:
            try:
                await self._call()
            except BusRefused:
                self._may_call = False

    async def _call(self) -> None:
        board = self._board()
        now, boots = anyio.current_time(), expected(board)
        newcomers = boots - self._asked.keys() if self.answering is not None else set()
        self._heard |= dict.fromkeys(newcomers, now)  # they have just joined
        due = {boot for boot in boots if self._is_here(boot, now) or now - self._asked.get(boot, -_AGAIN_S) >= _AGAIN_S}
        answering = await roll_call(self._bus, due, names_to_ask(board))
        if not answering >= due and not await self._server_answers():
            self._excuse()  # it fell silent meanwhile, which says nothing about those who were asked
            return
        self._asked = {boot: at for boot, at in self._asked.items() if boot in boots} | dict.fromkeys(due, now)
        self._heard = {boot: at for boot, at in self._heard.items() if boot in boots} | dict.fromkeys(answering, now)
        self.answering = frozenset(boot for boot in boots if self._is_here(boot, now))

    def _excuse(self) -> None:
        """Count no silence of the server against those who were there."""
        self._heard |= dict.fromkeys(self.answering or (), anyio.current_time())

    def _is_here(self, boot: str, now: float) -> bool:
        return boot in self._heard and now - self._heard[boot] < GONE_S

    async def _server_answers(self) -> bool:
        with anyio.move_on_after(_WITHIN_S), suppress(BusError):
            await self._bus.head()
            self._answered_at, self.silent_since = dt.datetime.now(dt.UTC), None
            return True
        return False


def _service(boot: str, name: str) -> str:
    return f"roll.{boot}.{name}" if name else f"here.{boot}"

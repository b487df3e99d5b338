"""The one rule by which a command asks a projector: the log is long, and a projector that has folded all of it answers.

In every other case the command folds the log itself, and gets the same.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import anyio
import msgspec

from mesh.bus import ArenaBus
from mesh.errors import BadInput, BusUnavailable

LONG = 20_000
"""Entries from which on a projector is asked: a shorter log is folded before it has answered."""

MOST_ROWS = 50_000
"""Rows of one answer; a command that needs more folds the log."""

_CATCHES_UP_WITHIN_S = 2.0
_ANSWERS_WITHIN_S = 20.0
_T = TypeVar("_T")

Row = dict[str, Any]


class Unanswered(Exception):
    """The projector cannot say it: it refuses, it lies behind the log, or the answer is too long. Fold the log."""


class Projector:
    """A projector as one command asks it; `head` is the end of the log when the command began.

    `seq` is the entry up to which the log was folded when the last answer was made.
    """

    def __init__(self, bus: ArenaBus, head: int) -> None:
        self.arena, self.head, self.seq = bus.arena, head, 0
        self._bus = bus
        self._give_up = anyio.current_time() + _CATCHES_UP_WITHIN_S

    def sql(self, name: str, **values: object) -> str:
        """Return a query of the folder `sql` about the arena, with these values in their places."""
        text = (Path(__file__).parent / "sql" / f"{name}.sql").read_text(encoding="utf-8")
        return text.format(arena=f"'{self.arena}'", **values)

    async def tables(self, selects: Mapping[str, str]) -> dict[str, list[Row]]:
        """Return the rows of several queries, all as of the same entry of the log; their order is not kept.

        Args:
            selects: Queries in SQL, each with names for all its columns, by the name of the answer.

        Raises:
            BusUnavailable: No projector answers.
            Unanswered: It cannot say it.
        """
        parts = [f"(SELECT list({name}) FROM ({select}) AS {name})" for name, select in selects.items()]  # noqa: S608
        [values] = await self.rows(", ".join(["SELECT 0", *parts]))
        return {name: value or [] for name, value in zip(selects, values[1:], strict=True)}

    async def rows(self, sql: str) -> list[list[Any]]:
        """Return the rows of a query; raises as `tables`."""
        from mesh.sql_protocol import SERVICE, Answer, Query, decode_reply, encode

        question = encode(Query(sql, max_rows=MOST_ROWS, timeout_s=_ANSWERS_WITHIN_S))
        while True:
            answer = await self._bus.ask(SERVICE, question, timeout_s=_ANSWERS_WITHIN_S + 5)
            try:
                reply = decode_reply(answer)
            except BadInput:
                raise Unanswered from None
            if not isinstance(reply, Answer) or reply.truncated:
                raise Unanswered
            self.seq = reply.as_of.get(self.arena, 0)
            if self.seq >= self.head:
                return reply.rows
            if anyio.current_time() > self._give_up:
                raise Unanswered
            await anyio.sleep(0.1)


async def from_projector(
    bus: ArenaBus, work: Callable[[Projector], Awaitable[_T]], *, long: int | None = None
) -> _T | None:
    """Return what `work` makes of a projector's answers, or None where the log is to be folded here.

    Args:
        bus: The bus of the arena.
        work: Asks the projector.
        long: How many entries a log has at least of which a projector is asked; by default `LONG`.
    """
    if (head := await bus.head()) < (LONG if long is None else long):
        return None
    try:
        return await work(Projector(bus, head))
    except (BusUnavailable, Unanswered, msgspec.MsgspecError):
        return None

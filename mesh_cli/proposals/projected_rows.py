"""The rows of a long log's leaderboard from a projector, which has folded what a command would have to fold itself."""

from contextlib import suppress

import anyio
import msgspec

from mesh.bus import ArenaBus
from mesh.errors import BadInput, BusUnavailable
from mesh.leaderboard import LeaderboardRow

LONG = 20_000
"""Entries from which on a projector is asked: a shorter log is folded before it has answered."""

_CATCHES_UP_WITHIN_S = 2.0
_ANSWERS_WITHIN_S = 20.0
_COLUMNS = LeaderboardRow.__struct_fields__


async def projected_rows(bus: ArenaBus, count: int, *, long: int = LONG) -> list[LeaderboardRow] | None:
    """Return the first rows of the leaderboard as of now, or None where the log is to be folded here.

    That is so where the log is short, where no projector answers, and where the one that does lies behind the log.

    Args:
        bus: The bus of the arena.
        count: How many rows at most.
        long: How many entries a log has at least of which a projector is asked.
    """
    from analytics.sql_protocol import SERVICE, Answer, Query, decode_reply, encode

    if (head := await bus.head()) < long:
        return None
    which = f"arena = '{bus.arena}' ORDER BY rank LIMIT {count:d}"
    sql = f"SELECT {', '.join(_COLUMNS)} FROM leaderboard WHERE {which}"  # noqa: S608  # names of ours and a number
    question = encode(Query(sql, max_rows=count, timeout_s=_ANSWERS_WITHIN_S))
    give_up = anyio.current_time() + _CATCHES_UP_WITHIN_S
    with suppress(BusUnavailable, BadInput, msgspec.ValidationError):
        while True:
            reply = decode_reply(await bus.ask(SERVICE, question, timeout_s=_ANSWERS_WITHIN_S + 5))
            if not isinstance(reply, Answer):
                return None
            if reply.as_of.get(bus.arena, 0) >= head:
                named = [dict(zip(_COLUMNS, row, strict=True)) for row in reply.rows]
                return msgspec.convert(named, list[LeaderboardRow]) or None
            if anyio.current_time() > give_up:
                return None
            await anyio.sleep(0.1)
    return None

"""Grants of dollars: the facts that an arena's budget consists of. The first one is `[stop] usd` of arena.toml."""

import datetime as dt
import secrets

from mesh.bounds import MAX_USD
from mesh.bus import Bus
from mesh.errors import AlreadyPosted, BadInput
from mesh.events import BudgetGranted
from mesh.follow import Follower, post_once
from mesh.money import limit_usd, spent_usd
from mesh.wire import Post

_COMMON = 2**62
"""Numbers of grants that are counted on; a fact may have twice as many."""


async def grant(bus: Bus, follower: Follower, usd: float, *, author: str) -> BudgetGranted:
    """Grant an arena more dollars; return the fact. The follower has the arena's board, and has it on it then.

    Args:
        bus: The log of the arena.
        follower: Folds that log.
        usd: Dollars, 0 or more.
        author: Who grants them.

    Raises:
        BadInput: The number of dollars cannot be granted.
        BusError: The log cannot be reached.
    """
    if not 0 <= usd <= MAX_USD:
        raise BadInput(f"the grant is {usd:g} dollars; use a number above 0, a billion at most")
    while True:
        event = BudgetGranted(n=_next_number(follower.board.worker_costs.grants), usd=usd)
        try:
            await post_once(bus, follower.board, Post.new(author, event))
        except AlreadyPosted:
            await follower.catch_up()  # somebody granted something at the same time
            continue
        await follower.catch_up()
        return event


def _next_number(last: int) -> int:
    """Return the number after the last one; where somebody has used the numbers up, any: it keeps grants apart."""
    return last + 1 if last < _COMMON else secrets.randbelow(_COMMON)


async def grant_at_opening(bus: Bus, follower: Follower, *, author: str) -> float:
    """Grant what `[stop] usd` of the version in force has beyond the grants so far; return it, 0 if nothing.

    Raises:
        BusError: The log cannot be reached.
    """
    board = follower.board
    wanted = board.opened.spec.stop.usd if board.opened else 0.0
    before = limit_usd(board)
    if not wanted or (before is not None and before >= wanted):
        return 0.0
    now = max(board.time, dt.datetime.now(dt.UTC))  # where this clock is late, the log's counts
    missing = wanted - (spent_usd(board, now) if before is None else before)
    return (await grant(bus, follower, max(0.0, missing), author=author)).usd or 0.0

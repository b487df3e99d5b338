"""`mesh tail`: which part of the log to print, and which entries match. It keeps only the last lines in memory.

To find the last n matches of a rare kind, it reads the log backwards in growing windows; the server sends only the
entries that match the patterns.
"""

import select
import sys
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import anyio
import msgspec

from mesh.bus import Bus
from mesh.errors import BadInput
from mesh.times import moment
from mesh.wire import Entry
from mesh_cli.board.filters import Wanted

_WINDOW = 1000
LAST = 20
_LOOK_S = 0.5


class Span(msgspec.Struct, frozen=True):
    """The `last` (None: all) entries after sequence `after` up to `until`, then new ones if `follow`."""

    after: int
    until: int
    last: int | None
    follow: bool


async def span_of(
    bus: Bus, *, follow: bool, n: int | None, from_seq: int | None, since: str | None, until: str | None
) -> Span:
    """Return the part of the log that the options select; without options, the last `LAST` entries.

    Raises:
        BadInput: a time is malformed, or the options contradict each other.
    """
    if until is not None and follow:
        raise BadInput("--until and --follow exclude each other; use one of them")
    after, end = max(0, (from_seq or 1) - 1), await bus.head()
    if since is not None:
        after = max(after, await bus.since(moment(since)) - 1)
    if until is not None:
        end = min(end, await bus.since(moment(until)) - 1)
    last = LAST if n is None and from_seq is None and since is None else n
    return Span(after if follow else min(after, end), end, last, follow)


async def entries(bus: Bus, wanted: Wanted, span: Span) -> AsyncGenerator[list[Entry]]:
    """Yield the entries that match, in the order of the log, as they come."""
    begin = span.after if span.last is None else await begin_of_last(bus, wanted, span.after, span.until, span.last)
    async for batch in _matching(bus.read(begin, until=span.until, only=wanted.patterns), wanted):
        yield batch
    if span.follow:
        later = bus.read(max(span.until, span.after), follow=True, only=wanted.growing)
        async for batch in _matching(later, wanted):
            yield batch


async def begin_of_last(bus: Bus, wanted: Wanted, after: int, until: int, n: int) -> int:
    """Return the sequence number before the last `n` matches, at least `after`."""
    if n == 0:
        return until
    if wanted.is_everything:
        return max(after, until - n)
    high, width, missing, first = until, max(_WINDOW, 2 * n), n, until + 1
    while high > after and missing:
        low = max(after, high - width)
        found: deque[int] = deque(maxlen=missing)
        async for batch in _matching(bus.read(low, until=high, only=wanted.patterns), wanted):
            found.extend(entry.seq for entry in batch)
        if found:
            first, missing = found[0], missing - len(found)
        high, width = low, width * 4
    return first - 1


async def tell(
    batches: AsyncGenerator[list[Entry]],
    say: Callable[[Entry], Awaitable[None]],
    seen: Callable[[], None] | None = None,
) -> None:
    """Print every entry and call `seen` after each batch. Ends when standard output has no reader any more."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_until_nobody_reads, tasks.cancel_scope)
        async with aclosing(batches):
            async for batch in batches:
                for entry in batch:
                    await say(entry)
                sys.stdout.flush()
                if seen:
                    seen()
        tasks.cancel_scope.cancel()


async def _until_nobody_reads(scope: anyio.CancelScope) -> None:
    """Cancel once the pipe that is standard output has no reader; a follower might not write for hours."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):
        return
    while not any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0)):
        await anyio.sleep(_LOOK_S)
    scope.cancel()


async def _matching(batches: AsyncGenerator[list[Entry]], wanted: Wanted) -> AsyncGenerator[list[Entry]]:
    async with aclosing(batches):
        async for batch in batches:
            if found := [entry for entry in batch if wanted.matches(entry)]:
                yield found

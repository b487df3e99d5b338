"""What a member of a hub may do: how often, how much at a time, and what its texts must not have."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from gateway.http.entry import caller_of, gateway_of, served_of
from gateway.pending import awaited_by
from mesh.errors import BadInput
from mesh.text import printable


class AtATime:
    """Counts requests that run at the same time: of all members, and of each."""

    def __init__(self, most: int, most_of_one: int, sentence: str) -> None:
        self._most, self._most_of_one, self._sentence = most, most_of_one, sentence
        self._by: dict[str, int] = {}

    @contextmanager
    def one(self, author: str) -> Iterator[None]:
        """Count one while the block runs.

        Raises:
            HTTPException: 429, there are too many.
        """
        if self._by.get(author, 0) >= self._most_of_one or sum(self._by.values()) >= self._most:
            raise HTTPException(429, self._sentence, {"Retry-After": "5"})
        self._by[author] = self._by.get(author, 0) + 1
        try:
            yield
        finally:
            self._by[author] -= 1
            if not self._by[author]:
                del self._by[author]


POLLING = AtATime(2000, 20, "too many requests wait for news; end one of them")
"""The requests of this process that wait for news."""
BUNDLES = AtATime(64, 3, "too many bundles are on their way; wait for one of them")
"""The pushes and fetches of this process: each may hold 50 MiB on disk."""


def check_pending(request: HTTPConnection) -> None:
    """Check that a member may propose once more before its proposals have scores.

    Raises:
        HTTPException: 409, too many wait.
    """
    if awaited := awaited_by(served_of(request).door.board, caller_of(request).author, gateway_of(request).pending):
        raise HTTPException(409, f"wait for {awaited} first")


def check_texts(request: HTTPConnection, texts: Mapping[str, str]) -> None:
    """Check that texts, by what they are, have no key of this hub.

    Raises:
        BadInput: one has.
    """
    for where, text in texts.items():
        if gateway_of(request).members.index.has_key_of_ours(text):
            raise BadInput(f"{printable(where, 80)} has a key of this hub; the log never forgets: take it out")


async def check_all_arenas(request: HTTPConnection) -> None:
    """Check that a member may read all arenas of this hub, as a question in SQL does.

    Raises:
        HTTPException: 403, its key is not for all, or this gateway does not serve all.
        BusUnavailable: the log cannot be reached.
    """
    asking, arenas = caller_of(request), gateway_of(request).arenas
    if not await arenas.are_all():
        raise HTTPException(403, "sql reads all arenas of this hub, and this gateway serves only some of them")
    if others := [name for name in await arenas.names() if not asking.may_enter(name)]:
        raise HTTPException(403, f"sql reads all arenas of this hub, and this key is not for {others[0]}")

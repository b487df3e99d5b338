"""The ports through which everything speaks: the log of an arena, what is live, and the objects beside it.

Three verbs make the bus: `post` a fact, `read` the log in order, `work` on a shared queue at least once. Two adapters
keep the same contract (`tests/test_bus.py`): `mesh.jetstream` and `mesh.memory`.
"""

import datetime as dt
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from mesh.errors import AlreadyPosted
from mesh.wire import Entry, Pattern, Post


class Delivery(Protocol):
    """One delivery of an entry to one worker; the lease ends unless it is extended."""

    entry: Entry
    attempt: int

    async def done(self) -> None:
        """Take the entry off the queue for good.

        Raises:
            BusUnavailable: the server did not confirm; the entry may come again.
        """

    async def extend(self) -> None:
        """Restart the lease: it ends `lease_s` seconds from now."""

    async def hand_back(self, delay_s: float = 0.0) -> None:
        """Give the entry to the next worker, after `delay_s` seconds."""


class Bus(Protocol):
    """The log of one arena."""

    arena: str

    async def post(self, post: Post) -> int:
        """Append a fact and return its sequence; retried until it is stored or patience ends.

        Raises:
            AlreadyPosted: another post holds the key of this fact.
            BadInput: the post is too large.
            BusUnavailable: no server confirmed it in time.
            BusRefused: the server says no.
        """

    async def post_all(self, posts: Iterable[Post]) -> list[int | AlreadyPosted]:
        """Append many facts, a bounded number of them in flight; return each one's sequence or its refusal, in order.

        Raises: as `post`, but for `AlreadyPosted`.
        """

    def read(
        self, after: int = 0, *, follow: bool = False, until: int | None = None, only: Sequence[Pattern] = ()
    ) -> AsyncGenerator[list[Entry]]:
        """Yield what stands after sequence `after`, in order, in non-empty batches without gaps.

        Without `follow` it ends at `until`, or at what was the last entry when it began; with it, it waits for more and
        outlives a lost connection. With `only`, what no pattern wants is left out, and never leaves the server; no two
        of the patterns may want the same entry.
        """

    async def since(self, time: dt.datetime) -> int:
        """Return the sequence of the first entry at or after `time`, one more than the last where there is none."""

    def work(self, queue: str, kinds: Sequence[str], *, lease_s: float = 5.0) -> AsyncGenerator[Delivery]:
        """Yield entries of `kinds` (earlier kinds first), each to one member of `queue`, again if the lease ends.

        A kind may carry leading key tokens: `run.requested.confirm`.
        """

    async def head(self) -> int:
        """Return the sequence of the last entry, 0 for an empty log."""

    async def identity(self) -> str:
        """Return what tells this log from another of the same name."""


class Live(Protocol):
    """What is not a fact: at most once, kept by nobody."""

    async def tell(self, topic: str, data: bytes) -> None:
        """Send `data` to whoever hears `topic` now; silently nothing where the server is away."""

    def hear(self, topic: str) -> AsyncGenerator[tuple[str, bytes]]:
        """Yield (topic, data) of what is told; `topic` may end in `.>`."""

    async def ask(self, service: str, data: bytes, *, timeout_s: float = 10.0) -> bytes:
        """Return the answer of whoever serves `service`, however large.

        Raises:
            BusUnavailable: nobody answers in time.
        """

    async def answer(self, service: str, handler: Callable[[bytes], Awaitable[bytes]]) -> None:
        """Serve `service` until cancelled; several servers share the questions."""


class Objects(Protocol):
    """Content-addressed bytes beside the log; a name is given once and for ever."""

    async def put(self, name: str, data: bytes) -> None:
        """Keep `data` under `name`; nothing happens where it is there already."""

    async def get(self, name: str) -> bytes:
        """Return the bytes of `name`.

        Raises:
            ObjectMissing: there is no such object.
        """


class ArenaBus(Bus, Live, Objects, Protocol):
    """Everything an arena offers over one connection."""


class Hub(Protocol):
    """A connection, from which the buses of arenas are had."""

    async def arenas(self) -> list[str]:
        """Return the names of the arenas that have a log, sorted."""

    async def arena(self, name: str, *, create: bool = False) -> ArenaBus:
        """Return the bus of an arena.

        Raises:
            UnknownName: it has no log and `create` is false.
        """

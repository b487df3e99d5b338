"""The ports of an arena: its log, its live topics, and the objects beside the log.

A bus has three verbs: `post` a fact, `read` the log in order, `work` on a shared queue at least once. Two adapters
fulfil the same contract (`tests/test_bus.py`): `mesh.jetstream` and `mesh.memory`.
"""

import datetime as dt
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from mesh.errors import AlreadyPosted
from mesh.fact_values import LANES
from mesh.wire import Entry, Pattern, Post

WORKERS = "workers"
"""The queue of the workers of an arena."""

REQUESTS = tuple(f"run.requested.{lane}" for lane in LANES)
"""The kinds of its entries, the most urgent first."""

LEASE_S = 5.0
"""Seconds after which a run goes to another worker, unless its worker extends it."""


class Delivery(Protocol):
    """One delivery of an entry to one worker. When the lease ends, the entry goes to another worker."""

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
        """Give the entry back; another worker may get it after `delay_s` seconds."""


class HandedOut(msgspec.Struct, frozen=True):
    """How far a queue is with a kind: all its entries up to sequence `seq` are off the queue; a lease is `lease_s`."""

    seq: int
    lease_s: float


class Bus(Protocol):
    """The log of one arena."""

    arena: str

    async def post(self, post: Post, *, over: int = 0) -> int:
        """Append a fact and return its sequence; retry until the server has stored it.

        Args:
            post: the fact.
            over: sequence of the last entry with the key of this fact, if it does not count (`Board.void`).

        Raises:
            AlreadyPosted: the log already has another post with the key of this fact, after entry `over`.
            BadInput: the post is too large.
            BusUnavailable: no server confirmed it in time.
            BusRefused: the server refused it.
        """

    async def post_all(self, posts: Iterable[Post]) -> list[int | AlreadyPosted]:
        """Append many facts and return, in order, the sequence of each or its refusal.

        At most a bounded number of posts wait for the server at a time.

        Raises: as `post`, but for `AlreadyPosted`.
        """

    def read(
        self, after: int = 0, *, follow: bool = False, until: int | None = None, only: Sequence[Pattern] = ()
    ) -> AsyncGenerator[list[Entry]]:
        """Yield the entries after sequence `after`, in order, in non-empty batches without gaps.

        Args:
            after: sequence of the last entry that the caller has; 0 reads from the first entry.
            follow: wait for new entries, also across a lost connection; otherwise end at `until`.
            until: sequence of the last entry to read; by default the last one in the log when reading begins.
            only: patterns of the wanted entries; the server filters, so other entries are not sent. No entry may match
                two of the patterns.
        """

    async def entries(self, seqs: Sequence[int]) -> list[Entry]:
        """Return the entries of these sequences, in their order; what the log does not have is left out.

        Raises:
            BusUnavailable: the log cannot be reached.
        """

    async def since(self, time: dt.datetime) -> int:
        """Return the sequence of the first entry at or after `time`; if there is none, one more than the last."""

    def work(
        self, queue: str, kinds: Sequence[str], *, lease_s: float = 5.0, first: Callable[[], str] | None = None
    ) -> AsyncGenerator[Delivery]:
        """Yield entries of `kinds`, each to one member of `queue`, and to another one if its lease ends.

        Args:
            queue: name of the queue; its members share the entries.
            kinds: kinds of facts, the most urgent first; a kind may have leading key tokens: `run.requested.confirm`.
            lease_s: seconds after which an entry goes to another member, unless it is extended; more where a cluster
                keeps the log, because nobody can extend it while a leader is elected.
            first: gives the kind that comes before the others now; asked before each entry.
        """

    async def handed_out(self, queue: str, kinds: Sequence[str]) -> dict[str, HandedOut]:
        """Return how far a queue is, by kind; a kind that no member has asked for yet is left out.

        It takes the rights of a hub: members are refused.

        Raises:
            BusRefused: the server refuses it.
            BusUnavailable: no server answers.
        """

    async def head(self) -> int:
        """Return the sequence of the last entry, 0 for an empty log."""

    async def identity(self) -> str:
        """Return an id of this log, which another log with the same name does not share."""


class Live(Protocol):
    """Live messages, which are not facts: delivered at most once, and not stored."""

    async def tell(self, topic: str, data: bytes) -> None:
        """Send `data` to all who listen to `topic` now; do nothing while no server is reachable."""

    def hear(self, topic: str) -> AsyncGenerator[tuple[str, bytes]]:
        """Yield each message as (topic, data); a `topic` that ends in `.>` includes all topics below it."""

    async def ask(self, service: str, data: bytes, *, timeout_s: float = 10.0) -> bytes:
        """Return the answer of a server of `service`; it may be of any size.

        Args:
            service: name of the service.
            data: the question.
            timeout_s: seconds to wait for the whole answer.

        Raises:
            BusUnavailable: no answer came in time.
            BusRefused: this member of a hub may not ask.
        """

    async def answer(self, service: str, handler: Callable[[bytes], Awaitable[bytes]]) -> None:
        """Answer the questions to `service` with `handler` until cancelled; several servers share the questions."""


class Objects(Protocol):
    """Content-addressed bytes beside the log; the bytes of a name never change."""

    async def put(self, name: str, data: bytes) -> None:
        """Store `data` under `name`; do nothing if the name exists."""

    async def get(self, name: str) -> bytes:
        """Return the bytes of `name`.

        Raises:
            ObjectMissing: there is no such object.
        """


class RecentObjects(Protocol):
    """Content-addressed bytes beside the log, of which the newest are kept: calls of models (`mesh.model_calls`)."""

    async def keep(self, name: str, data: bytes) -> None:
        """Store `data` under `name`, and drop the oldest if there are too many bytes; do nothing if the name exists.

        Raises:
            BusRefused: the server stores no such objects.
            BusUnavailable: no server answers.
        """

    async def kept(self, name: str) -> bytes:
        """Return the bytes of `name`.

        Raises:
            ObjectMissing: there is no such object, or it was dropped.
        """


class ArenaBus(Bus, Live, Objects, RecentObjects, Protocol):
    """The log, the live topics and the objects of an arena, over one connection."""


class Hub(Protocol):
    """A connection to a server, which returns the buses of its arenas."""

    async def arenas(self) -> list[str]:
        """Return the names of the arenas that have a log, sorted; the log of the hub itself is not among them."""

    async def arena(self, name: str, *, create: bool = False) -> ArenaBus:
        """Return the bus of an arena.

        Args:
            name: name of the arena.
            create: make what it lacks of its log and of its queue of runs, for which its members have no right.

        Raises:
            UnknownName: it has no log and `create` is false.
        """

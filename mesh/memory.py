"""The bus in memory: the same contract as JetStream, for tests and simulations inside one process.

It stores nothing on disk and does not simulate network failures. Leases use anyio's clock.
"""

import bisect
import datetime as dt
import uuid
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence

import anyio
import anyio.lowlevel

from mesh import wire
from mesh.bus import HandedOut
from mesh.errors import AlreadyPosted, BusUnavailable, ObjectMissing, UnknownName
from mesh.model_calls import KEPT_BYTES
from mesh.wire import Entry, Pattern, Post

READ_BATCH = 1000


class MemoryHub:
    """Arenas by name, all in this process."""

    def __init__(self) -> None:
        self._arenas: dict[str, MemoryBus] = {}

    async def arenas(self) -> list[str]:
        return sorted(name for name in self._arenas if name != wire.HUB_LOG)

    async def arena(self, name: str, *, create: bool = False) -> "MemoryBus":
        if name not in self._arenas and not create:
            raise UnknownName(f"there is no arena {name!r}; open one with `mesh open FOLDER`")
        return self._arenas.setdefault(name, MemoryBus(wire.check_token("arena", name)))


class MemoryBus:
    """One arena's log, live topics and objects."""

    def __init__(self, arena: str) -> None:
        self.arena = arena
        self._id = uuid.uuid4().hex
        self._entries: list[Entry] = []
        self._keys: dict[str, Entry] = {}
        self._changed = anyio.Event()
        self._queues: dict[tuple[str, str], _Queue] = defaultdict(_Queue)
        self._hearers: list[tuple[str, anyio.Event, deque[tuple[str, bytes]]]] = []
        self._services: dict[str, list[Callable[[bytes], Awaitable[bytes]]]] = defaultdict(list)
        self._objects: dict[str, bytes] = {}
        self._recent: dict[str, bytes] = {}

    async def post(self, post: Post, *, over: int = 0) -> int:
        data = wire.encode(post)
        key = wire.key_filter(self.arena, post)
        held = self._keys.get(key)
        if held is not None and held.seq != over:
            if held.post is not None and held.post.id == post.id:
                return held.seq
            author, post_id = (held.post.author, held.post.id) if held.post else (held.subject.author, "")
            raise AlreadyPosted(key, held.seq, author, post_id)
        entry = self.append_raw(wire.subject_of(self.arena, post), data)
        await anyio.lowlevel.checkpoint()
        return entry.seq

    async def post_all(self, posts: Iterable[Post]) -> list[int | AlreadyPosted]:
        results: list[int | AlreadyPosted] = []
        for post in posts:
            try:
                results.append(await self.post(post))
            except AlreadyPosted as already:
                results.append(already)
        return results

    def append_raw(self, subject: str, data: bytes) -> Entry:
        """Append bytes without any check, as a faulty publisher would; for tests."""
        entry = wire.entry(len(self._entries) + 1, dt.datetime.now(dt.UTC), subject, data)
        self._entries.append(entry)
        for key in (subject, f"{subject.rpartition('.')[0]}.*"):
            self._keys[key] = entry
        self._changed.set()
        self._changed = anyio.Event()
        return entry

    async def read(
        self, after: int = 0, *, follow: bool = False, until: int | None = None, only: Sequence[Pattern] = ()
    ) -> AsyncGenerator[list[Entry]]:
        end = len(self._entries) if until is None else until
        for pattern in only:
            wire.pattern_filters(self.arena, pattern)
        while True:
            last = len(self._entries) if follow else min(end, len(self._entries))
            batch = self._entries[after : min(last, after + READ_BATCH)]
            if batch:
                after = batch[-1].seq
                await anyio.lowlevel.checkpoint()
                if wanted := [e for e in batch if not only or wire.is_wanted(e.subject, only)]:
                    yield wanted
            elif follow:
                await self._changed.wait()
            else:
                return

    async def work(
        self, queue: str, kinds: Sequence[str], *, lease_s: float = 5.0, first: Callable[[], str] | None = None
    ) -> AsyncGenerator["MemoryDelivery"]:
        filters = {kind: wire.kind_filter(self.arena, kind).removesuffix(">") for kind in kinds}
        while True:
            changed, urgent = self._changed, first() if first else ""
            order = sorted(filters, key=lambda kind: kind != urgent)
            delivery = next(filter(None, (self._take(queue, filters[kind], lease_s) for kind in order)), None)
            if delivery:
                yield delivery
                continue
            with anyio.move_on_after(min(lease_s / 4, 0.25)):
                await changed.wait()

    def _take(self, queue: str, prefix: str, lease_s: float) -> "MemoryDelivery | None":
        state = self._queues[queue, prefix]
        now = anyio.current_time()
        for seq, until in state.leases.items():
            if until <= now:
                return state.lease(self._entries[seq - 1], now, lease_s)
        while state.next < len(self._entries):
            entry = self._entries[state.next]
            state.next += 1
            where = entry.subject
            if f"{wire.arena_filter(self.arena)[:-1]}{where.kind}.{where.key}.".startswith(prefix):
                return state.lease(entry, now, lease_s)
        return None

    async def handed_out(self, queue: str, kinds: Sequence[str]) -> dict[str, HandedOut]:
        await anyio.lowlevel.checkpoint()
        asked = ((kind, wire.kind_filter(self.arena, kind).removesuffix(">")) for kind in kinds)
        known = {kind: self._queues[queue, prefix] for kind, prefix in asked if (queue, prefix) in self._queues}
        return {
            kind: HandedOut(min((state.next + 1, *state.leases)) - 1, state.lease_s) for kind, state in known.items()
        }

    async def entries(self, seqs: Sequence[int]) -> list[Entry]:
        await anyio.lowlevel.checkpoint()
        return [self._entries[seq - 1] for seq in seqs if 0 < seq <= len(self._entries)]

    async def head(self) -> int:
        return len(self._entries)

    async def since(self, time: dt.datetime) -> int:
        return bisect.bisect_left(self._entries, time, key=lambda entry: entry.time) + 1

    async def identity(self) -> str:
        return self._id

    async def tell(self, topic: str, data: bytes) -> None:
        for pattern, event, queue in self._hearers:
            if pattern == topic or (pattern.endswith(">") and topic.startswith(pattern[:-1])):
                queue.append((topic, data))
                event.set()
        await anyio.lowlevel.checkpoint()

    async def hear(self, topic: str) -> AsyncGenerator[tuple[str, bytes]]:
        queue: deque[tuple[str, bytes]] = deque(maxlen=10_000)
        hearer = (topic, anyio.Event(), queue)
        self._hearers.append(hearer)
        try:
            while True:
                while queue:
                    yield queue.popleft()
                await hearer[1].wait()
                self._hearers.remove(hearer)
                hearer = (topic, anyio.Event(), queue)
                self._hearers.append(hearer)
        finally:
            self._hearers.remove(hearer)

    async def ask(self, service: str, data: bytes, *, timeout_s: float = 10.0) -> bytes:
        handlers = self._services.get(service)
        if not handlers:
            raise BusUnavailable(f"nobody answers {service!r} in arena {self.arena}")
        with anyio.move_on_after(timeout_s):
            return await handlers[0](data)
        raise BusUnavailable(f"{service!r} in arena {self.arena} did not answer within {timeout_s:g} s")

    async def answer(self, service: str, handler: Callable[[bytes], Awaitable[bytes]]) -> None:
        self._services[service].append(handler)
        try:
            await anyio.sleep_forever()
        finally:
            self._services[service].remove(handler)

    async def put(self, name: str, data: bytes) -> None:
        self._objects.setdefault(wire.check_token("object name", name), data)
        await anyio.lowlevel.checkpoint()

    async def get(self, name: str) -> bytes:
        await anyio.lowlevel.checkpoint()
        if name not in self._objects:
            raise ObjectMissing(f"arena {self.arena} has no object {name}")
        return self._objects[name]

    async def keep(self, name: str, data: bytes) -> None:
        self._recent.setdefault(wire.check_token("object name", name), data)
        while sum(map(len, self._recent.values())) > KEPT_BYTES:
            del self._recent[next(iter(self._recent))]
        await anyio.lowlevel.checkpoint()

    async def kept(self, name: str) -> bytes:
        await anyio.lowlevel.checkpoint()
        if name not in self._recent:
            raise ObjectMissing(f"arena {self.arena} has no object {name}")
        return self._recent[name]


class _Queue:
    """The state of one consumer: the next entry, and until when each delivered entry is leased."""

    def __init__(self) -> None:
        self.next = 0
        self.leases: dict[int, float] = {}
        self.deliveries: dict[int, int] = defaultdict(int)
        self.lease_s = 0.0

    def lease(self, entry: Entry, now: float, lease_s: float) -> "MemoryDelivery":
        self.leases[entry.seq], self.lease_s = now + lease_s, lease_s
        self.deliveries[entry.seq] += 1
        return MemoryDelivery(self, entry, self.deliveries[entry.seq], lease_s)


class MemoryDelivery:
    """One delivery; calls after its lease has ended do no harm."""

    def __init__(self, queue: _Queue, entry: Entry, attempt: int, lease_s: float) -> None:
        self.entry, self.attempt = entry, attempt
        self._queue, self._lease_s = queue, lease_s

    async def done(self) -> None:
        self._queue.leases.pop(self.entry.seq, None)

    async def extend(self) -> None:
        if self.entry.seq in self._queue.leases:
            self._queue.leases[self.entry.seq] = anyio.current_time() + self._lease_s

    async def hand_back(self, delay_s: float = 0.0) -> None:
        if self.entry.seq in self._queue.leases:
            self._queue.leases[self.entry.seq] = anyio.current_time() + delay_s

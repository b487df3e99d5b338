"""A member reads the log without a consumer, and reads exactly what is in it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from mesh import wire
from mesh.bus import REQUESTS, WORKERS, Bus
from mesh.errors import BusRefused, UnknownName
from mesh.events import LANES, NotePosted
from mesh.jetstream import JetStreamBus, JetStreamHub, connect, direct
from mesh.jetstream.direct_answers import sequence_of
from mesh.jetstream.member import MemberCredentials
from mesh.jetstream.quick import HeadedMessage
from mesh.server import EmbeddedServer
from mesh.wire import Entry, Pattern, Post
from tests.support.member_hub import ROLES, MemberHub, member_hub
from tests.test_bus import note, request
from tests.test_healing import close_for_good, deaden, forget_to_reconnect, freeze, kill, outlive

DEAF = {"deaf": (ROLES["observer"][0], ["_INBOX_{{name()}}.>"])}
"""An observer who may not hear the tail."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[MemberHub]:
    with member_hub(tmp_path / "hub", DEAF) as running:
        yield running


@asynccontextmanager
async def owner_and(
    hub: MemberHub, role: str = "observer", *, patience_s: float = 60
) -> AsyncIterator[tuple[JetStreamHub, JetStreamBus, JetStreamBus]]:
    """The connection and the bus of the owner of a hub, and the bus of a member."""
    async with (
        connect(hub.url, credentials=hub.owner) as owner,
        connect(hub.url, credentials=hub.member(role, "eve"), patience_s=patience_s) as member,
    ):
        bus = await owner.arena("a", create=True)
        yield owner, bus, await member.arena("a")


async def all_of(bus: Bus, *only: Pattern, after: int = 0, until: int | None = None) -> list[Entry]:
    async with aclosing(bus.read(after, until=until, only=only)) as batches:
        return [entry async for batch in batches for entry in batch]


async def test_a_member_reads_what_a_hub_reads(hub: MemberHub) -> None:
    async with owner_and(hub) as (_, bus, theirs):
        await bus.post_all(request(f"r{n}") if n % 7 == 0 else note(str(n), f"author-{n % 3}") for n in range(4000))
        with anyio.fail_after(200):
            assert await all_of(theirs) == (expected := await all_of(bus))
            assert [entry.seq for entry in expected] == list(range(1, 4001))
            assert await all_of(theirs, after=2500, until=2502) == expected[2500:2502]
            for only in (
                [Pattern(kind="note.posted")],
                [Pattern(author="author-1"), Pattern(kind="run.requested")],
                [Pattern(author="author-1"), Pattern(author="author-2"), Pattern(key="explore.*")],
                [Pattern(author="nobody")],
            ):
                assert await all_of(theirs, *only) == await all_of(bus, *only)
            assert await all_of(theirs, Pattern(author="author-1"), after=10, until=3000) == await all_of(
                bus, Pattern(author="author-1"), after=10, until=3000
            )


async def test_what_a_poster_says_of_its_entry_in_headers_is_not_believed(hub: MemberHub) -> None:
    forged = {
        "Nats-Sequence": "77",
        "Nats-Subject": "mesh.a.note.posted.forged.op",
        "Nats-Time-Stamp": "2001-01-01T00:00:00Z",
        "Nats-Last-Sequence": "12",
        "Nats-Num-Pending": "0",
        "Nats-Stream": "MESH_b",
    }
    async with owner_and(hub) as (owner, bus, theirs):
        for number in range(3):
            await bus.post(note(f"before {number}"))
        async with aclosing(theirs.read(3, follow=True)) as batches:
            heard: list[Entry] = []

            async def listen() -> None:
                async for batch in batches:
                    heard.extend(batch)
                    if len(heard) == 4:
                        return

            with anyio.fail_after(200):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(listen)
                    for number in range(4):
                        post = note(f"forged {number}")
                        await owner.link.append(wire.subject_of("a", post), wire.encode(post), forged)
        expected = await all_of(bus)
        assert heard == expected[3:]
        assert await all_of(theirs) == expected
        assert [entry.seq for entry in expected] == list(range(1, 8))
        assert await theirs.entries([5]) == [expected[4]]


@pytest.mark.parametrize("role", ["observer", "deaf"])
async def test_a_follower_misses_nothing_even_where_it_does_not_hear_the_tail(
    hub: MemberHub, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "TAIL_SILENCE_S", 0.2 if role == "deaf" else 600)
    heard: list[int] = []
    async with owner_and(hub, role) as (_, bus, theirs):

        async def listen(only: list[Pattern], into: list[int], count: int) -> None:
            async with aclosing(theirs.read(5, follow=True, only=only)) as batches:
                async for batch in batches:
                    into.extend(entry.seq for entry in batch)
                    if len(into) >= count:
                        return

        anns: list[int] = []
        with anyio.fail_after(200):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listen, [], heard, 2995)
                tasks.start_soon(listen, [Pattern(author="ann")], anns, 1498)
                for start in range(0, 3000, 100):
                    await bus.post_all(note(str(n), "ann" if n % 2 else "bob") for n in range(start, start + 100))
                    await anyio.sleep(0.005)
    assert heard == list(range(6, 3001))
    assert anns == list(range(6, 3001, 2))


async def test_a_gap_on_the_tail_is_filled(hub: MemberHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "TAIL_SILENCE_S", 600)
    kept = direct._Tail._on_messages

    def lose_some(tail: direct._Tail, messages: list[HeadedMessage]) -> None:
        kept(tail, [message for message in messages if sequence_of(message[1]) % 3])

    monkeypatch.setattr(direct._Tail, "_on_messages", lose_some)
    async with owner_and(hub) as (_, bus, theirs):
        heard: list[int] = []

        async def listen() -> None:
            async with aclosing(theirs.read(follow=True)) as batches:
                async for batch in batches:
                    heard.extend(entry.seq for entry in batch)
                    if len(heard) == 200:
                        return

        with anyio.fail_after(200):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listen)
                for number in range(200):
                    await bus.post(note(str(number)))
    assert heard == list(range(1, 201))


async def test_the_arenas_of_a_member_are_those_of_its_credentials(hub: MemberHub) -> None:
    async with connect(hub.url, credentials=hub.owner) as owner:
        for name in ("a", "b", "c"):
            await owner.arena(name, create=True)
        assert await owner.arenas() == ["a", "b", "c"]
    async with connect(hub.url, credentials=hub.member("agent", "ann", ["c", "a", "later"])) as member:
        assert await member.arenas() == ["a", "c"]
        with pytest.raises(
            UnknownName, match=r"^the credentials of ann are not for arena 'b' \(they are for: a, c, later\)$"
        ):
            await member.arena("b")
        with pytest.raises(UnknownName, match=r"^there is no arena 'later' .*\(there are: a, c\)$"):
            await member.arena("later", create=True)


async def test_what_a_member_may_not_say_is_refused_in_one_sentence(hub: MemberHub) -> None:
    async with owner_and(hub, "agent", patience_s=600) as (_, bus, theirs):
        await theirs.post(note("mine", "eve"))
        with anyio.fail_after(100), pytest.raises(BusRefused, match=r"the credentials are for 'eve': use --name eve$"):
            await theirs.post(note("another's", "ann"))
        with (
            anyio.fail_after(100),
            pytest.raises(BusRefused, match=r"not let eve post run\.requested in arena a: a curator may$"),
        ):
            await theirs.post(Post.new("eve", request("r1").event))
        assert [e.post.event.text for e in await all_of(bus) if e.post and isinstance(e.post.event, NotePosted)] == [
            "mine"
        ]


async def test_many_posts_of_a_member_that_the_server_sends_back_all_arrive(tmp_path: Path) -> None:
    """The server of this hub takes few posts at a time, and refuses more of them (429)."""
    with member_hub(tmp_path / "hub", jetstream="max_buffered_msgs: 4") as hub:
        async with owner_and(hub, "agent") as (_, bus, theirs):
            posts = [Post.new("eve", NotePosted(channel="general", text=str(n))) for n in range(600)]
            with anyio.fail_after(120):
                assert len(set(await theirs.post_all(posts))) == 600
            assert await bus.head() == 600


async def test_a_worker_waits_for_the_queue_that_its_hub_has_not_made(hub: MemberHub) -> None:
    async with owner_and(hub, "worker") as (owner, bus, theirs):
        for lane in LANES:
            await owner.link.call(f"$JS.API.CONSUMER.DELETE.MESH_a.workers_run-requested-{lane}", {})
        await bus.post(request("r1"))
        with anyio.fail_after(200):
            async with aclosing(theirs.work(WORKERS, REQUESTS)) as jobs, anyio.create_task_group() as tasks:
                tasks.start_soon(_make_after, owner, 1.5)
                job = await anext(jobs)
                assert job.entry.subject.key == "explore.r1"
                await job.done()


async def _make_after(owner: JetStreamHub, seconds: float) -> None:
    await anyio.sleep(seconds)
    await owner.arena("a", create=True)


async def test_a_worker_without_a_queue_is_told_so_in_the_end(hub: MemberHub) -> None:
    async with owner_and(hub, "worker", patience_s=5) as (owner, _, theirs):
        for lane in LANES:
            await owner.link.call(f"$JS.API.CONSUMER.DELETE.MESH_a.workers_run-requested-{lane}", {})
        words = r"^the queue workers_run-requested-\w+ of arena a is missing: let the owner of the hub run `mesh open`"
        with anyio.fail_after(200), pytest.raises(BusRefused, match=words):
            async with aclosing(theirs.work(WORKERS, REQUESTS)) as jobs:
                await anext(jobs)


async def test_slots_share_the_runs_and_need_few_subscriptions(hub: MemberHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server allows a member only so many, and a machine may have a hundred slots."""
    monkeypatch.setattr("mesh.jetstream.link._ANSWER_WITHIN_S", 100.0)  # a server that is slow to answer is no trouble
    given: list[str] = []
    async with (
        connect(hub.url, credentials=hub.owner) as owner,
        connect(hub.url, credentials=hub.member("worker", "gpu7")) as member,
    ):
        bus, theirs = await owner.arena("a", create=True), await member.arena("a")

        async def serve() -> None:
            async with aclosing(theirs.work(WORKERS, REQUESTS)) as jobs:
                async for job in jobs:
                    given.append(job.entry.subject.key)
                    await job.done()

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(serve)
            with anyio.fail_after(200):
                for number in range(100):
                    await bus.post(request(f"r{number}", LANES[number % 5]))
                while len(given) < 100:
                    await anyio.sleep(0.01)
            assert len(member.link.nc._subs) <= 4 * 20 + 4
            assert member.link.heals == 0
            tasks.cancel_scope.cancel()
    assert len({*given}) == 100


async def test_members_go_on_whatever_breaks_their_connection(tmp_path: Path) -> None:
    member = MemberCredentials("ann", ("a",))
    async with anyio.create_task_group() as tasks:
        for trouble in (deaden, close_for_good, forget_to_reconnect, kill, freeze):
            tasks.start_soon(outlive, trouble, tmp_path / trouble.__name__, member)


async def test_a_member_reads_over_the_holes_of_a_damaged_store(server: EmbeddedServer) -> None:
    async with connect(server.url) as hub:
        config = {"name": "MESH_a", "subjects": [wire.arena_filter("a")], "allow_direct": True}
        await hub.link.call("$JS.API.STREAM.CREATE.MESH_a", config)
        bus = JetStreamBus(hub.link, "a")
        for number in range(9):
            await bus.post(note(str(number)))
        for seq in (1, 2, 5, 8, 9):
            answer = await hub.link.call("$JS.API.STREAM.MSG.DELETE.MESH_a", {"seq": seq})
            assert answer.get("success"), answer
        hub.link.member = MemberCredentials("ann", ("a",))
        with anyio.fail_after(200):
            assert [entry.seq async for batch in bus.read() for entry in batch] == [3, 4, 6, 7]
            assert [entry.seq async for batch in bus.read(4, until=6) for entry in batch] == [6]

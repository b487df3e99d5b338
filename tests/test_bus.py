"""The contract of the bus, the same over JetStream and in memory."""

import datetime as dt
from contextlib import aclosing

import anyio
import anyio.lowlevel
import pytest

from mesh.errors import AlreadyPosted, BadInput, BusUnavailable, ObjectMissing
from mesh.events import ArenaClosed, CritiquePosted, Lane, NotePosted, RunRequested
from mesh.testing import git_hash
from mesh.wire import Entry, Pattern, Post
from tests.conftest import OpenBus


def note(text: str, author: str = "ann") -> Post:
    return Post.new(author, NotePosted(channel="general", text=text))


def request(run: str, lane: Lane = "explore") -> Post:
    event = RunRequested(
        run=run, lane=lane, proposal=git_hash("p"), commit=git_hash("c"), seed=1, budget_s=1, deadline_s=2
    )
    return Post.new("curator", event)


async def test_what_is_posted_is_read_back_in_order(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        posts = [note(str(n)) for n in range(20)]
        seqs = [await bus.post(post) for post in posts]
        async with aclosing(bus.read()) as batches:
            entries = [entry async for batch in batches for entry in batch]
    assert seqs == list(range(1, 21))
    assert [entry.post for entry in entries] == posts
    assert [entry.seq for entry in entries] == seqs


async def test_many_posts_in_flight_all_arrive_once(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        posts = [note(str(n)) for n in range(1500)]
        results = await bus.post_all([*posts, posts[0]])
        assert await bus.head() == 1500
        assert sorted(r for r in results[:-1] if isinstance(r, int)) == list(range(1, 1501))
        assert results[-1] == results[0]
        async with aclosing(bus.read()) as batches:
            assert {e.post.id async for batch in batches for e in batch if e.post} == {p.id for p in posts}


async def test_the_second_author_of_a_fact_is_told_whose_it_is(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        first = Post.new("ann", ArenaClosed(version=1, reason="operator"))
        seq = await bus.post(first)
        with pytest.raises(AlreadyPosted) as refused:
            await bus.post(Post.new("bob", ArenaClosed(version=1, reason="budget")))
        assert (refused.value.seq, refused.value.author, refused.value.post_id) == (seq, "ann", first.id)
        [again] = await bus.post_all([Post.new("bob", ArenaClosed(version=1, reason="budget"))])
        assert isinstance(again, AlreadyPosted)
        assert await bus.head() == 1


async def test_posting_the_same_post_again_is_done_already(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        post = Post.new("ann", ArenaClosed(version=1, reason="operator"))
        assert await bus.post(post) == await bus.post(post) == 1


async def test_every_critic_may_judge_a_target_once(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        await bus.post(Post.new("ann", CritiquePosted(target="p", verdict="warn")))
        await bus.post(Post.new("bob", CritiquePosted(target="p", verdict="block")))
        with pytest.raises(AlreadyPosted):
            await bus.post(Post.new("ann", CritiquePosted(target="p", verdict="endorse")))


async def test_of_many_authors_at_once_one_wins(open_bus: OpenBus) -> None:
    won: list[str] = []
    async with open_bus() as bus:

        async def claim(author: str) -> None:
            try:
                await bus.post(Post.new(author, ArenaClosed(version=7, reason="operator")))
                won.append(author)
            except AlreadyPosted:
                pass

        async with anyio.create_task_group() as tasks:
            for n in range(50):
                tasks.start_soon(claim, f"author-{n}")
        assert len(won) == 1
        assert await bus.head() == 1


async def test_a_reader_follows_what_comes_later(open_bus: OpenBus) -> None:
    heard: list[str] = []
    async with open_bus() as bus, open_bus() as other:
        await bus.post(note("before"))

        async def listen() -> None:
            async with aclosing(bus.read(follow=True)) as batches:
                async for batch in batches:
                    heard.extend(e.post.event.text for e in batch if e.post and isinstance(e.post.event, NotePosted))
                    if heard[-1] == "after 99":
                        return

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listen)
                for n in range(100):
                    await other.post(note(f"after {n}"))
    assert heard == ["before", *(f"after {n}" for n in range(100))]


async def test_reading_starts_after_and_ends_at_a_sequence(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        await bus.post_all([note(str(n)) for n in range(30)])
        async with aclosing(bus.read(10, until=20)) as batches:
            assert [e.seq async for batch in batches for e in batch] == list(range(11, 21))
        async with aclosing(bus.read(30)) as batches:
            assert [batch async for batch in batches] == []


async def test_a_reader_gets_only_what_its_patterns_want(open_bus: OpenBus) -> None:
    async with open_bus() as bus, open_bus() as other:
        posts = [note("a"), request("r1"), note("b", "bob"), request("r2", "confirm"), note("c"), request("r3")]
        await bus.post_all(posts)

        async def seqs(*only: Pattern, after: int = 0, until: int | None = None) -> list[int]:
            async with aclosing(bus.read(after, until=until, only=only)) as batches:
                return [entry.seq async for batch in batches for entry in batch]

        with anyio.fail_after(60):
            assert await seqs(Pattern(kind="note.posted")) == [1, 3, 5]
            assert await seqs(Pattern(author="ann")) == [1, 5]
            assert await seqs(Pattern(author="bob"), Pattern(author="curator")) == [2, 3, 4, 6]
            assert await seqs(Pattern(kind="note.posted", author="ann"), Pattern(key="*.r2")) == [1, 4, 5]
            assert await seqs(Pattern(kind="run.requested", key="explore.*")) == [2, 6]
            assert await seqs(Pattern(kind="note.posted"), after=1, until=4) == [3]
            assert await seqs(Pattern(kind="run.finished")) == []
            assert await seqs(Pattern(kind="note.posted"), after=5, until=6) == []
            async with aclosing(bus.read(3, follow=True, only=[Pattern(author="ann")])) as batches:
                assert [entry.seq for entry in await anext(batches)] == [5]
                for text in ("d", "e"):
                    await other.post(request(text))
                    await other.post(note(text))
                heard = [entry.seq for entry in await anext(batches)]
                while len(heard) < 2:
                    heard += [entry.seq for entry in await anext(batches)]
                assert heard == [8, 10]
        with pytest.raises(BadInput, match=r"there is no fact of kind 'no\.kind'"):
            await seqs(Pattern(kind="no.kind"))


async def test_the_log_is_found_by_time(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        assert await bus.since(dt.datetime.now(dt.UTC)) == 1
        for text in ("a", "b", "c"):
            await bus.post(note(text))
        async with aclosing(bus.read()) as batches:
            times = [entry.time async for batch in batches for entry in batch]
        assert [await bus.since(time) for time in times] == [1, 2, 3]
        assert await bus.since(times[0] - dt.timedelta(days=1)) == 1
        assert await bus.since(times[2] + dt.timedelta(days=1)) == 4


async def test_work_goes_to_one_member_and_comes_again_when_a_lease_ends(open_bus: OpenBus) -> None:
    async with open_bus() as bus, open_bus() as other:
        await bus.post(request("r1"))
        with anyio.fail_after(60):
            async with aclosing(bus.work("workers", ["run.requested"], lease_s=1)) as mine:
                first = await anext(mine)
                assert (first.attempt, first.entry.subject.key) == (1, "explore.r1")
            async with aclosing(other.work("workers", ["run.requested"], lease_s=1)) as theirs:
                again = await anext(theirs)
                assert (again.attempt, again.entry.seq) == (2, first.entry.seq)
                await again.done()
                with anyio.move_on_after(2) as waited:
                    await anext(theirs)
                assert waited.cancelled_caught


async def test_an_extended_lease_is_kept(open_bus: OpenBus) -> None:
    async with open_bus() as bus, open_bus() as other:
        await bus.post(request("r1"))
        taken: list[Entry] = []

        async def rival() -> None:
            async with aclosing(other.work("workers", ["run.requested"], lease_s=3)) as theirs:
                taken.append((await anext(theirs)).entry)

        with anyio.fail_after(60):
            mine = bus.work("workers", ["run.requested"], lease_s=3)
            async with anyio.create_task_group() as tasks, aclosing(mine):
                job = await anext(mine)
                tasks.start_soon(rival)
                for _ in range(20):  # longer than a lease, each time for a small part of one
                    await anyio.sleep(0.25)
                    await job.extend()
                await job.done()
                tasks.cancel_scope.cancel()
    assert taken == []


async def test_earlier_kinds_of_work_come_first_and_handed_back_work_comes_again(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        await bus.post(request("r1"))
        await bus.post(request("r2", "confirm"))
        kinds = ["run.requested.confirm", "run.requested.explore"]
        with anyio.fail_after(60):
            async with aclosing(bus.work("workers", kinds, lease_s=30)) as jobs:
                first = await anext(jobs)
                assert first.entry.subject.key == "confirm.r2"
                await first.hand_back()
                second = await anext(jobs)
                assert (second.entry.subject.key, second.attempt) == ("confirm.r2", 2)
                await second.done()
                assert (await anext(jobs)).entry.subject.key == "explore.r1"


async def test_the_kind_that_comes_first_now_is_given_before_earlier_kinds(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        lanes: list[Lane] = ["confirm", "control", "confirm", "explore", "control"]
        for number, lane in enumerate(lanes):
            await bus.post(request(f"r{number}", lane))
        kinds = [f"run.requested.{lane}" for lane in ("confirm", "control", "explore")]
        wanted = ["confirm", "control", "explore", "explore", "nothing"]
        given: list[str] = []
        with anyio.fail_after(60):
            first = lambda: f"run.requested.{wanted[len(given)]}"  # noqa: E731
            async with aclosing(bus.work("workers", kinds, lease_s=30, first=first)) as jobs:
                for _ in wanted:
                    job = await anext(jobs)
                    given.append(job.entry.subject.key)
                    await job.done()
        assert given == ["confirm.r0", "control.r1", "explore.r3", "confirm.r2", "control.r4"]


async def test_an_idle_member_is_given_new_work(open_bus: OpenBus) -> None:
    async with open_bus() as bus, open_bus() as other:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks, aclosing(bus.work("w", ["run.requested"])) as jobs:
                tasks.start_soon(other.post, request("r1"))
                assert (await anext(jobs)).entry.subject.key == "explore.r1"


async def test_a_post_that_is_too_large_is_refused_in_one_sentence(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        with pytest.raises(BadInput, match=r"a note.posted has 5,\d+,\d+ bytes; use at most 262,144"):
            await bus.post(note("x" * 5_000_000))
        with pytest.raises(BadInput, match="author"):
            await bus.post(Post(id="1", at=note("").at, author="a.b", event=NotePosted(channel="c", text="t")))
        assert await bus.head() == 0


async def test_objects_of_any_size_come_back_whole(open_bus: OpenBus) -> None:
    async with open_bus() as bus, open_bus() as other:
        large = bytes(range(256)) * 10_000
        await bus.put("large", large)
        await bus.put("large", large)
        await bus.put("empty", b"")
        assert await other.get("large") == large
        assert await other.get("empty") == b""
        with pytest.raises(ObjectMissing):
            await other.get("nothing")


async def test_a_question_gets_an_answer_of_any_size(open_bus: OpenBus) -> None:
    async with open_bus() as bus, open_bus() as other:
        with pytest.raises(BusUnavailable, match="nobody answers"):
            await bus.ask("echo", b"")

        async def echo(question: bytes) -> bytes:
            return question * 300_000

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other.answer, "echo", echo)
            with anyio.fail_after(60):
                while True:
                    try:
                        assert await bus.ask("echo", b"ping") == b"ping" * 300_000
                        break
                    except BusUnavailable:
                        await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()


async def test_what_is_told_is_heard(open_bus: OpenBus) -> None:
    async with open_bus() as bus, open_bus() as other:
        heard: list[tuple[str, bytes]] = []

        async def listen() -> None:
            async with aclosing(bus.hear("curve.>")) as messages:
                heard.append(await anext(messages))
                tasks.cancel_scope.cancel()

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listen)
                while True:
                    await other.tell("curve.r1", b"1")
                    await anyio.sleep(0.01)
    assert heard == [("curve.r1", b"1")]


async def test_entries_are_fetched_by_their_sequences_in_the_order_that_is_asked_for(open_bus: OpenBus) -> None:
    async with open_bus() as bus:
        posts = [note(str(n)) for n in range(100)]
        await bus.post_all(posts)
        wanted = [*range(99, 1, -3), 1, 1, 100]
        found = await bus.entries([*wanted, 101, 0])
        assert [entry.seq for entry in found] == wanted
        assert [entry.post for entry in found] == [posts[seq - 1] for seq in wanted]
        assert await bus.entries([]) == []

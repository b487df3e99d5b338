"""What a member of a queue asks the server for."""

import random
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import anyio
import pytest
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from mesh.events import Lane
from mesh.jetstream import connect, queue
from mesh.server import embedded
from tests.test_bus import request


async def test_a_member_asks_again_for_kinds_without_work_only_after_news_or_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question is a round trip, and a busy worker would put it for every kind before each run."""
    monkeypatch.setattr(queue, "IDLE_POLL_S", 600)
    asked: list[str] = []
    kinds = [f"run.requested.{lane}" for lane in ("confirm", "control", "explore")]
    async with embedded(tmp_path) as server, connect(server.url) as hub, connect(server.url) as other:
        bus, nc = await hub.arena("a", create=True), other.link.nc

        async def note_question(msg: Msg) -> None:
            asked.append(msg.subject.rpartition("-")[2])

        async def everything_is_heard() -> None:
            for each in (nc, hub.link.nc):
                await each.flush(100)
            await anyio.sleep(0.05)  # what has arrived is handled by tasks of its own

        await nc.subscribe("$JS.API.CONSUMER.MSG.NEXT.>", cb=note_question)
        await nc.flush()
        await bus.post_all(request(f"r{number}") for number in range(8))
        with anyio.fail_after(100):
            async with aclosing(bus.work("w", kinds)) as jobs:
                await (await anext(jobs)).done()
                await anyio.sleep(queue.STORED_WITHIN_S + 0.05)
                for _ in range(5):
                    await (await anext(jobs)).done()
                await everything_is_heard()
                assert asked[-4:] == ["explore"] * 4
                await bus.post(request("urgent", "confirm"))
                await everything_is_heard()
                assert (await anext(jobs)).entry.subject.key == "confirm.urgent"
                monkeypatch.setattr(queue, "IDLE_POLL_S", 0.5)
                await anyio.sleep(0.5)
                assert (await anext(jobs)).entry.subject.key.startswith("explore.")
        await everything_is_heard()
        assert asked[-2:] == ["control", "explore"]


async def test_an_entry_on_its_way_to_a_member_that_leaves_goes_to_another_one_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would wait for the end of its lease, here longer than the test lasts."""
    leaving, receive = anyio.CancelScope(), Subscription.next_msg

    async def leave_once(self: Subscription, timeout: float | None = 1.0) -> Msg:
        monkeypatch.undo()
        leaving.cancel()  # the question is sent, and nobody has looked for the answer yet
        return await receive(self, timeout)

    async with embedded(tmp_path) as server, connect(server.url) as hub, connect(server.url) as other:
        bus, others = await hub.arena("a", create=True), await other.arena("a")
        await bus.post(request("r1"))
        with anyio.fail_after(100):
            async with aclosing(bus.work("w", ["run.requested.explore"], lease_s=300)) as jobs:
                monkeypatch.setattr(Subscription, "next_msg", leave_once)
                with leaving:
                    await anext(jobs)
            assert leaving.cancelled_caught
            async with aclosing(others.work("w", ["run.requested.explore"], lease_s=300)) as jobs:
                given = await anext(jobs)
        assert (given.entry.subject.key, given.attempt) == ("explore.r1", 2)


async def test_a_publish_wakes_one_idle_member_of_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If each of a thousand idle workers asked, a request would cost as much as a thousand."""
    monkeypatch.setattr(queue, "IDLE_POLL_S", 600)
    asked, given = anyio.Semaphore(0, max_value=10_000), list[str]()
    async with embedded(tmp_path) as server, connect(server.url) as hub, connect(server.url) as other:
        bus, nc = await hub.arena("a", create=True), other.link.nc

        async def note_question(_: Msg) -> None:
            asked.release()

        async def serve() -> None:
            async with aclosing(bus.work("w", ["run.requested.explore", "run.requested.confirm"])) as jobs:
                async for job in jobs:
                    given.append(job.entry.subject.key)
                    await job.done()

        await nc.subscribe("$JS.API.CONSUMER.MSG.NEXT.>", cb=note_question)
        await nc.flush()
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(serve)
            with anyio.fail_after(100):
                for _ in range(20 * 2 * 2):  # each asks for both kinds, and again when it listens
                    await asked.acquire()
                await bus.post(request("r1"))
                while not given:
                    await anyio.sleep(0.01)
            await anyio.sleep(1)
            await nc.flush()
            tasks.cancel_scope.cancel()
    assert given == ["explore.r1"]
    assert 1 <= asked.value <= 30


async def test_idle_members_miss_nothing_that_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by the clock here: each run is taken because a member was woken for it, or by the one before it."""
    monkeypatch.setattr(queue, "IDLE_POLL_S", 600)
    given = set[str]()
    rng = random.Random(5)
    async with embedded(tmp_path) as server, AsyncExitStack() as stack:
        hubs = [await stack.enter_async_context(connect(server.url)) for _ in range(4)]
        buses = [await hub.arena("a", create=number == 0) for number, hub in enumerate(hubs)]

        async def serve(number: int) -> None:
            async with aclosing(
                buses[number % 4].work("w", ["run.requested.explore", "run.requested.confirm"])
            ) as jobs:
                async for job in jobs:
                    given.add(job.entry.subject.key)
                    await anyio.sleep(rng.random() * 0.02)
                    await job.done()

        async with anyio.create_task_group() as tasks:
            for number in range(12):
                tasks.start_soon(serve, number)
            wanted = set[str]()
            for burst in range(60):
                with anyio.fail_after(100):
                    names = [f"r{burst}-{number}" for number in range(rng.choice((1, 1, 2, 5, 30)))]
                    lane: Lane = rng.choice(("explore", "confirm"))
                    wanted |= {f"{lane}.{name}" for name in names}
                    await buses[burst % 4].post_all(request(name, lane) for name in names)
                    if rng.random() < 0.5:
                        while given != wanted:
                            await anyio.sleep(0.002)
            with anyio.fail_after(100):
                while given != wanted:
                    await anyio.sleep(0.002)
            tasks.cancel_scope.cancel()


def test_a_woken_member_asks_once_more_when_the_server_must_have_stored_what_woke_it() -> None:
    assert sum(queue._PAUSES_S) - queue.STORED_WITHIN_S > 0.1

"""A member of a hub of three servers reads every entry once, while servers are lost and copies are behind."""

from contextlib import aclosing
from pathlib import Path

import anyio

from mesh.jetstream import connect
from mesh.jetstream.member import MemberCredentials
from mesh.wire import Pattern
from tests.test_bus import note
from tests.test_cluster import all_of, cluster


async def test_a_member_follows_and_reads_while_servers_are_lost(tmp_path: Path) -> None:
    followed: list[int] = []
    async with cluster(tmp_path) as (servers, hub, bus), connect(servers.url) as other:
        theirs = await other.arena("a")
        other.link.member = MemberCredentials("eve", ("a",))

        async def follow() -> None:
            async with aclosing(theirs.read(follow=True)) as batches:
                async for batch in batches:
                    followed.extend(entry.seq for entry in batch)

        async with anyio.create_task_group() as following:
            following.start_soon(follow)
            for number in range(300):
                await bus.post(note(str(number), "ann" if number % 2 else "bob"))
                if number == 100:
                    await servers.end(leader := await servers.leader(hub, "a"))
                if number == 200:
                    servers.start(leader)
            expected = await all_of(bus)
            assert await all_of(theirs) == expected
            assert await theirs.entries([300, 1]) == [expected[299], expected[0]]
            async with aclosing(theirs.read(only=[Pattern(author="ann")])) as batches:
                found = [entry async for batch in batches for entry in batch]
            assert found == [entry for entry in expected if entry.subject.author == "ann"]
            while followed[-1:] != [300]:
                await anyio.sleep(0.01)
            following.cancel_scope.cancel()
    assert followed == list(range(1, 301))

"""Members of a hub of three servers read, post and work on while the server that leads their log is killed."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, aclosing, asynccontextmanager
from pathlib import Path

import anyio

from gpu_worker.lease import keep_lease
from mesh.accounts.hub_init import init_hub
from mesh.bus import REQUESTS, WORKERS
from mesh.cluster_config import node_name
from mesh.events import NotePosted
from mesh.jetstream import JetStreamBus, connect
from mesh.ports import free_ports
from mesh.wire import Post
from tests.support.hub_of_members import member_creds
from tests.test_cluster import PATIENCE_S, request
from tests.test_hub_nodes import MACHINES, machine


@asynccontextmanager
async def bus_of(url: str, credentials: Path, *, create: bool = False) -> AsyncIterator[JetStreamBus]:
    """The arena of the test, as one process reaches it."""
    async with connect(url, credentials=credentials) as hub:
        yield await hub.arena("a", create=create)


async def test_members_read_post_and_work_on_while_the_leader_of_their_log_is_killed(tmp_path: Path) -> None:
    port, *ports = free_ports(1 + len(MACHINES))
    nodes = [f"{address}:{own}" for address, own in zip(MACHINES, ports, strict=True)]
    hub = init_hub(tmp_path / "hub", nodes=nodes, port=port, disk_bytes=8 << 30)[0]
    ann, bob = (member_creds(hub, "agent", name, ["a"])[0] for name in ("ann", "bob"))
    gpu7, url = member_creds(hub, "worker", "gpu7", ["a"])[0], hub.server_url
    acked: dict[str, int] = {}
    followed: dict[int, str] = {}
    given: list[str] = []
    with ExitStack() as machines, anyio.fail_after(PATIENCE_S):
        servers = {node_name(node): machines.enter_context(machine(hub.config_file(node).parent)) for node in (1, 2, 3)}
        over = anyio.Event()

        async def post() -> None:
            async with bus_of(url, ann) as bus:
                while not over.is_set():
                    said = Post.new("ann", NotePosted(channel="general", text="x"))
                    acked[said.id] = await bus.post(said)

        async def follow() -> None:
            async with bus_of(url, bob) as bus, aclosing(bus.read(follow=True)) as batches:
                async for batch in batches:
                    followed.update((entry.seq, entry.post.id) for entry in batch if entry.post)

        async def work() -> None:
            async with bus_of(url, gpu7) as bus, aclosing(bus.work(WORKERS, REQUESTS)) as jobs:
                async for job in jobs:
                    given.append(job.entry.subject.key)
                    async with anyio.create_task_group() as extending:
                        extending.start_soon(keep_lease, job)
                        await over.wait()
                        extending.cancel_scope.cancel()
                    await job.done()

        async def more(count: int = 30) -> None:
            wanted = len(acked) + count
            while len(acked) < wanted:
                await anyio.sleep(0.01)

        async with connect(url, credentials=hub.hub_creds) as own, anyio.create_task_group() as tasks:
            bus = await own.arena("a", create=True)
            await bus.post(request("r1"))
            for task in (post, follow, work):
                tasks.start_soon(task)
            while not given:
                await anyio.sleep(0.01)
            await more()
            servers[(await own.state("a")).leader].kill()
            await more()
            over.set()
            before = dict(acked)  # one post may still be under way
            log = {entry.seq: entry.post.id async for batch in bus.read() for entry in batch if entry.post}
            while not followed.keys() >= log.keys():
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
    assert {said: log.get(seq) for said, seq in before.items()} == {said: said for said in before}
    assert len(set(log.values())) == len(log)
    assert {seq: followed[seq] for seq in log} == log
    assert list(followed) == sorted(followed)
    assert given == ["explore.r1"]

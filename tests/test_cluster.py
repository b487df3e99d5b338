"""Three real servers keep a log together: whichever of them is killed, nothing acknowledged is lost or stored twice."""

import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio
import anyio.abc
import pytest

from benchmarks.parts.three_servers import CONFIG, NODES, TOKEN, Servers, three_servers
from gpu_worker.lease import keep_lease
from mesh.cluster_config import check_hosts, cluster_block, node_name, server_urls
from mesh.errors import AlreadyPosted, BadInput, BusRefused, BusUnavailable, ObjectMissing
from mesh.events import NotePosted, Origin, ProposalPosted, RunRequested
from mesh.jetstream import JetStreamBus, JetStreamHub, connect
from mesh.jetstream.cluster import CLUSTER_LEASE_S, CLUSTER_PATIENCE_S
from mesh.jetstream.link import Link
from mesh.jetstream.streams import log_stream, make_stream
from mesh.server import EmbeddedServer, find_binary
from mesh.testing import git_hash
from mesh.wire import Entry, Post

SECRET = "0123456789abcdef0123456789abcdef"
PATIENCE_S = 200
"""A loaded machine elects leaders slowly."""


class Posters:
    """Clients that post one fact after the other; `acked` has the sequence of each post that a caller was told of."""

    def __init__(self, url: str) -> None:
        self.acked: dict[str, int] = {}
        self.refused = Counter[tuple[str, str]]()
        self._url, self._over = url, anyio.Event()

    async def post(self, author: str, key: str) -> None:
        """Post proposals of these keys until it is over; two authors with one key fight for each."""
        async with connect(self._url, name=author) as hub:
            bus = await hub.arena("a")
            number = 0
            while not self._over.is_set():
                tree, number = git_hash(f"{key}-{number}"), number + 1
                origin = Origin(how="human")
                post = Post.new(author, ProposalPosted(tree=tree, commit=tree, title="t", origin=origin))
                try:
                    self.acked[post.id] = await bus.post(post)
                except AlreadyPosted as already:
                    self.refused[author, already.author] += 1

    async def more(self, count: int = 50) -> None:
        """Wait until so many more posts are acknowledged."""
        wanted = len(self.acked) + count
        while len(self.acked) < wanted:
            await anyio.sleep(0.01)

    def end(self) -> None:
        self._over.set()


class Members:
    """Members of a queue; the first one has a run that goes on, and any other delivery of it is a second attempt."""

    def __init__(self, bus: JetStreamBus) -> None:
        self.given: list[tuple[str, str]] = []
        self._bus, self._over = bus, anyio.Event()

    async def live(self, name: str) -> None:
        async with aclosing(self._bus.work("workers", ["run.requested.explore"])) as jobs:
            async for job in jobs:
                self.given.append((name, job.entry.subject.key))
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(keep_lease, job)
                    await self._over.wait()
                    tasks.cancel_scope.cancel()
                await job.done()

    async def has_begun(self) -> None:
        while not self.given:
            await anyio.sleep(0.01)

    def end(self) -> None:
        self._over.set()


def request(run: str) -> Post:
    tree = git_hash("p")
    asked = RunRequested(run=run, lane="explore", proposal=tree, commit=tree, seed=1, budget_s=1, deadline_s=60)
    return Post.new("curator", asked)


async def all_of(bus: JetStreamBus) -> list[Entry]:
    return [entry async for batch in bus.read() for entry in batch]


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[tuple[Servers, JetStreamHub, JetStreamBus]]:
    """Three servers, and an arena on them."""
    with anyio.fail_after(PATIENCE_S):
        async with three_servers(folder) as servers, connect(servers.url) as hub:
            yield servers, hub, await hub.arena("a", create=True)


async def test_while_leader_follower_and_quorum_are_killed_no_fact_is_lost_or_doubled_and_no_run_begins_twice(
    tmp_path: Path,
) -> None:
    followed: list[int] = []
    async with cluster(tmp_path) as (servers, hub, bus):
        posters, members = Posters(servers.url), Members(bus)

        async def follow() -> None:
            async with aclosing(bus.read(follow=True)) as batches:
                async for batch in batches:
                    followed.extend(entry.seq for entry in batch)

        async with anyio.create_task_group() as following:
            following.start_soon(follow)
            async with anyio.create_task_group() as tasks:
                await bus.post(request("r1"))
                tasks.start_soon(members.live, "first")
                await members.has_begun()
                waiting = anyio.CancelScope()

                async def wait_for_work() -> None:
                    with waiting:
                        await members.live("second")

                tasks.start_soon(wait_for_work)
                for author, key in (("ann", "own"), ("bob", "both"), ("cat", "both")):
                    tasks.start_soon(posters.post, author, key)
                await posters.more()
                leader = await servers.leader(hub, "a")
                await servers.end(leader)
                await posters.more()
                servers.start(leader)
                await servers.until_current(hub, "a")
                await bus.put("x" * 64, b"data")
                follower = await servers.leader(hub, "a") % 3 + 1
                await servers.end(follower)
                await posters.more()
                servers.start(follower)
                await servers.until_current(hub, "a")
                leader = await servers.leader(hub, "a")
                pair = (leader, leader % 3 + 1)
                await servers.end(*pair)
                before = [0]
                while len(before) < 5 and before[-1] != len(posters.acked):  # what was on its way may come late
                    before.append(len(posters.acked))
                    await anyio.sleep(3)
                assert len(posters.acked) == before[-1]  # one server of three acknowledges nothing
                servers.start(*pair)
                await posters.more()
                posters.end()
                waiting.cancel()
                members.end()
                while not await is_idle(hub):
                    await anyio.sleep(0.1)
                tasks.cancel_scope.cancel()
            log = await all_of(bus)
            while not followed or followed[-1] < log[-1].seq:
                await anyio.sleep(0.01)
            following.cancel_scope.cancel()
        assert await bus.get("x" * 64) == b"data"
    # then everybody who was told that a fact is stored finds it where he was told, and no key has two
    at = {entry.post.id: entry.seq for entry in log if entry.post}
    assert {post: at.get(post) for post in posters.acked} == posters.acked
    assert [key for key, count in Counter(entry.subject.key for entry in log).items() if count > 1] == []
    assert followed == [entry.seq for entry in log] == list(range(1, len(log) + 1))
    assert {("bob", "cat"), ("cat", "bob")} >= posters.refused.keys() != set()
    # and the run that went on through all of it was given to nobody else
    assert members.given == [("first", "explore.r1")]


async def is_idle(hub: JetStreamHub) -> bool:
    """Tell whether the queue waits for nobody who has something."""
    info = await hub.link.call("$JS.API.CONSUMER.INFO.MESH_a.workers_run-requested-explore", {})
    return info.get("num_ack_pending") == 0


async def test_a_cluster_keeps_three_copies_and_gives_leases_and_patience_that_outlast_an_election(
    tmp_path: Path, server: EmbeddedServer
) -> None:
    async with cluster(tmp_path / "three") as (_, hub, bus):
        await bus.put("x" * 64, b"data")
        await bus.keep("y" * 64, b"call")
        with anyio.fail_after(CLUSTER_PATIENCE_S / 2), pytest.raises(ObjectMissing):
            await bus.get("z" * 64)
        await bus.post(request("r1"))
        async with aclosing(bus.work("workers", ["run.requested.explore"], lease_s=5)) as jobs:
            await (await anext(jobs)).done()
        for name in ("MESH_a", "MESHOBJ_a", "MESHCALL_a"):
            info = await hub.link.call(f"$JS.API.STREAM.INFO.{name}", {})
            assert (name, info["config"]["num_replicas"]) == (name, 3)
        lane = await hub.link.call("$JS.API.CONSUMER.INFO.MESH_a.workers_run-requested-explore", {})
        assert len(lane["cluster"]["replicas"]) == 2
        assert lane["config"]["ack_wait"] == CLUSTER_LEASE_S * 1e9
        assert hub.link.patience_s == CLUSTER_PATIENCE_S
        state = await hub.state("a")
        assert {state.leader, *state.copies} == {node_name(node) for node in NODES}
    async with connect(server.url, patience_s=7) as single:
        await single.arena("a", create=True)
        assert (single.link.patience_s, single.link.replicas, (await single.state("a")).copies) == (7, 1, {})
    async with connect(server.url, patience_s=7, outage_s=9) as single:
        assert single.link.patience_s == 9


async def test_an_arena_of_fewer_copies_gets_the_others_where_it_is_opened_again(tmp_path: Path) -> None:
    with anyio.fail_after(PATIENCE_S):
        async with three_servers(tmp_path) as servers:
            async with connect(servers.url, replicas=1) as hub:
                bus = await hub.arena("a", create=True)
                seq = await bus.post(request("r1"))
                assert (await hub.state("a")).copies == {}
            async with connect(servers.url) as hub:
                bus = await hub.arena("a", create=True)
                await servers.until_current(hub, "a")
                leader = await servers.leader(hub, "a")
                await servers.end(leader)
                assert [entry.seq for entry in await all_of(bus)] == [seq]


async def test_an_arena_wants_a_cluster_of_three_servers_and_waits_a_little_for_the_third(tmp_path: Path) -> None:
    def block(hosts: Sequence[str], node: int) -> str:
        """Return the block of a server; the first two know nothing of a third one."""
        text = cluster_block(hosts, node, secret=SECRET, listen="127.0.0.1")
        return text if node == 3 else "".join(line for line in text.splitlines(True) if f"@{hosts[2]}" not in line)

    with anyio.fail_after(PATIENCE_S):
        async with three_servers(tmp_path, 1, 2, block=block) as servers:
            async with connect(servers.url, outage_s=60) as hub:
                hub.link.patience_s = 8
                with pytest.raises(BusRefused) as refused:
                    await hub.arena("a", create=True)
                shown = ",".join(f"nats://127.0.0.1:{port}" for port in servers.ports.values())
                begin = f"stream MESH_a needs 3 servers of the cluster at {shown}, and it has fewer: start the others ("
                assert str(refused.value).startswith(begin)
            async with connect(servers.url) as hub:
                servers.start(3)
                bus = await hub.arena("a", create=True)
                assert await bus.post(request("r1")) == 1


async def test_two_of_three_servers_are_enough_to_make_a_log_and_the_third_gets_its_copy(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (servers, hub, _):
        away = await servers.leader(hub, "a") % 3 + 1
        await servers.end(away)
        await make_stream(hub.link, log_stream("b"))
        bus = await hub.arena("b")
        assert await bus.post(request("r1")) == 1
        states = (await hub.state("b")).copies
        assert [states.get(servers.name(node)) for node in NODES].count("current") == 1
        servers.start(away)
        await servers.until_current(hub, "b")


async def test_one_server_of_a_cluster_alone_is_told_in_one_sentence(tmp_path: Path) -> None:
    with anyio.fail_after(PATIENCE_S):
        async with three_servers(tmp_path, 1) as servers:
            await servers.until_taken(1)
            with pytest.raises(BusUnavailable, match=r"^the NATS cluster at nats.* has no leader: start more of its"):
                async with connect(servers.url, patience_s=5, outage_s=2):
                    pass


@pytest.mark.parametrize(
    ("url", "servers", "shown"),
    [
        ("a,b,c", "nats://a nats://b nats://c", "nats://a,nats://b,nats://c"),
        ("tls://t0ken@a:1,b:2", "tls://t0ken@a:1 tls://t0ken@b:2", "tls://a:1,tls://b:2"),
        ("ann:secret@a, bob:other@b", "nats://ann:secret@a nats://bob:other@b", "nats://a,nats://b"),
        ("nats://t0ken@a,nats://b:9", "nats://t0ken@a nats://t0ken@b:9", "nats://a,nats://b:9"),
    ],
)
def test_several_servers_in_one_address_share_what_the_first_one_says(url: str, servers: str, shown: str) -> None:
    link = Link(url, name="n", patience_s=1)
    assert (link._servers, link.url) == (servers.split(), shown)


@pytest.mark.parametrize(
    ("hosts", "why"),
    [
        ([], "0 hosts are named for a cluster: name 3 or 5, one for each server"),
        (["a", "b"], "2 hosts are named for a cluster: name 3 or 5, one for each server"),
        (["a", "b", "c d"], "'c d' is not a host of a cluster: use HOST or HOST:PORT, which the other servers reach"),
        (["a", "b", "c:0"], "'c:0' is not a host of a cluster: use HOST or HOST:PORT, which the other servers reach"),
        (["a", "b", "nats://c"], "'nats://c' is not a host of a cluster: use HOST or HOST:PORT, which the other "
         "servers reach"),
        (["a", "b", "a:6222"], "a host is named twice for a cluster (a, b, a:6222): each server needs one of its own"),
    ],
)  # fmt: skip
def test_hosts_that_are_no_cluster_are_bad_input(hosts: list[str], why: str) -> None:
    with pytest.raises(BadInput) as bad:
        cluster_block(hosts, 1, secret=SECRET)
    assert str(bad.value) == why


def test_the_servers_of_a_cluster_are_named_in_one_address() -> None:
    hosts = check_hosts(["a.example", "10.0.0.2:7222", "[fd00::3]"])
    assert server_urls(hosts, scheme="tls") == "tls://a.example:4222,tls://10.0.0.2:4222,tls://[fd00::3]:4222"
    with pytest.raises(BadInput, match="the secret of a cluster is not valid"):
        cluster_block(hosts, 1, secret='short"')


async def test_the_block_that_is_written_for_each_server_makes_a_cluster_that_no_stranger_joins(tmp_path: Path) -> None:
    def block(hosts: Sequence[str], node: int) -> str:
        return cluster_block(hosts, node, secret=SECRET if node < 3 else SECRET[::-1], listen="127.0.0.1")

    with anyio.fail_after(PATIENCE_S):
        async with three_servers(tmp_path, block=block) as servers:
            await servers.until_taken(*NODES)
            with pytest.raises(BusUnavailable, match="has no leader"):  # the third one has another secret
                async with connect(servers.url, patience_s=5, outage_s=2):
                    pass
            await servers.end(3)
            config = tmp_path / "node-3" / "nats.conf"
            config.write_text(config.read_text().replace(SECRET[::-1], SECRET))
            servers.start(3)
            async with connect(servers.url) as hub:
                bus = await hub.arena("a", create=True)
                assert await bus.post(Post.new("ann", NotePosted(channel="general", text="three"))) == 1


class Cables:
    """The cables between the third server and the two others: relays of TCP that can be cut, one to each server."""

    def __init__(self, ports: dict[int, int]) -> None:
        self.ports = ports
        self.hosts: Sequence[str] = ()
        self.scope = anyio.CancelScope()

    def block(self, hosts: Sequence[str], node: int) -> str:
        """Return the block of a server that reaches the third one, or is it, by cables."""
        self.hosts = hosts
        text = cluster_block(hosts, node, secret=SECRET, listen="127.0.0.1")
        for other in NODES:
            if 3 in (node, other):
                text = text.replace(f"@{hosts[other - 1]}", f"@127.0.0.1:{self.ports[other]}")
        return text.replace("no_advertise: true", f'no_advertise: true\n  advertise: "127.0.0.1:{self.ports[node]}"')

    async def relay(self, node: int, near: anyio.abc.SocketStream) -> None:
        host, _, port = self.hosts[node - 1].rpartition(":")

        async def copy(source: anyio.abc.SocketStream, target: anyio.abc.SocketStream) -> None:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                async for data in source:
                    await target.send(data)
            tasks.cancel_scope.cancel()

        with suppress(OSError):
            async with near, await anyio.connect_tcp(host, int(port)) as far, anyio.create_task_group() as tasks:
                tasks.start_soon(copy, near, far)
                tasks.start_soon(copy, far, near)


async def test_a_client_whose_server_is_cut_off_from_the_others_goes_to_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.jetstream.cluster.CUT_OFF_S", 3.0)
    with anyio.fail_after(PATIENCE_S):
        listeners = {node: await anyio.create_tcp_listener(local_host="127.0.0.1") for node in NODES}
        ports = {node: listeners[node].extra(anyio.abc.SocketAttribute.local_port) for node in NODES}
        cables = Cables(ports)

        async def serve() -> None:
            with cables.scope:
                async with anyio.create_task_group() as relays:
                    for node, listener in listeners.items():
                        relays.start_soon(partial(listener.serve, partial(cables.relay, node)))
            for listener in listeners.values():
                await listener.aclose()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            async with three_servers(tmp_path, block=cables.block) as servers, connect(servers.url) as hub:
                bus = await hub.arena("a", create=True)
                third = servers.ports[3]
                while (at := hub.link.nc.connected_url) is None or at.port != third:
                    await hub.link.nc.force_reconnect()
                    await anyio.sleep(0.5)
                await servers.until_current(hub, "a")
                assert await bus.post(request("r1")) == 1
                cables.scope.cancel()
                assert await bus.post(request("r2")) == 2
                assert hub.link.nc.connected_url
                assert hub.link.nc.connected_url.port != third


def test_the_file_of_a_server_wants_a_token_and_the_routes(tmp_path: Path) -> None:
    command = [find_binary(), "-t", "-c", str(CONFIG)]
    env = {"MESH_NODE": "a", "MESH_TOKEN": TOKEN, "MESH_ROUTES": f"[nats://routes:{TOKEN}@a:6222]"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, "is valid" in done.stderr + done.stdout) == (0, True)
    for missing in env:
        less = {name: value for name, value in env.items() if name != missing}
        refused = subprocess.run(command, capture_output=True, text=True, check=False, env=less)
        assert (refused.returncode, missing in refused.stderr) == (1, True)

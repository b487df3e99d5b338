"""KEDA's own question to a real nats-server: the lag of each trigger of `deploy/kubernetes/workers.yaml`."""

import json
import socket
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import yaml

from mesh.bus import ArenaBus, Delivery
from mesh.events import LANES, Lane
from mesh.jetstream import connect
from mesh.jetstream.server_state import lane_consumer, lane_lags
from mesh.server import find_binary
from mesh.testing import requested
from mesh.wire import Post
from tests.support.follower import ROOT

CONFIG = """
host: "127.0.0.1"
port: {port}
http: "127.0.0.1:{monitoring}"
jetstream {{ store_dir: {store} }}
accounts {{ HUB: {{ jetstream: enabled, users: [{{ user: hub, password: secret }}] }} }}
"""


def free_ports(count: int) -> list[int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return [one.getsockname()[1], other.getsockname()[1]][:count]


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, str]]:
    """A server with an account HUB and a monitoring port; returns its address and that of its monitoring."""
    port, monitoring = free_ports(2)
    config = folder / "nats.conf"
    config.write_text(CONFIG.format(port=port, monitoring=monitoring, store=json.dumps(str(folder / "store"))))
    with subprocess.Popen([find_binary(), "-c", str(config)], stderr=subprocess.DEVNULL) as server:
        try:
            yield f"nats://hub:secret@127.0.0.1:{port}", f"127.0.0.1:{monitoring}"
        finally:
            server.kill()


def triggers(monitoring: str, arena: str) -> list[dict[str, str]]:
    """Return the triggers of the manifest, filled in by the words of its first lines."""
    text = (ROOT / "deploy" / "kubernetes" / "workers.yaml").read_text(encoding="utf-8")
    assert "sed 's/ARENA/nanolm/; s/MONITORING/hub.mesh.svc.cluster.local:8222/' workers.yaml" in text
    lines = [line.replace("ARENA", arena, 1).replace("MONITORING", monitoring, 1) for line in text.splitlines()]
    manifest: dict[str, Any] = yaml.safe_load("\n".join(lines))
    assert all(trigger["type"] == "nats-jetstream" for trigger in manifest["spec"]["triggers"])
    return [trigger["metadata"] for trigger in manifest["spec"]["triggers"]]


def lag(trigger: dict[str, str]) -> int:
    """Return what KEDA's scaler nats-jetstream gets for a trigger: pending and unacknowledged of the consumer.

    A stream whose consumer is missing counts with its last sequence.
    """
    query = f"acc={trigger['account']}&consumers=true&config=true"
    with urllib.request.urlopen(f"http://{trigger['natsServerMonitoringEndpoint']}/jsz?{query}", timeout=20) as answer:
        told: dict[str, Any] = json.load(answer)
    [account] = [each for each in told["account_details"] if each["name"] == trigger["account"]]
    [stream] = [each for each in account["stream_detail"] if each["name"] == trigger["stream"]]
    for consumer in stream.get("consumer_detail", []):
        if consumer["name"] == trigger["consumer"]:
            return int(consumer["num_pending"]) + int(consumer["num_ack_pending"])
    return int(stream["state"]["last_seq"])


async def lags(monitoring: str) -> dict[str, int]:
    """Return the lag of every trigger, by the name of its consumer."""
    found = {}
    for trigger in triggers(monitoring, "a"):
        found[trigger["consumer"]] = await anyio.to_thread.run_sync(lag, trigger)
    return found


@asynccontextmanager
async def taking(bus: ArenaBus) -> AsyncIterator[Delivery]:
    """What a worker is given, as a worker asks for it."""
    kinds = [f"run.requested.{lane}" for lane in LANES]
    async with aclosing(bus.work("workers", kinds, lease_s=30)) as deliveries:
        with anyio.fail_after(30):
            yield await anext(deliveries)


async def ask(bus: ArenaBus, lane: Lane, count: int) -> None:
    for seed in range(1, count + 1):
        await bus.post(Post.new("curator", requested("tree", seed=seed, lane=lane)))


@pytest.mark.timeout(120)
async def test_the_lag_that_keda_sees_is_the_runs_that_wait_and_those_that_workers_execute(tmp_path: Path) -> None:
    with served(tmp_path) as (url, monitoring):
        async with connect(url) as hub:
            bus = await hub.arena("a", create=True)
            await ask(bus, "explore", 3)
            waiting = {lane_consumer(lane): 0 for lane in LANES}
            # nobody has asked for work yet: the consumers are there since the opening, else KEDA took the whole log
            assert await lags(monitoring) == waiting | {lane_consumer("explore"): 3}
            await ask(bus, "confirm", 2)
            async with taking(bus) as delivery:
                # then a run that is executed counts as before
                assert await lags(monitoring) == waiting | {lane_consumer("confirm"): 2, lane_consumer("explore"): 3}
                told = await lane_lags(hub.link, "a")
                assert (told["confirm"].pending, told["confirm"].ack_pending) == (1, 1)
                await delivery.done()
            assert await lags(monitoring) == waiting | {lane_consumer("confirm"): 1, lane_consumer("explore"): 3}


def test_there_is_a_trigger_for_every_lane_and_each_scales_by_the_stream_of_the_arena() -> None:
    found = triggers("monitoring:8222", "nanolm")
    assert sorted(each["consumer"] for each in found) == sorted(lane_consumer(lane) for lane in LANES)
    assert {(each["stream"], each["account"], each["natsServerMonitoringEndpoint"]) for each in found} == {
        ("MESH_nanolm", "HUB", "monitoring:8222")
    }

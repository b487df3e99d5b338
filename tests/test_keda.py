"""KEDA's own question to a real nats-server: the lag of each trigger of `deploy/kubernetes/workers.yaml`."""

import json
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

from mesh.accounts.hub_folder import HubFolder
from mesh.accounts.hub_init import init_hub
from mesh.bus import ArenaBus, Delivery
from mesh.events import LANES, Lane
from mesh.jetstream import connect
from mesh.jetstream.server_state import lane_consumer, lane_lags
from mesh.ports import free_ports
from mesh.server import find_binary
from mesh.testing import requested
from mesh.wire import Post
from tests.support.follower import ROOT

HUB_KEY = "AHUBKEY"


@contextmanager
def served(folder: Path) -> Iterator[tuple[HubFolder, str]]:
    """A server with the accounts of a hub and a monitoring port; returns the hub and that address."""
    port, door_port, monitoring = free_ports(3)
    hub, _ = init_hub(folder / "hub", ["127.0.0.1"], port=port, door_port=door_port, disk_bytes=1 << 30)
    with hub.config_file().open("a", encoding="utf-8") as file:
        file.write(f'\nhttp: "127.0.0.1:{monitoring}"\n')
    with subprocess.Popen([find_binary(), "-c", str(hub.config_file())], stderr=subprocess.DEVNULL) as server:
        try:
            yield hub, f"127.0.0.1:{monitoring}"
        finally:
            server.kill()


def triggers(monitoring: str, arena: str, hub_key: str) -> list[dict[str, str]]:
    """Return the triggers of the manifest, filled in by the words of its first lines."""
    text = (ROOT / "deploy" / "kubernetes" / "workers.yaml").read_text(encoding="utf-8")
    for word, filled in (("ARENA", arena), ("MONITORING", monitoring), ("HUB_KEY", hub_key)):
        assert f"s/{word}/" in text
        text = "\n".join(line.replace(word, filled, 1) for line in text.splitlines())
    manifest: dict[str, Any] = yaml.safe_load(text)
    assert all(trigger["type"] == "nats-jetstream" for trigger in manifest["spec"]["triggers"])
    return [trigger["metadata"] for trigger in manifest["spec"]["triggers"]]


def lag(trigger: dict[str, str]) -> int:
    """Return what KEDA's scaler nats-jetstream gets for a trigger: pending and unacknowledged of the consumer.

    It asks by the account's id, and knows the account by id or name. A stream whose consumer is missing counts with its
    last sequence.
    """
    query = f"acc={trigger['accountID']}&consumers=true&config=true"
    with urllib.request.urlopen(f"http://{trigger['natsServerMonitoringEndpoint']}/jsz?{query}", timeout=60) as answer:
        told: dict[str, Any] = json.load(answer)
    wanted = (trigger["accountID"], trigger["account"])
    [account] = [each for each in told["account_details"] if each["id"] == wanted[0] or each["name"] == wanted[1]]
    [stream] = [each for each in account["stream_detail"] if each["name"] == trigger["stream"]]
    for consumer in stream.get("consumer_detail", []):
        if consumer["name"] == trigger["consumer"]:
            return int(consumer["num_pending"]) + int(consumer["num_ack_pending"])
    return int(stream["state"]["last_seq"])


async def lags(monitoring: str, hub_key: str) -> dict[str, int]:
    """Return the lag of every trigger, by the name of its consumer."""
    found = {}
    for trigger in triggers(monitoring, "a", hub_key):
        found[trigger["consumer"]] = await anyio.to_thread.run_sync(lag, trigger)
    return found


async def until_lags(monitoring: str, hub_key: str, expected: dict[str, int]) -> None:
    """Wait until KEDA sees these lags: the server counts what it stores a moment later."""
    found: dict[str, int] = {}
    with anyio.move_on_after(60):
        while (found := await lags(monitoring, hub_key)) != expected:
            await anyio.sleep(0.05)
    assert found == expected


@asynccontextmanager
async def taking(bus: ArenaBus) -> AsyncIterator[Delivery]:
    """What a worker is given, as a worker asks for it."""
    kinds = [f"run.requested.{lane}" for lane in LANES]
    async with aclosing(bus.work("workers", kinds, lease_s=30)) as deliveries:
        with anyio.fail_after(60):
            yield await anext(deliveries)


async def ask(bus: ArenaBus, lane: Lane, count: int) -> None:
    for seed in range(1, count + 1):
        await bus.post(Post.new("curator", requested("tree", seed=seed, lane=lane)))


@pytest.mark.timeout(300)
async def test_the_lag_that_keda_sees_is_the_runs_that_wait_and_those_that_workers_execute(tmp_path: Path) -> None:
    with served(tmp_path) as (folder, monitoring):
        key = folder.settings.accounts["HUB"]
        async with connect(folder.own_url, credentials=folder.hub_creds, patience_s=60) as hub:
            bus = await hub.arena("a", create=True)
            await ask(bus, "explore", 3)
            idle = {lane_consumer(lane): 0 for lane in LANES}
            confirm, explore = lane_consumer("confirm"), lane_consumer("explore")
            # when nobody has asked for work yet, the lanes have their consumers all the same
            await until_lags(monitoring, key, idle | {explore: 3})
            await ask(bus, "confirm", 2)
            async with taking(bus) as delivery:
                # then a run that is executed counts as before
                await until_lags(monitoring, key, idle | {confirm: 2, explore: 3})
                told = await lane_lags(hub.link, "a")
                assert (told["confirm"].pending, told["confirm"].ack_pending) == (1, 1)
                await delivery.done()
            await until_lags(monitoring, key, idle | {confirm: 1, explore: 3})


async def test_by_its_name_alone_the_server_does_not_know_the_account(tmp_path: Path) -> None:
    with served(tmp_path) as (folder, monitoring):
        async with connect(folder.own_url, credentials=folder.hub_creds, patience_s=60) as hub:
            await hub.arena("a", create=True)
            url = f"http://{monitoring}/jsz?acc=HUB&consumers=true&config=true"
            with await anyio.to_thread.run_sync(urllib.request.urlopen, url) as answer:
                assert "account_details" not in json.load(answer)


def test_there_is_a_trigger_for_every_lane_and_each_scales_by_the_stream_of_the_arena() -> None:
    found = triggers("monitoring:8222", "nanolm", HUB_KEY)
    assert sorted(each["consumer"] for each in found) == sorted(lane_consumer(lane) for lane in LANES)
    words = ("stream", "account", "accountID", "natsServerMonitoringEndpoint")
    assert {tuple(each[word] for word in words) for each in found} == {
        ("MESH_nanolm", "HUB", HUB_KEY, "monitoring:8222")
    }

"""`mesh hub start --monitoring`, `--metrics`: what KEDA and Prometheus may ask a hub, on request."""

import json
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from mesh.ports import free_ports
from tests.support.arenas import write_arena
from tests.support.own_hub import new_hub, run_mesh, running
from tests.test_metrics import get, health, of, scrape


@pytest.mark.timeout(400)
async def test_a_hub_tells_keda_its_queue_and_prometheus_its_arenas(tmp_path: Path) -> None:
    monitoring, metrics = (f"127.0.0.1:{port}" for port in free_ports(2))
    hub = new_hub(tmp_path / "hub")
    async with running(hub, "--monitoring", monitoring, "--metrics", metrics) as own:
        await own.say("open", str(write_arena(tmp_path / "arena")))
        with anyio.fail_after(120):
            while of(await scrape(f"http://{metrics}"), "mesh_arena_open", arena="tiny") != 1:
                await anyio.sleep(0.1)
        assert await health(f"http://{metrics}") == 200
        url = f"http://{monitoring}/jsz?acc={hub.settings.accounts['HUB']}&consumers=true"
        _, text, _ = await anyio.to_thread.run_sync(get, url)
        [account] = json.loads(text)["account_details"]
        assert "MESH_tiny" in {stream["name"] for stream in account["stream_detail"]}


@pytest.mark.parametrize("address", ["8222", "host", "a b:1", 'x":8222', "host:port"])
async def test_what_is_no_address_of_a_monitoring_is_refused(tmp_path: Path, address: str) -> None:
    hub = new_hub(tmp_path / "hub")
    done = await run_mesh(tmp_path / "home", "hub", "start", "--dir", str(hub.folder), "--monitoring", address)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"mesh: --monitoring is {address!r}; use HOST:PORT, such as 10.0.0.5:8222\n"

"""`--metrics`: what Prometheus reads, by its own parser, of real processes; and whether they are healthy."""

import datetime as dt
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mesh.arena_metrics import board_metrics, money_metrics
from mesh.board import Board
from mesh.errors import BadInput
from mesh.events import ArenaClosed, BudgetGranted, RunStarted, WorkerJoined, WorkerLeft
from mesh.metric import ShownMetric
from mesh.testing import Log
from mesh.web.metrics import metrics_address
from tests.support.hub import gateway
from tests.test_leases import Gate, a_gate

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Values:
    """Return the samples of an exposition, each once; every family has its help and a type."""
    found: Values = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        assert family.type in ("gauge", "counter")
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def of(values: Values, name: str, **labels: str) -> float | None:
    """Return the value of a sample that has at least these labels."""
    matching = [value for (each, its), value in values.items() if each == name and labels.items() <= dict(its).items()]
    return sum(matching) if matching else None


def get(url: str) -> tuple[int, str, Mapping[str, str]]:
    try:
        with urllib.request.urlopen(url, timeout=100) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), dict(error.headers)


async def scrape(at: str) -> Values:
    status, text, headers = await anyio.to_thread.run_sync(get, f"{at}/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    return parsed(text)


async def health(at: str) -> int:
    return (await anyio.to_thread.run_sync(get, f"{at}/healthz"))[0]


async def address_of(gate: Gate, name: str) -> str:
    """Wait until a process says where its metrics are."""
    log = gate.on.swarm.home.parent / "swarm.log"
    with anyio.fail_after(200):
        while True:
            for line in log.read_text().splitlines():
                if line.startswith(f"{name}: metrics at "):
                    return line.rpartition(" ")[2].removesuffix("/metrics")
            await anyio.sleep(0.05)


async def until_at_the_end(at: str, gate: Gate) -> None:
    """Scrape until all entries of the log are counted."""
    with anyio.fail_after(200):
        while of(await scrape(at), "mesh_log_entries_total", arena="tiny") != await gate.on.bus.head():
            await anyio.sleep(0.1)


async def until_healthy(at: str) -> None:
    with anyio.fail_after(200):
        while await health(at) != 200:
            await anyio.sleep(0.1)


async def until_value(at: str, value: float, name: str, **labels: str) -> Values:
    """Scrape until a sample has a value."""
    with anyio.fail_after(200):
        while of(values := await scrape(at), name, **labels) != value:
            await anyio.sleep(0.1)
    return values


async def test_a_worker_shows_its_slots_runs_and_dollars(home: Path) -> None:
    async with a_gate(home) as gate:
        await gate.worker("w", "--metrics", "0", "--price-per-hour", "3600")
        at = await address_of(gate, "w")
        values = await until_value(at, 1, "mesh_worker_slots", worker="w")
        assert of(values, "mesh_worker_slots_busy") == 0
        assert of(values, "mesh_worker_idle_seconds") is not None
        assert of(values, "process_resident_memory_bytes")
        await gate.ask("r")
        await gate.begun(1)
        busy = await until_value(at, 1, "mesh_worker_slots_busy")
        assert of(busy, "mesh_worker_idle_seconds") == 0
        gate.open()
        await gate.finished("r")
        done = await until_value(at, 1, "mesh_worker_runs_total", outcome="scored")
        assert of(done, "mesh_worker_spent_usd_total") == pytest.approx(of(done, "mesh_worker_run_seconds_total"))
        assert of(done, "mesh_worker_unpriced_runs_total") == 0


async def test_a_process_is_healthy_while_the_server_of_the_log_answers(home: Path) -> None:
    async with a_gate(home) as gate:
        await gate.worker("w", "--metrics", "0")
        at = await address_of(gate, "w")
        await until_healthy(at)
        server = gate.on.server.address.pid
        os.kill(server, signal.SIGSTOP)
        try:
            status, text, _ = await anyio.to_thread.run_sync(get, f"{at}/healthz")
        finally:
            os.kill(server, signal.SIGCONT)
        assert (status, "the server of the log does not answer" in text) == (503, True)
        await until_healthy(at)


async def test_an_agent_shows_queue_lag_and_fleet_of_its_arena(home: Path) -> None:
    async with a_gate(home) as gate:
        commands = gate.on.swarm.commands
        commands["critic"] = [*commands["critic"], "--metrics", "0"]
        await gate.on.swarm.start("critic")
        at = await address_of(gate, "critic")
        await gate.worker("w")
        for run in ("one", "two", "three"):
            await gate.ask(run)
        await gate.begun(1)
        explore = {"arena": "tiny", "lane": "explore"}
        await until_value(at, 3, "mesh_queue_runs", **explore)
        values = await until_value(at, 1, "mesh_queue_runs", **explore, state="running")
        assert of(values, "mesh_queue_runs", **explore, state="waiting") == 2
        assert of(values, "mesh_queue_runs", arena="tiny", lane="confirm") == 0
        # then the server counts what KEDA would scale by
        lag = await until_value(at, 2, "mesh_consumer_pending", **explore)
        assert of(lag, "mesh_consumer_ack_pending", **explore) == 1
        assert (of(lag, "mesh_slots"), of(lag, "mesh_slots_busy"), of(lag, "mesh_workers")) == (1, 1, 1)
        assert of(lag, "mesh_agents", role="critic") == 1
        assert of(lag, "mesh_arena_open") == 1
        await until_value(at, 3, "mesh_facts_total", kind="run.requested")
        await until_at_the_end(at, gate)
        gate.open()
        for run in ("one", "two", "three"):
            await gate.finished(run)
        await until_value(at, 3, "mesh_runs_finished_total")


async def test_a_gateway_shows_all_arenas_and_its_health_at_its_own_address_too(home: Path) -> None:
    async with a_gate(home) as gate:
        errors = home.parent / "gateway.log"
        with errors.open("wb") as stderr:
            async with gateway(home, gate.on.server.url, "--metrics", "0", stderr=stderr) as hub:
                [line] = [each for each in errors.read_text().splitlines() if "metrics at" in each]
                at = line.rpartition(" ")[2].removesuffix("/metrics")
                await until_value(at, 1, "mesh_arena_open", arena="tiny")
                await until_at_the_end(at, gate)
                await gate.ask("r")
                await until_value(at, 1, "mesh_queue_runs", arena="tiny", lane="explore", state="waiting")
                await until_healthy(at)
                await until_healthy(hub.url)
                status, text, _ = await anyio.to_thread.run_sync(get, at)
                assert (status, text) == (404, "this server has /metrics and /healthz\n")


async def test_a_port_that_is_taken_ends_the_worker_with_a_sentence(home: Path) -> None:
    async with a_gate(home) as gate:
        await gate.worker("w", "--metrics", "0")
        port = (await address_of(gate, "w")).rpartition(":")[2]
        command = [*gate.on.swarm.commands["w"], "--name", "second", "--metrics", port]
        with anyio.fail_after(200):
            done = await anyio.run_process(command, check=False)
        assert done.returncode == 2
        assert f"second: nothing can listen on 127.0.0.1:{port}".encode() in done.stderr
        assert b"Traceback" not in done.stderr


def test_what_is_unknown_has_no_sample() -> None:
    log = Log()
    log.open()
    samples = {metric.name: metric.samples for metric in board_metrics(log.board, {})}
    assert samples["mesh_facts_total"] == samples["mesh_slots"] == samples["mesh_run_seconds_total"] == ()
    now = log.board.time
    assert {metric.name: metric.samples for metric in money_metrics(log.board, now)}["mesh_budget_usd"] == ()


def test_dollars_are_those_that_the_budget_counts() -> None:
    log = Log()
    log.open()
    log.add("ann", BudgetGranted(n=1, usd=20.0))
    log.add("w", WorkerJoined(boot="w", worker_class="cpu", device="d", slots=2, price_per_hour_usd=3.6))
    log.add("v", WorkerJoined(boot="v", worker_class="cpu", device="d", slots=2))
    found = sums(money_metrics(log.board, log.board.time + dt.timedelta(hours=1)))
    assert found.pop("mesh_spent_usd") == pytest.approx(3.6, abs=0.01)
    assert found == {"mesh_budget_usd": 20.0, "mesh_burn_usd_per_hour": pytest.approx(3.6), "mesh_unknown_costs": 1}


def test_a_run_of_a_worker_that_left_waits_again_and_a_closed_arena_is_not_open() -> None:
    log = Log()
    log.open()
    log.propose("one")
    run = log.request("one")
    log.add("w", WorkerJoined(boot="w", worker_class="cpu", device="d", slots=4))
    log.add("w", RunStarted(run=run, attempt=1, worker="w"))
    running = {"mesh_slots": 4, "mesh_slots_busy": 1, "mesh_queue_runs": 1, "mesh_arena_open": 1}
    assert sums(board_metrics(log.board, {})).items() >= running.items()
    assert states(log.board) == {"running": 1, "waiting": 0}
    log.add("w", WorkerLeft(boot="w", reason="preempted"))
    log.add("ann", ArenaClosed(version=1, reason="operator"))
    assert sums(board_metrics(log.board, {})).items() >= {"mesh_slots": 0, "mesh_arena_open": 0}.items()
    assert states(log.board) == {"running": 0, "waiting": 1}


def sums(metrics: list[ShownMetric]) -> dict[str, float]:
    return {metric.name: sum(sample.value for sample in metric.samples) for metric in metrics}


def states(board: Board) -> dict[str, float]:
    """Return the runs of the lane explore by their state."""
    [queue] = [metric for metric in board_metrics(board, {}) if metric.name == "mesh_queue_runs"]
    return {each.labels["state"]: each.value for each in queue.samples if each.labels["lane"] == "explore"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("9101", ("127.0.0.1", 9101)),
        (":9101", ("0.0.0.0", 9101)),
        ("10.0.0.5:9101", ("10.0.0.5", 9101)),
        ("[::1]:9101", ("::1", 9101)),
        ("box.example.org:0", ("box.example.org", 0)),
    ],
)
def test_an_address_is_a_port_or_a_host_with_a_port(text: str, found: tuple[str, int]) -> None:
    assert metrics_address(text) == found


@pytest.mark.parametrize("text", ["", "x", "65536", "::1:80", "host:", "-1", "٣"])
def test_what_is_no_address_is_refused_with_examples(text: str) -> None:
    with pytest.raises(
        BadInput, match=r"--metrics is .*; use a port such as 9101, or HOST:PORT such as 0\.0\.0\.0:9101"
    ):
        metrics_address(text)

"""A spot machine gets notice: real workers hand their runs back at once, and no attempt counts against the proposal."""

import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from gpu_worker import preemption
from gpu_worker.preemption import AwsNotices, GoogleNotices, until_noticed
from gpu_worker.triage import MAX_ATTEMPTS
from mesh.events import RunFinished, RunStarted, Scored, WorkerLeft
from tests.support.metadata import Aws, Google, Metadata, metadata
from tests.test_leases import Gate, a_gate, marked

NOBODY = "127.0.0.1:9"
"""The port `discard`, where nothing listens."""


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine that is in no cloud; the proxy of the environment is not for metadata."""
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://{NOBODY}")
    monkeypatch.setenv("GCE_METADATA_HOST", NOBODY)
    monkeypatch.setenv("http_proxy", f"http://{NOBODY}")
    return monkeypatch


@pytest.fixture(params=["AWS", "Google"])
def cloud(request: pytest.FixtureRequest, nowhere: pytest.MonkeyPatch) -> Iterator[Metadata]:
    """The metadata service of each cloud, where workers look for it."""
    with metadata(Aws if request.param == "AWS" else Google) as served:
        if request.param == "AWS":
            nowhere.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://{served.at}/")
        else:
            nowhere.setenv("GCE_METADATA_HOST", served.at)
        yield served


async def left_preempted(gate: Gate, name: str) -> None:
    """Wait until a worker has ended as one whose machine is taken away."""
    with anyio.fail_after(200):
        assert await gate.left(name) == 0
    boots = {boot for boot, member in gate.on.follower.board.workers.items() if member.name == name}
    await gate.on.until(lambda board: all(board.workers[boot].left for boot in boots))
    reasons = [left.reason for left in gate.facts(WorkerLeft) if isinstance(left, WorkerLeft) and left.boot in boots]
    assert reasons == ["preempted"]


async def test_after_a_notice_of_the_cloud_another_worker_has_the_run_at_once(home: Path, cloud: Metadata) -> None:
    async with a_gate(home) as gate:
        await gate.worker("spot", "--spot")
        await gate.ask("r")
        [first] = await gate.begun(1)
        await gate.worker("other")
        cloud.is_preempted = True
        await gate.begun(2)
        await left_preempted(gate, "spot")
        assert marked(first.read_text()) == []
        gate.open()
        finish = await gate.finished("r")
        assert (finish.outcome, finish.attempt) == (Scored(value=1.0, metrics={"loss": 1.0}), 2)
        assert len(gate.facts(RunFinished)) == 1
        # then the log says that it left before the other one began
        kinds = [e.post.kind for e in gate.on.entries if e.post and isinstance(e.post.event, RunStarted | WorkerLeft)]
        assert kinds[:3] == ["run.started", "worker.left", "run.started"]


async def test_sigterm_is_a_notice_too_and_the_run_is_handed_on_within_seconds(
    home: Path, nowhere: pytest.MonkeyPatch
) -> None:
    async with a_gate(home) as gate:
        await gate.worker("spot", "--spot")
        await gate.ask("r")
        await gate.begun(1)
        await gate.worker("other")
        began = time.monotonic()
        gate.on.swarm.running["spot"].terminate()
        await gate.begun(2)
        assert time.monotonic() - began < 60
        await left_preempted(gate, "spot")
        await gate.says("spot: preempted: its machine is taken away; its runs go to other workers")
        gate.open()
        assert isinstance((await gate.finished("r")).outcome, Scored)


async def test_however_often_a_machine_is_taken_away_the_run_is_not_lost(
    home: Path, nowhere: pytest.MonkeyPatch
) -> None:
    async with a_gate(home) as gate:
        await gate.ask("r")
        for number in range(1, MAX_ATTEMPTS + 2):
            await gate.worker(f"spot{number}", "--spot")
            await gate.begun(number)
            gate.on.swarm.running[f"spot{number}"].terminate()
            await left_preempted(gate, f"spot{number}")
        await gate.worker("kept")
        gate.open()
        finish = await gate.finished("r")
        assert (type(finish.outcome), finish.attempt) == (Scored, MAX_ATTEMPTS + 2)


async def test_without_spot_sigterm_drains_and_no_metadata_service_is_asked(home: Path, cloud: Metadata) -> None:
    cloud.is_preempted = True
    async with a_gate(home) as gate:
        await gate.worker("kept")
        await gate.ask("r")
        await gate.begun(1)
        gate.on.swarm.running["kept"].terminate()
        await gate.says("finishing its work")
        gate.open()
        assert await gate.left("kept") == 0
        assert isinstance((await gate.finished("r")).outcome, Scored)
        assert cloud.asked == []


def test_a_token_of_aws_is_asked_for_once_and_again_when_it_has_run_out(nowhere: pytest.MonkeyPatch) -> None:
    with metadata(Aws) as served:
        service = AwsNotices({"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{served.at}"})
        assert [service.look(), service.look()] == ["", ""]
        assert [each for each in served.asked if each.startswith("PUT")] == ["PUT /latest/api/token"]
        served.tokens.clear()
        with pytest.raises(OSError, match="answers 401"):
            service.look()
        served.is_preempted = True
        assert service.look() == "AWS will terminate this machine at 2026-11-27T23:59:00Z"


def test_whoever_answers_without_being_a_metadata_service_gives_no_notice(nowhere: pytest.MonkeyPatch) -> None:
    with metadata(Aws) as aws, metadata(Google) as google:
        aws.is_preempted = google.is_preempted = True
        with pytest.raises(OSError, match="is not Google's metadata service"):
            GoogleNotices({"GCE_METADATA_HOST": aws.at}).look()
        with pytest.raises(OSError, match="gives no token"):
            AwsNotices({"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{google.at}"}).look()
    for at in (NOBODY, "no host", "127.0.0.1:99999"):
        with pytest.raises(OSError, match=r".+"):
            GoogleNotices({"GCE_METADATA_HOST": at}).look()


async def test_a_machine_in_no_cloud_says_once_that_it_hears_no_notices(nowhere: pytest.MonkeyPatch) -> None:
    nowhere.setattr(preemption, "LOOK_FOR_NOTICE_EVERY_S", 0.01)
    said: list[str] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(until_noticed, said.append)
        with anyio.fail_after(100):
            while not said:
                await anyio.sleep(0.01)
        await anyio.sleep(0.5)  # it looks again and again
        tasks.cancel_scope.cancel()
    assert said == ["--spot: no metadata service of AWS or Google answers here; SIGTERM alone is a notice"]

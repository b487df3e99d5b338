"""What a run takes of its GPU is read from the driver and capped; without an answer there is no figure."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import msgspec
import pytest

from gpu_worker.gpu_gauge import Gauge, MemoryWatch, Reading, open_gauge
from gpu_worker.launch import slot_environment
from gpu_worker.machine import Slot, survey
from gpu_worker.run import RunInputs, execute
from gpu_worker.sandbox.tiers import Sandbox
from gpu_worker.supervisor.client import start_supervisor
from mesh.errors import BadInput, HostTrouble
from mesh.events import Failed, Scored
from mesh.testing import SPEC, opened, requested
from tests.test_hashes import smi

MB = 1024**2


class Driver:
    """A driver with one GPU, of which a test says what is on it."""

    class NVMLError(Exception):
        pass

    def __init__(self) -> None:
        self.used, self.rate, self.processes, self.lost = 100.0, 50, dict[int, float | None](), False

    def _alive(self) -> None:
        if self.lost:
            raise self.NVMLError("GPU is lost")

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        self._alive()
        return index

    def nvmlDeviceGetMemoryInfo(self, _: int) -> Any:  # noqa: N802
        return SimpleNamespace(used=self.used * MB)

    def nvmlDeviceGetUtilizationRates(self, _: int) -> Any:  # noqa: N802
        self._alive()
        return SimpleNamespace(gpu=self.rate)

    def nvmlDeviceGetComputeRunningProcesses(self, _: int) -> list[Any]:  # noqa: N802
        self._alive()
        items = self.processes.items()
        return [SimpleNamespace(pid=p, usedGpuMemory=None if mb is None else int(mb * MB)) for p, mb in items]


@pytest.fixture
def driver() -> Driver:
    return Driver()


def test_memory_is_that_of_the_run_s_own_processes(driver: Driver) -> None:
    driver.processes = {os.getpid(): 300.0, os.getppid(): 5000.0}
    assert Gauge(driver, "0").memory_mb([os.getpid()]) == 300


@pytest.mark.parametrize("processes", [{2**22 + 1: 300.0}, {os.getpid(): None}])
def test_where_process_ids_mean_nothing_the_gain_of_the_device_counts(
    driver: Driver, processes: dict[int, float | None]
) -> None:
    gauge = Gauge(driver, "0")
    driver.processes, driver.used = processes, 450.0
    assert gauge.memory_mb([os.getpid()]) == 350


def test_a_gpu_that_fell_off_the_bus_is_the_machine_s_trouble(driver: Driver) -> None:
    gauge = Gauge(driver, "0")
    driver.lost = True
    with pytest.raises(HostTrouble, match="GPU 0 does not answer: GPU is lost"):
        gauge.utilisation()
    with pytest.raises(HostTrouble):
        Gauge(driver, "0")


def test_peak_and_mean_are_kept(driver: Driver) -> None:
    watch = MemoryWatch(Gauge(driver, "0"), os.getppid(), cap_mb=0)
    assert watch.reading() == Reading()
    for used, rate in ((200.0, 40), (900.0, 80), (300.0, 60)):
        driver.processes, driver.rate = {os.getpid(): used}, rate
        watch.read()
    assert watch.reading() == Reading(900.0, 60.0, exceeded=False)


def test_without_a_gpu_there_is_no_gauge() -> None:
    assert open_gauge("") is None


@pytest.fixture
def job(tmp_path: Path) -> Callable[[str], RunInputs]:
    """A run of a training script."""
    (tmp_path / "data" / "public").mkdir(parents=True)

    def made(train: str) -> RunInputs:
        files = {"train.py": train.encode(), "score.py": b"print('{\"loss\": 1.0}')"}
        asked = msgspec.structs.replace(requested("t"), deadline_s=20)
        return RunInputs(asked, opened(SPEC), files, files, tmp_path / "data")

    return made


async def run(inputs: RunInputs, slot: Slot, folder: Path, gauge: Gauge) -> Any:
    begun = anyio.Event()
    begun.set()

    async def tell(_: bytes) -> None:
        pass

    with anyio.fail_after(120):
        async with start_supervisor() as supervisor:
            measured = await execute(
                inputs,
                slot,
                supervisor,
                Sandbox("E"),
                folder / "run",
                begun=begun,
                tell=tell,
                killed=lambda: False,
                gauge=lambda _: gauge,
            )
            return await measured.judge()


async def test_a_trial_that_takes_more_than_its_slot_s_share_is_ended(
    driver: Driver, job: Callable[[str], RunInputs], tmp_path: Path
) -> None:
    gauge = Gauge(driver, "0")
    driver.processes, driver.used = {2**22 + 1: 1.0}, 5100.0
    slot = Slot(0, "cuda:0", 1, cuda_index="0", gpu_memory_mb=4000, gpu_share=0.5)
    result = await run(job("import time; time.sleep(30)"), slot, tmp_path, gauge)
    text = "the trial used 5,000 MB of GPU memory, more than its slot's 4,000 MB"
    assert result.outcome == Failed(reason="out_of_memory", message=text)


async def test_what_a_trial_took_is_in_its_result(
    driver: Driver, job: Callable[[str], RunInputs], tmp_path: Path
) -> None:
    gauge = Gauge(driver, "0")
    driver.processes, driver.used = {2**22 + 1: 1.0}, 700.0
    slot = Slot(0, "cuda:0", 1, cuda_index="0", gpu_memory_mb=8000)
    result = await run(job("import time; time.sleep(2)"), slot, tmp_path, gauge)
    assert isinstance(result.outcome, Scored)
    assert result.gpu == Reading(600.0, 50.0, exceeded=False)


@pytest.mark.parametrize(("used", "reason"), [(700.0, "over_budget"), (110.0, "")])
async def test_time_with_the_gpu_open_counts_where_the_arena_says_so(
    used: float, reason: str, driver: Driver, job: Callable[[str], RunInputs], tmp_path: Path
) -> None:
    gauge = Gauge(driver, "0")
    driver.processes, driver.used = {2**22 + 1: 1.0}, used
    inputs = job("import time; time.sleep(2)")
    trial = msgspec.structs.replace(SPEC.trial, budget_counts="gpu", budget_tolerance=1.0, startup_s=0.0)
    spec = msgspec.structs.replace(SPEC, trial=msgspec.structs.replace(trial, deadline_s=20))
    inputs = msgspec.structs.replace(
        inputs, opened=opened(spec), request=msgspec.structs.replace(inputs.request, budget_s=0.3)
    )
    result = await run(inputs, Slot(0, "cuda:0", 1, cuda_index="0", gpu_memory_mb=8000), tmp_path, gauge)
    assert result.budget.counts == "gpu"
    assert (result.used_s > 0.3) == bool(reason)
    assert (result.outcome.reason if isinstance(result.outcome, Failed) else "") == reason


async def test_a_gpu_that_is_lost_during_a_trial_hands_the_run_back(
    driver: Driver, job: Callable[[str], RunInputs], tmp_path: Path
) -> None:
    gauge = Gauge(driver, "0")
    driver.lost = True
    with pytest.RaisesGroup(HostTrouble):
        await run(job("import time; time.sleep(30)"), Slot(0, "cuda:0", 1, cuda_index="0"), tmp_path, gauge)


def test_slots_share_the_memory_of_their_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi(tmp_path, monkeypatch, "NVIDIA H200, 140000, 570.1", "NVIDIA H200, 140000, 570.1")
    found = survey("auto", None, 2)
    assert [(slot.cuda_index, slot.gpu_memory_mb, slot.gpu_share) for slot in found.slots] == [
        ("0", 70000, 0.5),
        ("1", 70000, 0.5),
    ] * 2
    env = slot_environment(found.slots[1])
    assert (env["CUDA_VISIBLE_DEVICES"], env["PYTORCH_CUDA_ALLOC_CONF"]) == ("1", "per_process_memory_fraction:0.5000")
    assert "PYTORCH_CUDA_ALLOC_CONF" not in slot_environment(survey("auto", None).slots[0])
    with pytest.raises(BadInput, match="--slots-per-gpu is 0; use 1 or more"):
        survey("auto", None, 0)


def test_more_slots_than_gpus_share_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi(tmp_path, monkeypatch, "NVIDIA H100, 80000, 570.1", "NVIDIA H100, 80000, 570.1")
    found = survey("auto", 3)
    assert [(slot.cuda_index, slot.gpu_memory_mb, slot.gpu_share) for slot in found.slots] == [
        ("0", 40000, 0.5),
        ("1", 40000, 0.5),
        ("0", 40000, 0.5),
    ]
    # and fewer leave GPUs to others
    assert [(slot.cuda_index, slot.gpu_share) for slot in survey("auto", 1).slots] == [("0", 1.0)]


@pytest.mark.parametrize(
    ("visible", "used"),
    [
        ("2,0", ["2", "0"]),
        ("1", ["1"]),
        (" 1 , 1", ["1"]),
        ("GPU-2a,GPU-0", ["2", "0"]),
        ("1,7,0", ["1"]),  # CUDA too stops at the first that is not there
    ],
)
def test_a_worker_uses_the_gpus_that_its_environment_names(
    visible: str, used: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi(tmp_path, monkeypatch, *["NVIDIA H100, 80000, 570.1"] * 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = survey("auto", None)
    assert [slot.cuda_index for slot in found.slots] == used
    assert slot_environment(found.slots[0])["CUDA_VISIBLE_DEVICES"] == used[0]


def test_a_part_of_a_gpu_is_refused_and_no_whole_one_is_used_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi(tmp_path, monkeypatch, "NVIDIA H100, 80000, 570.1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-4f")
    with pytest.raises(BadInput, match=r"parts of a GPU \(MIG\) cannot be used; name whole GPUs"):
        survey("auto", None)
    assert survey("cpu", 1).worker_class.startswith("cpu-")


@pytest.mark.parametrize("visible", ["", "-1", "5"])
def test_a_worker_whose_environment_names_no_gpu_has_none(
    visible: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi(tmp_path, monkeypatch, "NVIDIA H100, 80000, 570.1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert survey("auto", 1).worker_class.startswith("cpu-")
    with pytest.raises(BadInput, match=f"--device is cuda, but CUDA_VISIBLE_DEVICES={visible} names no GPU"):
        survey("cuda", 1)

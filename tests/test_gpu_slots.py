"""Slots share the memory of a GPU; a driver may leave questions open; with a lost GPU a worker takes no runs."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import msgspec
import pynvml
import pytest

from gpu_worker import gpu_gauge, lease, slot_loop
from gpu_worker.gpu_gauge import Gauge, MemoryWatch, Reading, open_gauge
from gpu_worker.launch import slot_environment
from gpu_worker.machine import CONTEXT_MB, Machine, Slot, capped
from gpu_worker.worker import Worker
from mesh.errors import HostTrouble
from mesh.events import Failed, NotePosted, RunStarted, Scored
from mesh.memory import MemoryHub
from mesh.spec import WorkerSpec
from tests.test_worker import GOOD, SPEC, Arena

MB = 1024**2
ELSEWHERE = 2**22 + 1
"""A process number that no process here can have."""
WHOLE = Slot(0, "cuda:0", 1, cuda_index="0", gpu_memory_mb=80_000)
HALF = Slot(0, "cuda:0", 1, cuda_index="0", gpu_memory_mb=40_000, gpu_share=0.5)


class Driver:
    """A driver with one GPU, of which a test says what is on it and what it answers with errors, by NVML's codes."""

    NVMLError = pynvml.NVMLError

    def __init__(self) -> None:
        self.used, self.processes = 100.0, dict[int, float]()
        self.errors: dict[str, int] = {}
        self.opened = 0

    def _ask(self, name: str) -> None:
        for key in ("all", name):
            if key in self.errors:
                raise pynvml.NVMLError(self.errors[key])

    def nvmlInit(self) -> None:  # noqa: N802
        self._ask("init")
        self.opened += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.opened -= 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        self._ask("handle")
        return index

    def nvmlDeviceGetMemoryInfo(self, _: int) -> Any:  # noqa: N802
        self._ask("memory")
        return SimpleNamespace(used=self.used * MB)

    def nvmlDeviceGetUtilizationRates(self, _: int) -> Any:  # noqa: N802
        self._ask("rates")
        return SimpleNamespace(gpu=50)

    def nvmlDeviceGetComputeRunningProcesses(self, _: int) -> list[Any]:  # noqa: N802
        self._ask("processes")
        return [SimpleNamespace(pid=pid, usedGpuMemory=int(mb * MB)) for pid, mb in self.processes.items()]


@pytest.fixture
def driver() -> Driver:
    return Driver()


def test_a_slot_that_has_its_device_to_itself_may_take_all_of_it() -> None:
    assert capped(WHOLE, 0) == WHOLE
    assert "PYTORCH_CUDA_ALLOC_CONF" not in slot_environment(WHOLE)


def test_a_slot_that_shares_its_device_tells_torch_its_part_less_room_for_the_context() -> None:
    slot = capped(HALF, 0)
    assert (slot.gpu_memory_mb, slot.gpu_share) == (40_000, (40_000 - CONTEXT_MB) / 80_000)
    assert slot_environment(slot)["PYTORCH_CUDA_ALLOC_CONF"] == "per_process_memory_fraction:0.4904"


@pytest.mark.parametrize(("slot", "gb", "cap_mb"), [(WHOLE, 8, 8192), (HALF, 8, 8192), (HALF, 60, 40_000)])
def test_the_memory_that_an_arena_declares_is_the_cap_where_it_is_less(slot: Slot, gb: float, cap_mb: float) -> None:
    found = capped(slot, gb)
    assert (found.gpu_memory_mb, found.gpu_share) == (cap_mb, (cap_mb - CONTEXT_MB) / 80_000)


def test_a_small_part_leaves_torch_half_of_it() -> None:
    assert capped(msgspec.structs.replace(HALF, gpu_memory_mb=1000, gpu_share=0.125), 0).gpu_share == 0.0625


def test_a_cpu_has_no_cap() -> None:
    slot = Slot(0, "cpu", 1)
    assert capped(slot, 8) == slot


def test_a_gpu_is_numbered_as_nvml_does() -> None:
    assert slot_environment(WHOLE)["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert "CUDA_DEVICE_ORDER" not in slot_environment(Slot(0, "cpu", 1))


def test_a_container_in_which_nvml_lists_no_process_sees_what_the_device_gained(driver: Driver) -> None:
    found = Gauge(driver, "0")
    driver.used = 350
    assert found.memory_mb([os.getpid()]) == 250


def test_memory_of_other_processes_is_not_the_run_s(driver: Driver) -> None:
    found = Gauge(driver, "0")
    driver.processes, driver.used = {os.getppid(): 5000}, 5100
    assert found.memory_mb([os.getpid()]) == 0


@pytest.mark.parametrize("processes", [{}, {ELSEWHERE: 5000.0}])
def test_no_run_is_ended_for_memory_that_may_be_its_neighbour_s(driver: Driver, processes: dict[int, float]) -> None:
    found = Gauge(driver, "0", alone=False)
    driver.processes, driver.used = processes, 5100
    assert found.memory_mb([os.getpid()]) is None
    watch = MemoryWatch(found, os.getppid(), cap_mb=1000)
    watch.read()
    assert watch.reading() == Reading(None, 50.0, exceeded=False)


def test_a_run_s_own_processes_are_told_from_its_neighbour_s(driver: Driver) -> None:
    found = Gauge(driver, "0", alone=False)
    driver.processes = {os.getpid(): 300, ELSEWHERE: 5000}
    assert found.memory_mb([os.getpid()]) == 300


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION])
def test_questions_that_a_device_does_not_answer_are_no_trouble(driver: Driver, code: int) -> None:
    driver.errors = {"rates": code, "memory": code, "processes": code}
    watch = MemoryWatch(open_gauge("0", library=driver), os.getppid(), cap_mb=1000)
    watch.read()
    assert watch.reading() == Reading()


@pytest.mark.parametrize(
    "code", [pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.NVML_ERROR_RESET_REQUIRED]
)
def test_a_device_that_is_gone_is_trouble_and_the_driver_is_let_go(driver: Driver, code: int) -> None:
    driver.errors = {"handle": code}
    with pytest.raises(HostTrouble, match="GPU 0 does not answer"):
        open_gauge("0", library=driver)
    assert driver.opened == 0


def test_a_driver_that_is_not_there_is_no_trouble_and_one_that_was_is(driver: Driver) -> None:
    driver.errors = {"init": pynvml.NVML_ERROR_LIBRARY_NOT_FOUND}
    assert open_gauge("0", library=driver) is None
    driver.errors = {"init": pynvml.NVML_ERROR_DRIVER_NOT_LOADED}
    with pytest.raises(HostTrouble, match="the driver of GPU 0 does not answer: Driver Not Loaded"):
        open_gauge("0", library=driver)


def test_the_codes_are_those_of_nvml() -> None:
    lost = {pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED, pynvml.NVML_ERROR_GPU_NOT_FOUND}
    assert {pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_DATA} < set(gpu_gauge.UNANSWERED)
    assert pynvml.NVML_ERROR_LIBRARY_NOT_FOUND in gpu_gauge.NO_DRIVER
    assert lost.isdisjoint({*gpu_gauge.UNANSWERED, *gpu_gauge.NO_DRIVER})


@pytest.fixture
async def arena(tmp_path: Path) -> Arena:
    return Arena(await MemoryHub().arena("a", create=True), tmp_path)


@asynccontextmanager
async def serving(arena: Arena, driver: Driver, *slots: Slot) -> AsyncIterator[Worker]:
    """A worker with GPUs that a driver of the test stands for; its trials use none."""
    machine = Machine("cuda-h100", "NVIDIA H100", 80_000, slots, "environment")
    made = Worker(arena.bus, "w", arena.home, machine, "E", anyio.Event())
    made.nvml = driver
    with anyio.fail_after(120):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.live)
            yield made
            tasks.cancel_scope.cancel()


async def test_a_finish_carries_the_figures_of_the_driver(arena: Arena, driver: Driver) -> None:
    await arena.open()
    await arena.request(GOOD + "time.sleep(2)")
    async with serving(arena, driver, WHOLE):
        done = await arena.finished()
    assert isinstance(done.outcome, Scored)
    assert (done.peak_gpu_memory_mb, done.gpu_utilisation) == (0, 50)
    assert driver.opened == 0


CACHES = """
import os
for name in ("TRITON_CACHE_DIR", "CUDA_CACHE_PATH"):
    assert os.environ[name].startswith(os.environ["TMPDIR"] + "/")
    os.makedirs(os.environ[name])
"""


async def test_compilers_of_gpu_code_keep_what_they_make_in_the_trial_s_own_folder_wherever_home_leads(
    arena: Arena, driver: Driver
) -> None:
    await arena.open(score=CACHES + "print('{\"loss\": 1.0}')")
    await arena.request("import os\nos.environ['HOME'] = os.environ['MESH_DATA']\n" + CACHES + GOOD)
    async with serving(arena, driver, WHOLE):
        done = await arena.finished()
    assert isinstance(done.outcome, Scored), done.outcome


async def test_a_run_over_what_its_arena_declares_is_out_of_memory(
    arena: Arena, driver: Driver, tmp_path: Path
) -> None:
    await arena.open(msgspec.structs.replace(SPEC, worker=WorkerSpec(gpu_memory_gb=4)))
    mark = tmp_path / "began"
    await arena.request(f"pathlib.Path({str(mark)!r}).touch(); time.sleep(60)")
    async with serving(arena, driver, WHOLE):
        while not mark.exists():
            await anyio.sleep(0.02)
        driver.used += 5000
        done = await arena.finished()
    text = "the trial used 5,000 MB of GPU memory, more than its slot's 4,096 MB"
    assert done.outcome == Failed(reason="out_of_memory", message=text)


async def test_scoring_has_the_same_cap(arena: Arena, driver: Driver, tmp_path: Path) -> None:
    mark = tmp_path / "scoring"
    score = f"import pathlib, time; pathlib.Path({str(mark)!r}).touch(); time.sleep(60)"
    await arena.open(msgspec.structs.replace(SPEC, worker=WorkerSpec(gpu_memory_gb=4)), score=score)
    await arena.request(GOOD)
    async with serving(arena, driver, WHOLE):
        while not mark.exists():
            await anyio.sleep(0.02)
        driver.used += 5000
        done = await arena.finished()
    text = "scoring used 5,000 MB of GPU memory, more than its slot's 4,096 MB"
    assert done.outcome == Failed(reason="no_score", message=text)


async def test_a_worker_whose_slots_are_too_small_does_not_start(arena: Arena, driver: Driver) -> None:
    await arena.open(msgspec.structs.replace(SPEC, worker=WorkerSpec(gpu_memory_gb=60)))
    text = r"arena a demands 60 GB of GPU memory per run, but a slot has 39\.1 GB"
    with pytest.RaisesGroup(pytest.RaisesExc(HostTrouble, match=text)):
        async with serving(arena, driver, HALF):
            await anyio.sleep_forever()


async def test_a_lost_gpu_takes_no_runs_until_it_is_there_again(
    arena: Arena, driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_loop, "RETRY_AFTER_S", 0.1)
    monkeypatch.setattr(lease, "HAND_BACK_S", 0.0)
    await arena.open()
    mark = tmp_path / "began"
    train = f"mark = pathlib.Path({str(mark)!r})\nif not mark.exists(): mark.touch(); time.sleep(60)\n"
    await arena.request(GOOD + train)
    async with serving(arena, driver, WHOLE):
        while not mark.exists():
            await anyio.sleep(0.02)
        # when the GPU falls off the bus in the middle of a run
        driver.errors = {"all": pynvml.NVML_ERROR_GPU_IS_LOST}
        while not (notes := await arena.all(NotePosted)):
            await anyio.sleep(0.02)
        # then the run is handed back and not begun again, however often the worker looks
        looks = watch_looks(driver, monkeypatch)
        while len(looks) < 5:
            await anyio.sleep(0.02)
        assert [note.text for note in notes] == [
            "worker w slot 0 handed its run back: GPU 0 does not answer: GPU is lost"
        ]
        assert len(await arena.all(RunStarted)) == 1
        # and goes on when it is there
        driver.errors = {}
        done = await arena.finished()
    assert isinstance(done.outcome, Scored)
    assert [started.attempt for started in await arena.all(RunStarted)] == [1, 2]


def watch_looks(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Return a list that grows with every attempt to reach the driver."""
    looks: list[None] = []
    ask = driver._ask

    def counted(name: str) -> None:
        looks.append(None)
        ask(name)

    monkeypatch.setattr(driver, "_ask", counted)
    return looks

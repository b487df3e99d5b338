"""What the driver says of a GPU while a run is on it: memory of the run's processes, utilisation. By NVML.

Read in the worker, never in a trial or supervisor, and without a CUDA context. Where pynvml or a driver is missing
there is no gauge, and figures are None. In a container NVML may name processes by the host's numbers, which say nothing
here: then what the whole device gained since the run began stands for the run, which is right for one slot per device.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import psutil

from mesh.errors import HostTrouble

EVERY_S = 0.2


class Reading(msgspec.Struct, frozen=True):
    """What a run took of its GPU: peak memory (MB) and mean utilisation (%); None where nobody can tell."""

    peak_mb: float | None = None
    utilisation: float | None = None
    exceeded: bool = False


class Gauge:
    """NVML for one device, by its index or UUID; `library` is pynvml, or what stands in for it in a test."""

    def __init__(self, library: Any, device: str) -> None:
        self._nvml, self._device = library, device
        find, name = library.nvmlDeviceGetHandleByIndex, int(device) if device.isdigit() else device
        self._handle = self._ask(find if device.isdigit() else library.nvmlDeviceGetHandleByUUID, name)
        self._before = self._used_mb()

    def memory_mb(self, pids: Iterable[int]) -> float:
        """Return the GPU memory of these processes, or of all that the device gained, where their numbers say nothing.

        Raises:
            HostTrouble: the GPU is gone.
        """
        own = set(pids)
        running = self._ask(self._nvml.nvmlDeviceGetComputeRunningProcesses, self._handle)
        found: dict[int, int | None] = {process.pid: process.usedGpuMemory for process in running}
        if any(not os.path.exists(f"/proc/{pid}") for pid in found) or None in found.values():
            return max(0.0, self._used_mb() - self._before)
        return sum(used or 0 for pid, used in found.items() if pid in own) / 1024**2

    def utilisation(self) -> float:
        """Return how much of the last moments the device was at work (%).

        Raises:
            HostTrouble: the GPU is gone.
        """
        return float(self._ask(self._nvml.nvmlDeviceGetUtilizationRates, self._handle).gpu)

    def _used_mb(self) -> float:
        return float(self._ask(self._nvml.nvmlDeviceGetMemoryInfo, self._handle).used) / 1024**2

    def _ask(self, question: Any, *arguments: Any) -> Any:
        try:
            return question(*arguments)
        except self._nvml.NVMLError as error:
            raise HostTrouble(f"GPU {self._device} does not answer: {error}") from None


def open_gauge(device: str) -> Gauge | None:
    """Return the gauge of a device, None where there is no GPU, no driver or no pynvml.

    Raises:
        HostTrouble: there is a driver, and the GPU does not answer.
    """
    if not device:
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return Gauge(pynvml, device)


class Watch:
    """Reads a gauge while a run is on; with `cap_mb` it tells once that the run takes more."""

    def __init__(self, gauge: Gauge | None, root: int, cap_mb: float) -> None:
        self._gauge, self._root, self._cap_mb = gauge, root, cap_mb
        self._peak, self._rates, self._exceeded = 0.0, list[float](), False

    async def until_exceeded(self) -> None:
        """Read until the run takes more than the cap; for ever where it does not.

        Raises:
            HostTrouble: the GPU is gone.
        """
        if self._gauge is None:
            await anyio.sleep_forever()
        while not self._exceeded:
            await anyio.to_thread.run_sync(self.read)
            await anyio.sleep(EVERY_S)

    def read(self) -> None:
        """Read once."""
        assert self._gauge is not None
        self._peak = max(self._peak, self._gauge.memory_mb(_tree(self._root)))
        self._rates.append(self._gauge.utilisation())
        self._exceeded = bool(self._cap_mb) and self._peak > self._cap_mb

    def reading(self) -> Reading:
        """Return what was read."""
        if not self._rates:
            return Reading()
        return Reading(round(self._peak, 1), round(sum(self._rates) / len(self._rates), 1), self._exceeded)


def _tree(root: int) -> list[int]:
    with suppress(psutil.NoSuchProcess):
        return [process.pid for process in psutil.Process(root).children(recursive=True)]
    return []

"""What the driver says of a GPU while a run is on it: memory of the run's processes, utilisation. By NVML.

Read in the worker, never in a trial or supervisor, and without a CUDA context. Where pynvml or a driver is missing
there is no gauge, and what a driver does not tell (utilisation of a MIG instance) is None: nothing else changes.

NVML names processes by the host's numbers. In a container these say nothing here, or it lists no process at all: then
what the whole device gained since the run began stands for the run, which is right where its slot has the device to
itself. Where slots share the device nobody can tell whose memory it is: there is no figure then, and no cap but the one
that torch is told. Utilisation is always the device's, neighbours included.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import psutil

from mesh.errors import HostTrouble

EVERY_S = 0.2
UNTOLD = (3, 4, 7, 10, 13, 17, 20, 21, 25, 26, 27)
"""Codes of NVML for a question that this device or driver does not answer (not supported, no permission, no such
function, no data, a list that grew meanwhile, …). All others mean that the device is not to be used."""
NO_DRIVER = (4, 12, 13)
"""Codes for an NVML that is not there, or not for us: no permission, no library, one that is too old."""


class Reading(msgspec.Struct, frozen=True):
    """What a run took of its GPU: peak memory (MB) and mean utilisation (%); None where nobody can tell."""

    peak_mb: float | None = None
    utilisation: float | None = None
    exceeded: bool = False


class Gauge:
    """NVML for one device, by its index or UUID; `library` is pynvml, or what stands in for it in a test.

    `alone` says that no other slot is on the device; `close` is called when nothing more is asked.
    """

    def __init__(
        self, library: Any, device: str, *, alone: bool = True, close: Callable[[], object] = lambda: None
    ) -> None:
        self._nvml, self._device, self._alone, self.close = library, device, alone, close
        find, name = library.nvmlDeviceGetHandleByIndex, int(device) if device.isdigit() else device
        self._handle = self._ask(find if device.isdigit() else library.nvmlDeviceGetHandleByUUID, name)
        self._before = self._used_mb()

    def memory_mb(self, pids: Iterable[int]) -> float | None:
        """Return the GPU memory of these processes, or of all that the device gained, where their numbers say nothing.

        Raises:
            HostTrouble: the GPU is gone.
        """
        own = set(pids)
        running = self._ask(self._nvml.nvmlDeviceGetComputeRunningProcesses, self._handle)
        found: dict[int, int | None] = {process.pid: process.usedGpuMemory for process in running or ()}
        mine = [used for pid, used in found.items() if pid in own]
        told = [used for used in mine if used is not None]
        if mine and len(told) == len(mine):
            return sum(told) / 1024**2
        if found and None not in found.values() and all(os.path.exists(f"/proc/{pid}") for pid in found):
            return 0.0
        used_mb = self._used_mb() if self._alone else None
        return None if used_mb is None or self._before is None else max(0.0, used_mb - self._before)

    def utilisation(self) -> float | None:
        """Return how much of the last moments the device was at work (%).

        Raises:
            HostTrouble: the GPU is gone.
        """
        rates = self._ask(self._nvml.nvmlDeviceGetUtilizationRates, self._handle)
        return None if rates is None else float(rates.gpu)

    def _used_mb(self) -> float | None:
        memory = self._ask(self._nvml.nvmlDeviceGetMemoryInfo, self._handle)
        return None if memory is None else float(memory.used) / 1024**2

    def _ask(self, question: Any, *arguments: Any) -> Any:
        try:
            return question(*arguments)
        except self._nvml.NVMLError as error:
            if getattr(error, "value", None) in UNTOLD:
                return None
            raise HostTrouble(f"GPU {self._device} does not answer: {error}") from None


def open_gauge(device: str, *, alone: bool = True, library: Any = None) -> Gauge | None:
    """Return the gauge of a device, None where there is no GPU, no driver or no pynvml. To be closed by the caller.

    When all gauges of a process are closed it has let go of the driver, so that a GPU that was reset is found anew.

    Raises:
        HostTrouble: there is a driver, and it or the GPU does not answer.
    """
    if not device:
        return None
    if library is None:
        try:
            import pynvml
        except ImportError:
            return None
        library = pynvml
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        if getattr(error, "value", None) in NO_DRIVER:
            return None
        raise HostTrouble(f"the driver of GPU {device} does not answer: {error}") from None

    def close() -> None:
        with suppress(library.NVMLError):
            library.nvmlShutdown()

    try:
        return Gauge(library, device, alone=alone, close=close)
    except HostTrouble:
        close()
        raise


class Watch:
    """Reads a gauge while a run is on; with `cap_mb` it tells once that the run takes more."""

    def __init__(self, gauge: Gauge | None, root: int, cap_mb: float) -> None:
        self._gauge, self._root, self._cap_mb = gauge, root, cap_mb
        self._peaks, self._rates, self._exceeded = list[float](), list[float](), False

    async def until_exceeded(self) -> None:
        """Read until the run takes more than the cap; for ever where it does not.

        Raises:
            HostTrouble: the GPU is gone.
        """
        if self._gauge is None:
            await anyio.sleep_forever()
        while not self._exceeded:
            await anyio.to_thread.run_sync(self.read, abandon_on_cancel=True)  # a driver in trouble can take its time
            await anyio.sleep(EVERY_S)

    def read(self) -> None:
        """Read once."""
        assert self._gauge is not None
        memory_mb, rate = self._gauge.memory_mb(_tree(self._root)), self._gauge.utilisation()
        if memory_mb is not None:
            self._peaks = [max(memory_mb, *self._peaks)] if self._peaks else [memory_mb]
            self._exceeded = bool(self._cap_mb) and memory_mb > self._cap_mb
        if rate is not None:
            self._rates.append(rate)

    def reading(self) -> Reading:
        """Return what was read."""
        peak_mb = round(self._peaks[0], 1) if self._peaks else None
        mean = round(sum(self._rates) / len(self._rates), 1) if self._rates else None
        return Reading(peak_mb, mean, self._exceeded)


def _tree(root: int) -> list[int]:
    with suppress(psutil.NoSuchProcess):
        return [process.pid for process in psutil.Process(root).children(recursive=True)]
    return []

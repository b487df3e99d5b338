"""Reads a GPU through NVML while a run is on it: memory of the run's processes, and utilisation.

It is read in the worker, never in a trial or a supervisor, and without a CUDA context. Without pynvml or a driver there
is no gauge. A figure that a driver does not give (utilisation of a MIG instance) is None; nothing else changes.

NVML names processes by the host's process ids. In a container these mean nothing, or NVML lists no process at all. Then
the memory that the device gained since the run began stands for the run, which is right where its slot has the device
to itself. Where slots share the device there is no figure then, and no cap except the one that torch is given.
Utilisation is always that of the whole device.
"""

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import psutil

from mesh.errors import HostTrouble

EVERY_S = 0.2
CLOSED_MB = 32.0
"""GPU memory up to which a run does not have the GPU open: an open one takes hundreds of MB."""
UNANSWERED = (3, 4, 7, 10, 13, 17, 20, 21, 25, 26, 27)
"""NVML codes for a question that this device or driver does not answer (not supported, no permission, no such function,
no data, a list that grew meanwhile, …). All other codes mean that the device must not be used."""
NO_DRIVER = (4, 12, 13)
"""NVML codes for a missing driver: no permission, no library, a library that is too old."""


class Reading(msgspec.Struct, frozen=True):
    """What a run took of its GPU: peak memory (MB) and mean utilisation (%); None for unknown."""

    peak_mb: float | None = None
    utilisation: float | None = None
    exceeded: bool = False


class Gauge:
    """NVML for one device.

    Args:
        library: pynvml, or what stands in for it in a test.
        device: CUDA index or UUID.
        alone: whether no other slot is on the device.
        close: called by the user when it asks nothing more.
    """

    def __init__(
        self, library: Any, device: str, *, alone: bool = True, close: Callable[[], object] = lambda: None
    ) -> None:
        self._nvml, self._device, self._alone, self.close = library, device, alone, close
        find, name = library.nvmlDeviceGetHandleByIndex, int(device) if device.isdigit() else device
        self._handle = self._ask(find if device.isdigit() else library.nvmlDeviceGetHandleByUUID, name)
        self._before = self._used_mb()

    def memory_mb(self, pids: Iterable[int]) -> float | None:
        """Return the GPU memory (MB) of these processes, or what the device gained where their ids mean nothing.

        Raises:
            HostTrouble: the GPU is gone.
        """
        own = set(pids)
        running = self._ask(self._nvml.nvmlDeviceGetComputeRunningProcesses, self._handle)
        found: dict[int, int | None] = {process.pid: process.usedGpuMemory for process in running or ()}
        mine = [used for pid, used in found.items() if pid in own]
        known = [used for used in mine if used is not None]
        if mine and len(known) == len(mine):
            return sum(known) / 1024**2
        if found and None not in found.values() and all(os.path.exists(f"/proc/{pid}") for pid in found):
            return 0.0
        used_mb = self._used_mb() if self._alone else None
        return None if used_mb is None or self._before is None else max(0.0, used_mb - self._before)

    def utilisation(self) -> float | None:
        """Return the recent utilisation of the device (%).

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
            if getattr(error, "value", None) in UNANSWERED:
                return None
            raise HostTrouble(f"GPU {self._device} does not answer: {error}") from None


def open_gauge(device: str, *, alone: bool = True, library: Any = None) -> Gauge | None:
    """Return the gauge of a device, None without a GPU, a driver or pynvml. The caller closes it.

    When all gauges of a process are closed, the driver is released, so that a GPU that was reset is found again.

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


class MemoryWatch:
    """Reads a gauge while a run is on.

    Args:
        root: process id; its descendants are the run.
        cap_mb: memory that the run may take; 0 for no cap.

    `limit_s` is how long the run may have the GPU open, 0 for no limit; `open_s` is how long it had. A time between two
    readings counts if one of them found the GPU open, or did not tell.
    """

    def __init__(self, gauge: Gauge | None, root: int, cap_mb: float) -> None:
        self._gauge, self._root, self._cap_mb = gauge, root, cap_mb
        self._peaks, self._rates, self._exceeded = list[float](), list[float](), False
        self.limit_s, self.open_s = 0.0, 0.0
        self._is_open, self._read_at = False, time.monotonic()

    @property
    def sees(self) -> bool:
        """Whether there is a driver to ask."""
        return self._gauge is not None

    async def until_exceeded(self) -> None:
        """Read until the run takes more than the cap, or has the GPU open too long; for ever if it does not.

        Raises:
            HostTrouble: the GPU is gone.
        """
        if self._gauge is None:
            await anyio.sleep_forever()
        while not self._exceeded and not 0 < self.limit_s < self.open_s:
            await anyio.to_thread.run_sync(self.read, abandon_on_cancel=True)  # a driver in trouble can take its time
            await anyio.sleep(EVERY_S)

    def read(self) -> None:
        """Read once."""
        assert self._gauge is not None
        memory_mb, rate = self._gauge.memory_mb(_tree(self._root)), self._gauge.utilisation()
        was_open, self._is_open = self._is_open, memory_mb is None or memory_mb > CLOSED_MB
        now = time.monotonic()
        if was_open or self._is_open:
            self.open_s += now - self._read_at
        self._read_at = now
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

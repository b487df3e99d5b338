"""Finds what this machine offers: devices, slots, worker class, environment hash. Never imports torch."""

import hashlib
import importlib.metadata
import itertools
import math
import os
import platform
import re
import shutil
import subprocess
import sys
from typing import NamedTuple

import msgspec
import psutil

from mesh.errors import BadInput

CONTEXT_MB = 768.0
"""GPU memory that a process uses outside of torch's allocator: its CUDA context and the kernels that it loads."""


VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Where whoever starts a worker says which GPUs are its own; nvidia-smi shows them all."""


class Slot(msgspec.Struct, frozen=True):
    """A place where one trial can run.

    Args:
        device: `cpu` or `cuda:0`, as the trial sees it.
        threads: how many it may use.
        cuda_index: index of its GPU, "" for none.
        gpu_memory_mb: how much of its GPU it may use.
        gpu_share: the fraction of the whole GPU that torch is limited to; 1 where it may use all.
    """

    number: int
    device: str
    threads: int
    cuda_index: str = ""
    gpu_memory_mb: float = 0.0
    gpu_share: float = 1.0


class Machine(msgspec.Struct, frozen=True):
    """Slots and what they share; memory is that of one GPU, or of the machine, in MB."""

    worker_class: str
    device: str
    memory_mb: int
    slots: tuple[Slot, ...]
    environment: str


def survey(device: str, slots: int | None, per_gpu: int = 1) -> Machine:
    """Return what to run on; slots that share a GPU get equal parts of its memory.

    Args:
        device: `auto`, `cpu` or `cuda`.
        slots: how many; by default one per core, or `per_gpu` per GPU. More than that share the GPUs.
        per_gpu: slots on one GPU.

    Raises:
        BadInput: CUDA is wanted and nvidia-smi shows no device, only a part of a device may be used, or a number of
            slots is below 1.
    """
    if slots is not None and slots < 1:
        raise BadInput(f"--slots is {slots}; use 1 or more")
    if per_gpu < 1:
        raise BadInput(f"--slots-per-gpu is {per_gpu}; use 1 or more")
    gpus = [] if device == "cpu" else _gpus()
    if device == "cuda" and not gpus:
        shown = os.environ.get(VISIBLE)
        which = f"{VISIBLE}={shown} names no GPU of" if shown is not None and _shown() else "nvidia-smi shows no GPU on"
        raise BadInput(f"--device is cuda, but {which} this machine; use cpu or auto")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if gpus:
        count = slots or per_gpu * len(gpus)
        per_gpu = max(per_gpu, math.ceil(count / len(gpus)))
        threads = max(1, cores // count)
        _, name, memory, driver, _ = gpus[0]
        made = tuple(
            Slot(
                number,
                "cuda:0",
                threads,
                cuda_index=gpus[number % len(gpus)].cuda_index,
                gpu_memory_mb=gpus[number % len(gpus)].memory_mb / per_gpu,
                gpu_share=1 / per_gpu,
            )
            for number in range(count)
        )
        return Machine(f"cuda-{short_name(name)}", name, memory, made, environment_hash(name, driver))
    count = slots or cores
    made = tuple(Slot(n, "cpu", max(1, cores // count)) for n in range(count))
    memory = psutil.virtual_memory().total // 1024**2
    return Machine(f"cpu-{platform.machine()}", platform.processor() or "cpu", memory, made, environment_hash("cpu"))


def capped(slot: Slot, gpu_memory_gb: float) -> Slot:
    """Return a slot with the GPU memory that the arena's runs may use.

    Where that is less than the device, torch is limited to less than the cap, which leaves room for the CUDA context:
    torch's cache alone never takes a process over the cap.

    Args:
        slot: the slot of the machine.
        gpu_memory_gb: what the arena declares that a run uses; 0 for undeclared.
    """
    device_mb = slot.gpu_memory_mb / slot.gpu_share
    cap_mb = min(slot.gpu_memory_mb, gpu_memory_gb * 1024 or slot.gpu_memory_mb)
    if not slot.cuda_index or cap_mb >= device_mb:
        return slot
    share = max(cap_mb / 2, cap_mb - CONTEXT_MB) / device_mb
    return msgspec.structs.replace(slot, gpu_memory_mb=cap_mb, gpu_share=share)


class _Gpu(NamedTuple):
    cuda_index: str
    name: str
    memory_mb: int
    driver: str
    uuid: str


def _gpus() -> list[_Gpu]:
    """Return the GPUs that this worker may use: all, or those that its own `CUDA_VISIBLE_DEVICES` names."""
    found, wanted = _shown(), os.environ.get(VISIBLE)
    if not found or wanted is None:
        return found
    if "MIG-" in wanted:
        raise BadInput(
            f"{VISIBLE} is {wanted[:80]!r}: parts of a GPU (MIG) cannot be used; name whole GPUs, such as 0,1"
        )
    by_name = {gpu.cuda_index: gpu for gpu in found}
    words = [word.strip() for word in wanted.split(",")]
    by_name |= {word: gpu for gpu in found for word in words if word.startswith("GPU-") and gpu.uuid.startswith(word)}
    named = list(itertools.takewhile(lambda gpu: gpu is not None, map(by_name.get, words)))  # CUDA stops there too
    return [gpu for gpu in dict.fromkeys(named) if gpu]


def _shown() -> list[_Gpu]:
    """Return every GPU of the machine, as nvidia-smi shows them."""
    program = shutil.which("nvidia-smi")
    if not program:
        return []
    query = [program, "--query-gpu=name,memory.total,driver_version,uuid", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    rows = [[word.strip() for word in line.rsplit(",", 3)] for line in lines if line.count(",") >= 3]
    return [
        _Gpu(str(n), name, int(mb), driver, uuid) for n, (name, mb, driver, uuid) in enumerate(rows) if mb.isdigit()
    ]


def short_name(device: str) -> str:
    """Return the short name of a GPU: `h100`, `rtx4090`, `t4`."""
    words = [w for w in re.findall(r"[a-z0-9]+", device.lower()) if w not in ("nvidia", "geforce", "tesla", "quadro")]
    return "".join(words[:2]) if words[:1] in (["rtx"], ["gtx"]) else next(iter(words), "gpu")


def environment_hash(device: str, driver: str = "") -> str:
    """Return a hash of what a score depends on beside the code: interpreter, packages, platform, device, driver."""
    packages = []
    for name in ("torch", "numpy", "scikit-learn", "scipy"):
        try:
            packages.append(f"{name}={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    parts = (sys.version, platform.platform(), device, driver, *packages)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

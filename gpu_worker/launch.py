"""What a trial is given: its files, its folder, its environment; of the worker's own environment only a few names.

Laid out anew for every process: editable files as proposed, everything else as it was when the arena opened, read-only.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from gpu_worker.machine import Slot
from gpu_worker.sandbox.contain import Policy
from mesh.events import RunRequested
from mesh.spec import ArenaSpec

PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")


class Launch(msgspec.Struct, frozen=True):
    """What is started: a command and its whole environment, in a folder; `policy` is what holds it (None: nothing).

    `warm` asks for a fork that has imported the arena's `preload` already, where the command is a Python script.
    """

    command: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    policy: Policy | None = None
    warm: bool = False


def lay_out(folder: Path, files: Mapping[str, bytes], editable: tuple[str, ...]) -> None:
    """Write the files of a trial; protected ones can only be read.

    Raises:
        OSError: this machine cannot (disk full, no permission).
    """
    folder.mkdir(parents=True)
    for name, body in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        path.chmod(0o644 if name in editable else 0o444)


def passed_on() -> dict[str, str]:
    """Return what of the worker's own environment others may see."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


def environment(slot: Slot, run: Path, *, token: str, seed: int, data: Path) -> dict[str, str]:
    """Return the environment that trial and scorer share."""
    env = passed_on() | slot_environment(slot)
    env |= {"HOME": str(run / "tmp"), "TMPDIR": str(run / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"PYTHONNOUSERSITE": "1", "MESH_RUN_TOKEN": token}
    env |= {"MESH_SEED": str(seed), "MESH_DEVICE": slot.device, "MESH_DATA": str(data / "public")}
    return env | {"MESH_OUT": str(run / "out")}


def slot_environment(slot: Slot) -> dict[str, str]:
    """Return what numeric libraries read when they are imported: threads, so that slots do not fight, and the GPU."""
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MESH_THREADS")
    env = dict.fromkeys(threads, str(slot.threads)) | {"CUDA_VISIBLE_DEVICES": slot.cuda_index}
    if slot.cuda_index:
        env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # as nvidia-smi and NVML count
    if slot.gpu_share < 1:
        env["PYTORCH_CUDA_ALLOC_CONF"] = f"per_process_memory_fraction:{slot.gpu_share:.4f}"
    return env


def trial_launch(spec: ArenaSpec, request: RunRequested, run: Path, env: Mapping[str, str]) -> Launch:
    """Return how the trial is started."""
    own = {"MESH_BUDGET_S": f"{request.budget_s:g}", "MESH_REPORT": str(run / "report.jsonl")}
    return Launch(_program(spec.trial.command), {**env, **own}, str(run / "trial"))


def evaluation_launch(spec: ArenaSpec, request: RunRequested, run: Path, env: Mapping[str, str]) -> Launch:
    """Return how an evaluator that runs the program itself is started, in the trial's place."""
    own = {"MESH_BUDGET_S": f"{request.budget_s:g}", "MESH_REPORT": str(run / "report.jsonl")}
    program, results = str(run / "trial" / spec.artifact.editable[0]), str(run / "out" / "results")
    [runner_file], command = runner(spec), _program(spec.score.command)
    if spec.score.how == "shinka":
        words = (results, *command, "--program_path", program, "--results_dir", results)
        return Launch((sys.executable, "-I", runner_file, *words), {**env, **own}, str(run / "trial"))
    words = (command[1], program, *map(str, spec.score.cascade))
    return Launch((command[0], "-I", runner_file, *words), {**env, **own}, str(run / "trial"))


def runner(spec: ArenaSpec) -> dict[str, bytes]:
    """Return the file, where there is one, that runs this arena's evaluator: laid out with the task, no part of it."""
    if spec.trial.command:
        return {}
    name = f"{spec.score.how}.py"
    return {f".mesh/{name}": (Path(__file__).parent / "runners" / name).read_bytes()}


def score_launch(spec: ArenaSpec, run: Path, env: Mapping[str, str], data: Path) -> Launch:
    """Return how the scorer is started: in folders of its own, with the private data that no trial is told of."""
    home = str(run / "score-tmp")
    own = {"HOME": home, "TMPDIR": home, "MESH_PRIVATE": str(data / "private")}
    own |= {"MESH_PREDICTOR": "3,4"} if spec.score.predict else {}
    return Launch(_program(spec.score.command), {**env, **own}, str(run / "score"))


def predict_launch(spec: ArenaSpec, run: Path, env: Mapping[str, str]) -> Launch | None:
    """Return how what answers the scorer is started: the proposal's code again, with no more than a trial has."""
    if not spec.score.predict:
        return None
    home = str(run / "tmp")
    return Launch(_program(spec.score.predict), {**env, "HOME": home, "TMPDIR": home}, str(run / "score"))


def _program(command: tuple[str, ...]) -> tuple[str, ...]:
    return (sys.executable, *command[1:]) if command[0] == "python" else command

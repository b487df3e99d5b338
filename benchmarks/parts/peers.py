"""`python -m benchmarks.parts.peers fork|process|optuna|evaluation`: one empty trial of a peer for each line of input.

It prints the milliseconds of each. `ray N` runs N trials and prints the figures as JSON, because a tuner cannot be
asked for one at a time. Every peer runs one trial at a time in a new process that imports torch. Its start and a first
trial, which warms up, are not counted. It keeps its study in memory, without a log or a database. `fork` is the raw
limit.
"""

import atexit
import gc
import logging
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.parts.evaluation_task import task
from benchmarks.parts.harness import Figures

IMPORT = (sys.executable, "-c", "import torch")


def optuna() -> Callable[[], object]:
    """Return a trial of a study whose objective runs a process."""
    import optuna as peer

    def objective(trial: peer.Trial) -> float:
        trial.suggest_float("x", 0, 1)
        subprocess.run(IMPORT, check=True)
        return 1.0

    peer.logging.set_verbosity(peer.logging.ERROR)
    study = peer.create_study()
    return lambda: study.optimize(objective, n_trials=1)


def process() -> Callable[[], object]:
    """Return a fresh process that imports torch."""
    return lambda: subprocess.run(IMPORT, check=True)


def ray(count: int) -> Figures:
    """Return trials per second of a tuner, from the end of its first trial to the end of its last."""
    os.environ |= {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0"}
    import ray as peer
    from ray import tune

    def trainable(config: dict[str, float]) -> None:
        import torch  # noqa: F401

        tune.report({"loss": 1.0})

    ends: list[float] = []

    class Ends(tune.Callback):  # type: ignore[misc]
        def on_trial_complete(self, *_: object, **__: object) -> None:
            ends.append(time.perf_counter())

    peer.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        tune.Tuner(
            trainable,
            param_space={"x": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(num_samples=count + 1, max_concurrent_trials=1, reuse_actors=False),
            run_config=tune.RunConfig(verbose=0, callbacks=[Ends()]),
        ).fit()
    finally:
        peer.shutdown()
    assert len(ends) == count + 1, "a trial of Ray Tune failed"
    return {"per_s": count / (ends[-1] - ends[0])}


def fork() -> Callable[[], object]:
    """Return a fork of this process, which has torch, and the wait for its end."""
    import torch  # noqa: F401

    gc.collect()
    gc.freeze()

    def once() -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)

    return once


def evaluation() -> Callable[[], object]:
    """Return a fork of this small process that imports an evaluator, has it evaluate a program and ends."""
    folder = Path(tempfile.mkdtemp(prefix="mesh-bench-"))
    atexit.register(shutil.rmtree, folder)
    for name, text in task(0).items():
        (folder / name).write_text(text)

    def once() -> None:
        pid = os.fork()
        if pid == 0:
            evaluate = runpy.run_path(str(folder / "evaluator.py"))["evaluate"]
            (folder / "score").write_text(str(evaluate(str(folder / "initial_program.py"))))
            os._exit(0)
        os.waitpid(pid, 0)

    return once


def step_by_step(deed: Callable[[], object]) -> None:
    """Do it once for each line of input, and print how many milliseconds that took."""
    for _ in sys.stdin:
        began = time.perf_counter()
        deed()
        print((time.perf_counter() - began) * 1000, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "ray":
        print(msgspec.json.encode(ray(int(sys.argv[2]))).decode())
    else:
        step_by_step({"fork": fork, "process": process, "optuna": optuna, "evaluation": evaluation}[sys.argv[1]]())

"""Stand in for the package `shinka`, where it is not installed, and run an evaluation that imports it.

    python shinka_standin.py EVALUATE.PY [OPTION ...]

It has what the evaluations of tasks use: `shinka.core.run_shinka_eval`, which calls the program and writes
`correct.json` and `metrics.json`, and `save_json_results`. It does not plot and does not stop early: every run counts.
Whatever else of the package a task imports must be installed. Standard library alone.
"""

import importlib.util
import json
import math
import multiprocessing
import os
import runpy
import statistics
import sys
import time
import traceback
import types
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

FAILED: dict[str, Any] = {
    "combined_score": 0.0,
    "execution_time_mean": 0.0,
    "execution_time_std": 0.0,
    "num_successful_runs": 0,
    "num_valid_runs": 0,
    "num_invalid_runs": 0,
    "all_validation_errors": [],
}
"""The metrics of a program that raises."""


def run_script(script: str, options: list[str]) -> None:
    """Run an evaluation as `python SCRIPT OPTION ...` would, and end this process whatever threads of it still run."""
    path = os.path.abspath(script)
    sys.path.insert(0, os.path.dirname(path))
    sys.argv = [script, *options]
    if not importlib.util.find_spec("shinka"):
        provide()
    code = 0
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)  # noqa: T201
    except BaseException:
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # a program may have closed it
            continue
    os._exit(code & 0xFF)


def provide() -> None:
    """Make `shinka`, `shinka.core` and `shinka.core.wrap_eval` importable."""
    names = ("shinka", "shinka.core", "shinka.core.wrap_eval")
    package, core, wrap = (types.ModuleType(name) for name in names)
    for module in (package, core):
        module.__path__ = []
    package.core, core.wrap_eval = core, wrap  # type: ignore[attr-defined]
    for module in (core, wrap):
        vars(module).update(run_shinka_eval=run_shinka_eval, save_json_results=save_json_results)
    wrap.load_program = load_program  # type: ignore[attr-defined]
    sys.modules |= dict(zip(names, (package, core, wrap), strict=True))


def load_program(program_path: str) -> Any:
    """Return the program as a module."""
    spec = importlib.util.spec_from_file_location("program", program_path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{program_path} is not a Python program")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def save_json_results(results_dir: str, metrics: dict[str, Any], correct: bool, error: str | None = None) -> None:
    """Write `correct.json` and `metrics.json`."""
    os.makedirs(results_dir, exist_ok=True)
    for name, value in (("correct.json", {"correct": correct, "error": error}), ("metrics.json", metrics)):
        with open(os.path.join(results_dir, name), "w") as file:
            json.dump(value, file, indent=4, default=_plain)


def run_shinka_eval(
    program_path: str,
    results_dir: str,
    experiment_fn_name: str,
    num_runs: int,
    get_experiment_kwargs: Callable[[int], dict[str, Any]] | None = None,
    aggregate_metrics_fn: Callable[[list[Any]], dict[str, Any]] | None = None,
    validate_fn: Callable[[Any], Any] | None = None,
    plotting_fn: Callable[[Any], Any] | None = None,
    default_metrics_on_error: dict[str, Any] | None = None,
    run_workers: int = 1,
    max_workers_cap: int | None = None,
    **_: Any,
) -> tuple[dict[str, Any], bool, str | None]:
    """Call the program's function so many times, validate each result, sum them up and write the two files.

    Args:
        program_path: the program.
        results_dir: where the files are written.
        experiment_fn_name: the function of the program that is called.
        num_runs: how many times.
        get_experiment_kwargs: keyword arguments of each call by its number from 0; else a `seed` from 1.
        aggregate_metrics_fn: from all results to the metrics.
        validate_fn: from a result to whether it is valid, and why not.
        plotting_fn: not used.
        default_metrics_on_error: metrics where the program raises.
        run_workers: processes that call the program.
        max_workers_cap: the most of them.

    Returns:
        The metrics, whether all results are valid, and the first error.
    """
    workers = max(1, min(run_workers, num_runs, max_workers_cap or run_workers))
    errors: list[str] = []
    invalid, first = 0, None
    results: list[Any] = []
    try:
        calls = [get_experiment_kwargs(i) if get_experiment_kwargs else {"seed": i + 1} for i in range(num_runs)]
        timed = _call_all(program_path, experiment_fn_name, calls, workers)
        results = [result for result, _ in timed]
        for result in results if validate_fn else ():
            assert validate_fn is not None
            is_valid, why = validate_fn(result)
            if not is_valid:
                invalid += 1
                first = first or (f"Validation failed: {why}" if why else None)
                errors += [why] if why and why not in errors else []
        metrics: dict[str, Any]
        metrics = aggregate_metrics_fn(results) if aggregate_metrics_fn else {"num_successful_runs": len(results)}
        seconds = [spent for _, spent in timed]
        metrics["execution_time_mean"] = statistics.fmean(seconds) if seconds else 0.0
        metrics["execution_time_std"] = statistics.pstdev(seconds) if seconds else 0.0
        if validate_fn:
            metrics |= {"num_valid_runs": len(results) - invalid, "num_invalid_runs": invalid}
            metrics["all_validation_errors"] = errors
        correct = not invalid
        if "combined_score" in metrics and not math.isfinite(float(metrics["combined_score"])):
            correct, first = False, first or f"combined_score is {float(metrics['combined_score'])}"
    except Exception as error:
        traceback.print_exc()
        given = default_metrics_on_error or {}
        metrics = {name: given.get(name, value) for name, value in FAILED.items()}
        metrics |= {"num_invalid_runs": len(results), "all_validation_errors": [str(error)]} if validate_fn else {}
        correct, first = False, str(error) or type(error).__name__
    metrics.pop("extra_data", None)
    save_json_results(results_dir, metrics, correct, first)
    return metrics, correct, first


def _call_all(program: str, function: str, calls: list[dict[str, Any]], workers: int) -> list[tuple[Any, float]]:
    """Return the result of each call and its seconds, in order."""
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
            return [one.result() for one in [pool.submit(_call_fresh, program, function, call) for call in calls]]
    experiment = _function_of(load_program(program), function, program)
    return [_call(experiment, call) for call in calls]


def _call_fresh(program: str, function: str, call: dict[str, Any]) -> tuple[Any, float]:
    return _call(_function_of(load_program(program), function, program), call)


def _call(experiment: Callable[..., Any], call: dict[str, Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    result = experiment(**call)
    return result, time.perf_counter() - began


def _function_of(module: Any, name: str, program: str) -> Callable[..., Any]:
    if not hasattr(module, name):
        raise AttributeError(f"the function {name!r} is missing in {os.path.basename(program)}")
    found: Callable[..., Any] = getattr(module, name)
    return found


def _plain(value: Any) -> Any:
    """Return a value that JSON has for a number or an array of another package."""
    return value.tolist() if hasattr(value, "tolist") else float(value)


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
    run_script(sys.argv[1], sys.argv[2:])

"""Run an OpenEvolve evaluator on one program and print one JSON object: `{"metrics": {...}}` or `{"error": "..."}`.

    python -I openevolve.py EVALUATOR PROGRAM [THRESHOLD ...]

With thresholds, the stages of the evaluator's cascade are run where it has them; `stages` says what each gave. A stage
below its threshold ends the evaluation, if another one would follow: `missed` is that threshold. What evaluator and
program print goes to stderr. Both run in this process, so a dishonest program can report any number. Unlike OpenEvolve,
which keeps the score of the stage before, a stage that raises or is not reached gives no score. Standard library alone.
"""

import importlib.util
import json
import math
import numbers
import os
import sys
import time
import types
from collections.abc import Callable
from typing import Any

_SHOWN = 1000


def main() -> None:
    """Run the evaluator and print its result."""
    evaluator, program, *thresholds = sys.argv[1:]
    stdout = os.dup(1)
    os.dup2(2, 1)
    answer: dict[str, object]
    try:
        answer = judged(load_evaluator(evaluator), program, [float(word) for word in thresholds])
    except (Exception, SystemExit) as error:
        answer = {"error": f"{type(error).__name__}: {error}" if str(error) else type(error).__name__}
    sys.stdout.flush()
    os.write(stdout, json.dumps(answer).encode() + b"\n")


def load_evaluator(evaluator: str) -> types.ModuleType:
    """Import the evaluator; modules beside it are found first."""
    path = os.path.abspath(evaluator)
    sys.path.insert(0, os.path.dirname(path))
    sys.argv = [path]
    provide_result()
    spec = importlib.util.spec_from_file_location("evaluation_module", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["evaluation_module"] = module
    spec.loader.exec_module(module)
    return module


def provide_result() -> None:
    """Give evaluators the one class that they import of OpenEvolve, where it is not installed."""
    if importlib.util.find_spec("openevolve"):
        return

    class EvaluationResult:
        def __init__(self, metrics: dict[str, Any], artifacts: dict[str, Any] | None = None) -> None:
            self.metrics, self.artifacts = metrics, artifacts or {}

    package, module = types.ModuleType("openevolve"), types.ModuleType("openevolve.evaluation_result")
    package.__path__ = []
    package.evaluation_result = module  # type: ignore[attr-defined]
    module.EvaluationResult = EvaluationResult  # type: ignore[attr-defined]
    sys.modules |= {"openevolve": package, "openevolve.evaluation_result": module}


def judged(module: types.ModuleType, program: str, thresholds: list[float]) -> dict[str, object]:
    """Return the answer: the metrics of the program, `combined_score` among them, and the stages that ran.

    None is a number that is not finite.
    """
    stages: list[Callable[[str], object]] = []
    if thresholds:
        names = (f"evaluate_stage{number}" for number in range(1, len(thresholds) + 2))
        for stage in (getattr(module, name, None) for name in names):
            if stage is None:
                break
            stages.append(stage)
    if not stages:
        return {"metrics": summed(metrics_of(module.evaluate(program)))}
    found: dict[str, float] = {}
    ran: list[dict[str, object]] = []
    for place, stage in enumerate(stages):
        began = time.monotonic()
        found |= metrics_of(stage(program))
        found["cascade_stage"] = place + 1.0
        value = combined(found)
        seconds = round(time.monotonic() - began, 3)
        ran.append({"stage": f"stage{place + 1}", "value": finite(value), "trial_s": seconds})
        left = len(stages) - place - 1
        if left and value < thresholds[place]:
            return {"metrics": summed(found), "stages": ran, "missed": thresholds[place], "left": left}
        if math.isnan(value):
            break
    return {"metrics": summed(found), "stages": ran}


def metrics_of(result: object) -> dict[str, float]:
    """Return the numbers in the evaluator's result; its artifacts go to the log.

    Raises:
        ValueError: it has no number.
    """
    metrics: Any = getattr(result, "metrics", result)
    if isinstance(metrics, dict) and isinstance(metrics.get("metrics"), dict):
        metrics = metrics["metrics"]  # a dict in the shape of OpenEvolve's class
    if not isinstance(metrics, dict):
        raise ValueError(f"the evaluator returned {type(result).__name__}; it must return a dict of metrics")
    for name, value in (getattr(result, "artifacts", None) or {}).items():
        print(f"{name}: {str(value)[:_SHOWN]}", file=sys.stderr)  # noqa: T201
    found = {
        str(name): float(value)
        for name, value in metrics.items()
        if name != "error" and isinstance(value, numbers.Real) and not isinstance(value, bool)
    }
    if not found:
        raise ValueError(f"the evaluator gave no number: {str(metrics.get('error', metrics))[:_SHOWN]}")
    return found


def combined(metrics: dict[str, float]) -> float:
    """Return the number that OpenEvolve ranks by: `combined_score`, else the mean of all numeric metrics."""
    if "combined_score" in metrics:
        return metrics["combined_score"]
    known = [v for name, v in metrics.items() if not math.isnan(v) and name != "cascade_stage"]
    return sum(known) / len(known) if known else math.nan


def summed(metrics: dict[str, float]) -> dict[str, float | None]:
    """Return the metrics with `combined_score`; None for numbers that JSON does not have."""
    whole = {**metrics, "combined_score": combined(metrics)}
    return {name: finite(value) for name, value in whole.items()}


def finite(value: float) -> float | None:
    """Return a number that JSON has, None for others."""
    return value if math.isfinite(value) else None


if __name__ == "__main__":
    main()

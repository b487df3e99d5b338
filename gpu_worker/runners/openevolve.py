"""Run an OpenEvolve evaluator on one program and print one JSON object: `{"metrics": {...}}` or `{"error": "..."}`.

    python openevolve.py EVALUATOR PROGRAM [THRESHOLD ...] [--features=A,B] [--evaluator-args=JSON]

With thresholds, the stages of the evaluator's cascade are run where it has them; `stages` says what each gave. A stage
below its threshold ends the evaluation, if another one would follow: `missed` is that threshold. What evaluator and
program print goes to stderr. Both run in this process, so a dishonest program can report any number. Unlike OpenEvolve,
which keeps the score of the stage before, a stage that raises or is not reached gives no score. When the evaluator has
returned, its threads and processes do not count any more: this process ends. Standard library alone.
"""

import importlib.util
import inspect
import json
import math
import numbers
import os
import sys
import time
import types
from collections.abc import Callable, Mapping
from typing import Any

_SHOWN = 1000
_STAGES = 3  # that OpenEvolve knows


def main() -> None:
    """Run the evaluator and print its result."""
    forget_folder(__file__)
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    options = dict(word.partition("=")[::2] for word in sys.argv[1:] if word.startswith("--"))
    evaluator, program, *thresholds = words
    stdout = os.dup(1)
    os.dup2(2, 1)
    answer: dict[str, object]
    try:
        arguments = json.loads(options.get("--evaluator-args") or "{}")
        features = options.get("--features", "").split(",")
        answer = judged(load_evaluator(evaluator), program, [float(word) for word in thresholds], arguments, features)
    except (Exception, SystemExit) as error:
        answer = {"error": f"{type(error).__name__}: {error}" if str(error) else type(error).__name__}
    end_with(stdout, answer)


def forget_folder(file: str) -> None:
    """Take the folder of our runners off the search path: `openevolve` is a package of that name, not this file."""
    here = os.path.dirname(os.path.abspath(file))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]


def end_with(stdout: int, answer: Mapping[str, object]) -> None:
    """Write the answer and end this process, whatever threads of it still run."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # a program may have closed it
            continue
    rest = json.dumps(answer).encode() + b"\n"
    while rest:
        rest = rest[os.write(stdout, rest) :]
    os._exit(0)


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

        @classmethod
        def from_dict(cls, metrics: dict[str, Any]) -> "EvaluationResult":
            return cls(metrics)

        def to_dict(self) -> dict[str, Any]:
            return self.metrics

        def has_artifacts(self) -> bool:
            return bool(self.artifacts)

    package, module = types.ModuleType("openevolve"), types.ModuleType("openevolve.evaluation_result")
    package.__path__ = []
    package.evaluation_result = module  # type: ignore[attr-defined]
    module.EvaluationResult = EvaluationResult  # type: ignore[attr-defined]
    sys.modules |= {"openevolve": package, "openevolve.evaluation_result": module}


def judged(
    module: types.ModuleType,
    program: str,
    thresholds: list[float],
    options: Mapping[str, Any] | None = None,
    features: list[str] | None = None,
) -> dict[str, object]:
    """Return the answer: the metrics of the program, `combined_score` among them, and the stages that ran.

    None is a number that is not finite. `options` are keyword arguments of `evaluate`, where it takes them. `features`
    are metrics that describe a program and do not count in the mean.
    """
    apart = features or []
    stages: list[Callable[..., object]] = []
    if thresholds:
        names = (f"evaluate_stage{number}" for number in range(1, min(len(thresholds) + 1, _STAGES) + 1))
        for stage in (getattr(module, name, None) for name in names):
            if stage is None:
                break
            stages.append(stage)
    if not stages:
        return {"metrics": summed(metrics_of(called(module.evaluate, program, options)), apart)}
    found: dict[str, float] = {}
    ran: list[dict[str, object]] = []
    for place, stage in enumerate(stages):
        began = time.monotonic()
        found |= metrics_of(called(stage, program, options))
        found["cascade_stage"] = place + 1.0
        value = combined(found, apart)
        seconds = round(time.monotonic() - began, 3)
        ran.append({"stage": f"stage{place + 1}", "value": finite(value), "trial_s": seconds})
        left = len(stages) - place - 1
        if left and value < thresholds[place]:
            return {"metrics": summed(found, apart), "stages": ran, "missed": thresholds[place], "left": left}
        if math.isnan(value):
            break
    return {"metrics": summed(found, apart), "stages": ran}


def called(evaluate: Callable[..., object], program: str, options: Mapping[str, Any] | None = None) -> object:
    """Return what an evaluator returns, which may be a coroutine; `options` that it does not take are left out."""
    taken = {}
    if options:
        wanted = inspect.signature(evaluate).parameters.values()
        every = any(one.kind is one.VAR_KEYWORD for one in wanted)
        names = {one.name for one in wanted}
        taken = {name: value for name, value in options.items() if every or name in names}
    result = evaluate(program, **taken)
    if inspect.iscoroutine(result):
        import asyncio

        return asyncio.run(result)
    return result


def metrics_of(result: object) -> dict[str, float]:
    """Return the numbers in the evaluator's result; its artifacts go to the log.

    Raises:
        ValueError: it has no number, its `combined_score` is none, or it says why it scores 0.
    """
    metrics: Any = getattr(result, "metrics", result)
    artifacts: Any = getattr(result, "artifacts", None)
    if isinstance(metrics, dict) and isinstance(metrics.get("metrics"), dict) and "combined_score" not in metrics:
        artifacts = artifacts or metrics.get("artifacts")
        metrics = metrics["metrics"]  # a dict in the shape of OpenEvolve's class
    if not isinstance(metrics, dict):
        raise ValueError(f"the evaluator returned {type(result).__name__}; it must return a dict of metrics")
    artifacts = artifacts if isinstance(artifacts, dict) else {}
    for name, value in artifacts.items():
        print(f"{name}: {str(value)[:_SHOWN]}", file=sys.stderr)  # noqa: T201
    found = {
        str(name): float(value)
        for name, value in metrics.items()
        if isinstance(value, numbers.Real) and not isinstance(value, bool)
    }
    if "combined_score" in metrics:
        found["combined_score"] = number(metrics["combined_score"])
    value = combined(found, []) if found else 0.0
    if (value == 0 or not math.isfinite(value)) and (why := _reason_in(metrics) or _reason_in(artifacts)):
        raise ValueError(f"the evaluator says: {why}")
    if not found.keys() - {"error"}:
        raise ValueError(f"the evaluator gave no number: {str(metrics.get('error', metrics))[:_SHOWN]}")
    return found


def number(value: Any) -> float:
    """Return `combined_score` as OpenEvolve takes it: text, arrays of one number and fractions are numbers.

    Raises:
        ValueError: it is not a number.
    """
    try:
        return float(value.strip() if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        shown = f"{type(value).__name__} {str(value)[:100]!r}"
        raise ValueError(f"combined_score is not a number: the evaluator returned {shown}") from None


def _reason_in(words: Mapping[Any, Any]) -> str:
    """Return why a program failed, as its evaluator says in one of the usual keys; "" if it says nothing."""
    texts = (words.get(key) for key in ("error", "error_message", "error_msg"))
    return next((" ".join(str(text).split())[:_SHOWN] for text in texts if isinstance(text, str) and text.strip()), "")


def combined(metrics: Mapping[str, float], features: list[str]) -> float:
    """Return the number that OpenEvolve ranks by: `combined_score`, else the mean of the numbers without `features`."""
    if "combined_score" in metrics:
        return metrics["combined_score"]
    apart = {"cascade_stage", "error", *features}
    known = [value for name, value in metrics.items() if not math.isnan(value) and name not in apart]
    return sum(known) / len(known) if known else math.nan


def summed(metrics: Mapping[str, float], features: list[str]) -> dict[str, float | None]:
    """Return the metrics with `combined_score`; None for numbers that JSON does not have."""
    whole = {**metrics, "combined_score": combined(metrics, features)}
    return {name: finite(value) for name, value in whole.items()}


def finite(value: float) -> float | None:
    """Return a number that JSON has, None for others."""
    return value if math.isfinite(value) else None


if __name__ == "__main__":
    main()

"""From how processes ended to an outcome: pure, one good sentence for every failure."""

import math
import re
import signal

import msgspec

from gpu_worker.supervisor.protocol import Ending
from mesh.events import Failed, Scored
from mesh.spec import ArenaSpec, ObjectiveSpec

_Numbers = dict[str, float | None]


class _Said(msgspec.Struct, frozen=True):
    """The one line of a runner."""

    metrics: _Numbers = {}
    error: str = ""


MAX_METRICS, MAX_NAME = 64, 100
"""What a score program may say beside the metric: so many numbers, with names so long; the rest is dropped."""

_MEMORY = re.compile(r"MemoryError|OutOfMemoryError|out of memory|Cannot allocate memory|std::bad_alloc", re.IGNORECASE)


def trial_failure(spec: ArenaSpec, end: Ending, deadline_s: float) -> Failed | None:
    """Return why a trial, or the evaluation in its place, failed; None where it ended well."""
    what = "the trial" if spec.trial.command else "the evaluation"
    trial = spec.trial
    match end.why:
        case "deadline":
            text = f"{what} exceeded its {deadline_s:g} s deadline (killed at {end.seconds:.1f} s)"
            return Failed(reason="timeout", message=text)
        case "memory":
            text = f"{what} wanted more than its {trial.memory_gb:g} GB (killed at {end.peak_memory_mb:,.0f} MB)"
            return Failed(reason="out_of_memory", message=text)
        case "output":
            return Failed(reason="crash", message=f"{what} printed more than 64 MB and was killed")
        case "disk":
            return Failed(reason="crash", message=f"{what} wrote more than its {trial.disk_gb:g} GB or 100,000 files")
        case "processes":
            return Failed(reason="crash", message=f"{what} had more than 512 processes at a time")
        case "killed":
            return Failed(reason="killed", message=f"the run was stopped after {end.seconds:.1f} s")
        case "start":
            return Failed(reason="crash", message=f"{what} could not be started: {end.err}")
    if end.rc == 0:
        return None
    if _MEMORY.search(end.err[-4000:]):
        return Failed(reason="out_of_memory", message=f"{what} ran out of memory: {_last(end.err)}")
    return Failed(reason="crash", message=f"{what} {_how(end.rc)}: {_last(end.err)}")


def command_outcome(spec: ArenaSpec, end: Ending) -> Scored | Failed:
    """Return the outcome out of what the arena's score program printed."""
    if end.why == "deadline":
        text = f"scoring exceeded its {spec.score.deadline_s:g} s deadline (killed at {end.seconds:.1f} s)"
        return Failed(reason="no_score", message=text)
    if end.why or end.rc != 0:
        how = end.why or _how(end.rc)
        return Failed(reason="no_score", message=f"scoring failed ({how}): {_last(end.err)}")
    lines = end.out.strip().splitlines()
    try:
        found = msgspec.json.decode(lines[-1] if lines else "", type=_Numbers)
    except msgspec.MsgspecError:
        last = lines[-1][:200] if lines else "nothing"
        if re.search(r"\b(NaN|-?Infinity)\b", last):
            return Failed(reason="bad_score", message=f"the score program printed a number that is not finite: {last}")
        return Failed(reason="no_score", message=f"the score program's last line is no JSON object of numbers: {last}")
    return _measured(spec, found, self_reported=False)


def evaluator_outcome(spec: ArenaSpec, end: Ending) -> Scored | Failed:
    """Return the outcome out of what our runner of another system's evaluator printed (`gpu_worker/runners`)."""
    lines = end.out.strip().splitlines()
    try:
        said = msgspec.json.decode(lines[-1] if lines else "", type=_Said)
    except msgspec.MsgspecError:
        return Failed(reason="no_score", message=f"the evaluation ended without a result: {_last(end.err)}")
    if said.error:
        return Failed(reason="no_score", message=said.error.replace("\n", " ")[:1000])
    return _measured(spec, said.metrics, self_reported=True)


def _measured(spec: ArenaSpec, found: _Numbers, *, self_reported: bool) -> Scored | Failed:
    metrics = {name: value for name, value in found.items() if value is not None and math.isfinite(value)}
    if spec.objective.metric in found and spec.objective.metric not in metrics:
        return Failed(reason="bad_score", message=f"{spec.objective.metric} is not a finite number")
    if spec.objective.metric not in metrics:
        named = ", ".join(sorted(metrics)) or "nothing"
        who = "the evaluator" if self_reported else "the score program"
        text = f"{who} never produced the metric {spec.objective.metric!r}; it gave {named}"
        return Failed(reason="no_score", message=text)
    kept = dict([item for item in metrics.items() if len(item[0]) <= MAX_NAME][:MAX_METRICS])
    return _bounded(spec.objective, metrics[spec.objective.metric], kept, self_reported=self_reported)


def stdout_outcome(spec: ArenaSpec, end: Ending) -> Scored | Failed:
    """Return the outcome out of what the trial itself printed; the last match of the pattern counts."""
    matches = re.findall(spec.score.pattern, end.out, re.MULTILINE)
    if not matches:
        return Failed(reason="no_score", message=f"nothing that the trial printed matches {spec.score.pattern!r}")
    try:
        value = float(matches[-1])
    except ValueError:
        return Failed(reason="no_score", message=f"{matches[-1][:100]!r} in the trial's output is not a number")
    return _bounded(spec.objective, value, {spec.objective.metric: value}, self_reported=True)


def _bounded(
    objective: ObjectiveSpec, value: float, metrics: dict[str, float], *, self_reported: bool
) -> Scored | Failed:
    if not math.isfinite(value):
        return Failed(reason="bad_score", message=f"{objective.metric} is {value}, not a finite number")
    if objective.bounds and not objective.bounds[0] <= value <= objective.bounds[1]:
        low, high = objective.bounds
        return Failed(reason="bad_score", message=f"{objective.metric} is {value:g}, outside [{low:g}, {high:g}]")
    return Scored(value=value, metrics=metrics, self_reported=self_reported)


def _how(rc: int | None) -> str:
    if rc is not None and rc < 0:
        known = -rc in set(signal.Signals)
        return f"was ended by {signal.Signals(-rc).name if known else f'signal {-rc}'}"
    return f"ended with exit code {rc}"


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "it said nothing"

"""From how the processes of a run ended to its outcome. Pure; every failure is one sentence."""

import re
import signal
from collections.abc import Mapping, Sequence

import msgspec

from gpu_worker.budget import TIMES, TrialBudget
from gpu_worker.gpu_gauge import Reading
from gpu_worker.limits import MAX_FILES, MAX_OUTPUT_MB, THREADS_PER_PROCESS
from gpu_worker.stages import stopped
from gpu_worker.supervisor.protocol import Ending, Limits
from mesh.bounds import MAX_NUMBER, Number
from mesh.constraints import constraints_of
from mesh.decoding import decode_json
from mesh.events import Failed, Infeasible, Scored, StageEnds
from mesh.file_trees import MAX_DEPTH
from mesh.labelled_numbers import label_name, labelled_numbers, missing_metric
from mesh.spec import ArenaSpec, ObjectiveSpec
from mesh.stages import StageSpec

MAX_METRICS, MAX_NAME = 64, 100
"""Metrics beside the objective that are kept, and how long their names may be; the rest is dropped."""

_MEMORY = re.compile(r"MemoryError|OutOfMemoryError|out of memory|Cannot allocate memory|std::bad_alloc", re.IGNORECASE)
_CONNECTS = re.compile(
    r"Connection ?Error|Connection refused|ECONNREFUSED|Network is unreachable|ENETUNREACH|Name or service not known|"
    r"name resolution|getaddrinfo|ENOTFOUND|Could not resolve host|Max retries exceeded|URLError",
    re.IGNORECASE,
)
_NO_NETWORK = (
    "; trials have no network: where it asks a model, score with [judge] (docs/howto/judges.md); where it loads data, "
    "load it in artifact.prepare"
)
_Numbers = dict[str, float | None]
_OF_SCORING = ("no_score", "bad_score", "crash", "screened_out", "infeasible")

_EXCEPTION = re.compile(r"[\w.]*[A-Z]\w*(?:: |$)")
"""How the line of a traceback begins that names the exception; those of CUDA go on with four lines of advice."""
_ERROR_LINE = re.compile(r"^\s*(?:\w+\.)*\w*(?:Error|Exception|Interrupt): (?P<text>\S.*)$", re.MULTILINE)


class _RunnerLine(msgspec.Struct, frozen=True):
    """The line that one of our runners prints (`gpu_worker/runners`).

    `missed` is the threshold that the last of `stages` did not reach, and `left` the number of stages after it. With
    `look_in_log` the evaluation's last line on standard error says more than `error`.
    """

    metrics: _Numbers = {}
    error: str = ""
    look_in_log: bool = False
    stages: StageEnds = ()
    missed: Number | None = None
    left: int = 0


def trial_outcome(
    spec: ArenaSpec,
    end: Ending,
    limits: Limits,
    gpu: Reading,
    gpu_memory_mb: float,
    *,
    killed: bool,
    budget: TrialBudget,
    used_s: float,
) -> Scored | Failed | None:
    """Return what the trial's end decides; None where it ended well and the score program has to run.

    Args:
        spec: the arena.
        end: how the trial, or the evaluation in its place, ended.
        limits: the limits that it had.
        gpu: what the trial took of its GPU.
        gpu_memory_mb: what its slot may take.
        killed: whether the swarm has stopped the run.
        budget: its budget.
        used_s: what it used of it.
    """
    what = "the trial" if spec.trial.command else "the evaluation"
    if gpu.exceeded:
        return Failed(reason="out_of_memory", message=_used_too_much_gpu(what, gpu, gpu_memory_mb))
    if killed and end.why == "killed":
        return Failed(reason="killed", message=f"the run was stopped after {end.seconds:.1f} s")
    if end.why in ("", "killed", "budget", "deadline") and budget.exceeded_by(used_s):
        return Failed(reason="over_budget", message=budget.sentence(what, used_s))
    if failure := _trial_failure(what, end, limits, is_offline=not spec.trial.network):
        return failure
    if killed:
        return Failed(reason="killed", message=f"the run was stopped after {end.seconds:.1f} s")
    if spec.score.how == "stdout":
        return _printed_score(spec, end, self_reported=True)
    if not spec.trial.command:
        return _evaluator_score(spec, end)
    return None


def score_outcome(spec: ArenaSpec, end: Ending, limits: Limits, gpu: Reading, gpu_memory_mb: float) -> Scored | Failed:
    """Return the outcome from what the arena's score program printed; its arguments are as in `trial_outcome`."""
    if gpu.exceeded:
        return Failed(reason="no_score", message=_used_too_much_gpu("scoring", gpu, gpu_memory_mb))
    if end.why == "killed":
        return Failed(reason="killed", message="the run was stopped while it was scored")
    if end.why == "beside":
        used = f"used {end.beside_s:.1f} s of {TIMES[limits.counts]}"
        allowed = f"its budget allows {limits.beside_budget_s:g} s"
        return Failed(reason="over_budget", message=f"the code that answers the score program {used}; {allowed}")
    if end.why == "deadline" and limits.budget_s:
        waited = f"scoring waited too long: {end.seconds:.1f} s of wall time, {end.used_s:.1f} s of CPU time"
        allowed = f"its deadline of {limits.budget_s:g} s of CPU time allows {limits.deadline_s:g} s of wall time"
        return Failed(reason="no_score", message=f"{waited}; {allowed}")
    if sentence := _exceeded("scoring", end, limits):
        return Failed(reason="no_score", message=sentence)
    if end.rc != 0:
        return Failed(reason="no_score", message=f"scoring {_how(end.rc)}: {_last(end.err)}")
    if spec.score.pattern:
        return _printed_score(spec, end, self_reported=False)
    lines = end.out.strip().splitlines()
    try:
        found = decode_json(lines[-1] if lines else "", _Numbers)
    except msgspec.MsgspecError:
        last = lines[-1][:200] if lines else "nothing"
        if re.search(r"\b(NaN|-?Infinity)\b", last):
            return Failed(reason="bad_score", message=f"the score program printed a number that is not finite: {last}")
        text = f"the last line of the score program must be a JSON object of numbers; it printed {last}"
        return Failed(reason="no_score", message=text)
    return _scored(spec, found, self_reported=False)


def unanswered(outcome: Scored | Failed, trouble: str) -> Scored | Failed:
    """Return the outcome of a run whose scoring asked models: no score where one did not answer, or was not asked.

    A score program that goes on without an answer would give a bad score that says nothing about the candidate.

    Args:
        outcome: what the scoring gave.
        trouble: why it lacks an answer, "" where it has all.
    """
    if not trouble or (isinstance(outcome, Failed) and outcome.reason not in _OF_SCORING):
        return outcome
    said = f" ({outcome.message})" if isinstance(outcome, Failed) and outcome.reason != "screened_out" else ""
    return Failed(reason="no_score", message=f"{trouble}{said}"[:1000])


def changed_sentence(names: Sequence[str]) -> str:
    """Return the sentence for a trial that changed protected files in its copy of the artifact."""
    more = len(names) - 1
    rest = f" and {more} more protected {'file' if more == 1 else 'files'}" if more else ", which is protected"
    return (
        f"the trial changed {names[0]}{rest}: have it write another file, or name what it may change in artifact.writes"
    )


def _trial_failure(what: str, end: Ending, limits: Limits, *, is_offline: bool) -> Failed | None:
    if end.why == "killed":
        return Failed(reason="killed", message=f"the run was stopped after {end.seconds:.1f} s")
    if sentence := _exceeded(what, end, limits):
        reasons = {"deadline": "timeout", "memory": "out_of_memory"}
        return msgspec.convert({"reason": reasons.get(end.why, "crash"), "message": sentence}, Failed)
    if end.rc == 0:
        return None
    if _MEMORY.search(end.err[-4000:]):
        return Failed(reason="out_of_memory", message=f"{what} ran out of memory: {_last(end.err)}")
    cure = _NO_NETWORK if is_offline and _CONNECTS.search(end.err[-4000:]) else ""
    return Failed(reason="crash", message=f"{what} {_how(end.rc)}: {_last(end.err)}{cure}")


def _exceeded(what: str, end: Ending, limits: Limits) -> str:
    """Return the sentence for a command that the supervisor ended or could not start, "" where it ended by itself."""
    match end.why:
        case "deadline":
            return f"{what} exceeded its {limits.deadline_s:g} s deadline (killed at {end.seconds:.1f} s)"
        case "budget":
            used = f"used more than its {limits.budget_s:g} s of {TIMES[limits.counts]}"
            return f"{what} {used} (killed at {end.used_s:.1f} s)"
        case "memory":
            limit_gb = limits.memory_mb / 1024
            return f"{what} used more than its {limit_gb:g} GB of memory (killed at {end.peak_memory_mb:,.0f} MB)"
        case "output":
            return f"{what} printed more than {MAX_OUTPUT_MB} MB and was killed"
        case "disk":
            bounds = f"{limits.disk_mb / 1024:g} GB or {MAX_FILES:,} files, or nested folders deeper than {MAX_DEPTH}"
            return f"{what} wrote more than its {bounds}, and was killed"
        case "processes":
            threads = THREADS_PER_PROCESS * limits.processes
            return (
                f"{what} had more than {limits.processes:,} processes or {threads:,} threads at a time and was killed"
            )
        case "start" | "sandbox":
            return f"{what} could not be started: {end.err}"
        case _:
            return ""


def _printed_score(spec: ArenaSpec, end: Ending, *, self_reported: bool) -> Scored | Failed:
    """Return the outcome from what the trial itself, or the score program, printed; the last match counts.

    The other numbers with labels are kept beside it, so that constraints can limit them.
    """
    matches = re.findall(spec.score.pattern, end.out, re.MULTILINE)
    if not matches:
        return Failed(reason="no_score", message=missing_metric(spec.objective.metric, end.out, end.err))
    try:
        value = float(matches[-1])
    except ValueError:
        who = "the trial" if self_reported else "the score program"
        return Failed(reason="no_score", message=f"{who} printed {matches[-1][:100]!r} as its score, not a number")
    if not abs(value) <= MAX_NUMBER:
        return _within_bounds(spec.objective, value, {}, self_reported=self_reported)
    goal, printed = spec.objective, labelled_numbers(end.out)
    for name in (goal.metric, *goal.constraints, *goal.also):
        if label_name(name) in printed:
            printed[name] = printed.pop(label_name(name))
    return _scored(spec, {**printed, goal.metric: value}, self_reported=self_reported)


def file_outcome(spec: ArenaSpec, found: dict[str, float] | Failed) -> Scored | Failed:
    """Return the outcome from the numbers in the file that a trial wrote."""
    if isinstance(found, Failed):
        return found
    metric = spec.objective.metric
    if not abs(found[metric]) <= MAX_NUMBER:
        return _within_bounds(spec.objective, found[metric], {}, self_reported=True)
    return _scored(spec, {**found}, self_reported=True)


def _evaluator_score(spec: ArenaSpec, end: Ending) -> Scored | Failed:
    """Return the outcome from what our runner of another system's evaluator printed."""
    lines = end.out.strip().splitlines()
    try:
        line = decode_json(lines[-1] if lines else "", _RunnerLine)
    except msgspec.MsgspecError:
        return Failed(reason="no_score", message=f"the evaluation ended without a result: {_last(end.err)}")
    if line.error:
        is_last = line.look_in_log and end.err.strip()
        why = f"{_last(end.err)} ({line.error})" if is_last else line.error + _cause(end.err, line.error)
        return Failed(reason="no_score", message=" ".join(why.split())[:1000])
    last = line.stages[-1] if line.stages else None
    if line.missed is not None and last and last.value is not None:
        metrics = {name: value for name, value in line.metrics.items() if value is not None}
        found = Scored(value=last.value, metrics=_kept(metrics), self_reported=True)
        stage = StageSpec(name=last.stage, at_least=line.missed)
        return stopped(stage, "combined_score", found, left=max(0, line.left))
    return _scored(spec, line.metrics, self_reported=True)


def evaluator_stages(end: Ending) -> StageEnds:
    """Return the stages that another system's evaluator went through, as our runner printed them."""
    lines = end.out.strip().splitlines()
    try:
        return decode_json(lines[-1] if lines else "", _RunnerLine).stages
    except msgspec.MsgspecError:
        return ()


def _scored(spec: ArenaSpec, found: _Numbers, *, self_reported: bool) -> Scored | Failed:
    metric = spec.objective.metric
    metrics = {name: value for name, value in found.items() if value is not None and abs(value) <= MAX_NUMBER}
    if metric in found and metric not in metrics:
        return Failed(reason="bad_score", message=f"{metric} is not a finite number of at most {MAX_NUMBER:g}")
    if metric not in metrics:
        printed = ", ".join(sorted(metrics)) or "no number"
        program = "the evaluator" if self_reported else "the score program"
        return Failed(reason="no_score", message=f"{program} did not give the metric {metric!r}; it gave {printed}")
    goal = spec.objective
    for name in goal.constraints:
        if name not in metrics:
            what = "is not a finite number" if name in found else "is missing"
            return Failed(reason="no_score", message=f"{name} {what}, but objective.constraints limits it")
    named = {name: metrics[name] for name in (metric, *goal.constraints, *goal.also) if name in metrics}
    outcome = _within_bounds(goal, metrics[metric], _kept(named | metrics), self_reported=self_reported)
    return _feasible(goal, outcome) if isinstance(outcome, Scored) else outcome


def _kept(metrics: Mapping[str, float]) -> dict[str, float]:
    return dict([item for item in metrics.items() if len(item[0]) <= MAX_NAME][:MAX_METRICS])


def _feasible(goal: ObjectiveSpec, scored: Scored) -> Scored | Infeasible:
    """Return a score as it is, or as infeasible where its numbers violate a constraint."""
    broken = [(c, scored.metrics[c.metric]) for c in constraints_of(goal.constraints)]
    broken = [(constraint, value) for constraint, value in broken if not constraint.holds(value)]
    if not broken:
        return scored
    return Infeasible(
        message="; ".join(constraint.sentence(value) for constraint, value in broken),
        value=scored.value,
        violation=min(MAX_NUMBER, sum(constraint.violation(value) for constraint, value in broken)),
        metrics=scored.metrics,
        self_reported=scored.self_reported,
    )


def _within_bounds(
    objective: ObjectiveSpec, value: float, metrics: dict[str, float], *, self_reported: bool
) -> Scored | Failed:
    if not abs(value) <= MAX_NUMBER:
        return Failed(
            reason="bad_score",
            message=f"{objective.metric} is {value:g}, not a finite number of at most {MAX_NUMBER:g}",
        )
    if objective.bounds and not objective.bounds[0] <= value <= objective.bounds[1]:
        low, high = objective.bounds
        return Failed(reason="bad_score", message=f"{objective.metric} is {value:g}, outside [{low:g}, {high:g}]")
    return Scored(value=value, metrics=metrics, self_reported=self_reported)


def _used_too_much_gpu(what: str, gpu: Reading, gpu_memory_mb: float) -> str:
    return f"{what} used {gpu.peak_mb:,.0f} MB of GPU memory, more than its slot's {gpu_memory_mb:,.0f} MB"


def _how(rc: int | None) -> str:
    if rc is not None and rc < 0:
        known = -rc in set(signal.Signals)
        return f"was ended by {signal.Signals(-rc).name if known else f'signal {-rc}'}"
    return f"ended with exit code {rc}"


def _cause(log: str, known: str) -> str:
    """Return the first error in an evaluation's log, in brackets: what an evaluator passes on may be "exit code 1".

    "" if there is none, or if what is known says the same.
    """
    first = _ERROR_LINE.search(log)
    if first is None or first["text"].strip() in known or first["text"].strip()[:60] in known:
        return ""
    return f" (its log: {first[0].strip()[:300]})"


def _last(text: str) -> str:
    """Return what the end of a process's errors says: the last line, or all lines of an exception of several."""
    lines = [line for line in text.splitlines() if line.strip()]
    frames = [n for n, line in enumerate(lines) if line.startswith("  File ")]
    said = next((n for n in range(frames[-1], len(lines)) if _EXCEPTION.match(lines[n])), -1) if frames else -1
    return " ".join(" ".join(lines[said:]).split())[:500] if lines else "it printed no error"

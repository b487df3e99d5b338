"""The steps of a run: its stages, what each runs, and what a number that misses a threshold makes of the run. Pure.

Thresholds screen candidates of search. Proof runs the last stage alone, and stages with `proof`: a score that is there
only if a noisy stage let it pass would be too good. The baseline goes through every stage, and no threshold ends it.
"""

import math

import msgspec
from msgspec.structs import replace

from mesh.events import Failed, Lane, RunRequested, Scored, ScreenedOut
from mesh.spec import ArenaSpec
from mesh.stages import StageSpec

SEARCH: tuple[Lane, ...] = ("explore", "audit")
"""The lanes in which every stage runs."""


class RunStep(msgspec.Struct, frozen=True):
    """A trial, its scoring, or both.

    Args:
        spec: the arena, as this step runs it.
        name: the name of its stage, "" without stages.
        stage: the stage whose threshold can end the run; None where nothing can.
        relative: the number that a relative threshold of it comes to, by the request; None without one.
        left: the number of stages after it.
        budget_s: budget of its own trial, 0 for the full one.
        has_trial: whether a trial runs; else it scores the output of the last one.
    """

    spec: ArenaSpec
    name: str = ""
    stage: StageSpec | None = None
    relative: float | None = None
    left: int = 0
    budget_s: float = 0.0
    has_trial: bool = True


def steps_of(spec: ArenaSpec, request: RunRequested, base_tree: str) -> list[RunStep]:
    """Return the steps of a run: one for each stage that runs in its lane, or one for all without stages."""
    stages = spec.score.stage
    ends, searches = request.proposal != base_tree, request.lane in SEARCH
    if not stages:
        cascade = spec.score.cascade
        if not (ends and searches):  # the stages of an evaluator are parts of its score
            cascade = tuple(-math.inf for _ in cascade)
        lower = request.thresholds
        cascade = tuple(min(least, lower.get(f"stage{place}", least)) for place, least in enumerate(cascade, 1))
        spec = replace(spec, score=replace(spec.score, cascade=cascade))
        return [RunStep(spec)]
    steps: list[RunStep] = []
    has_full = False
    for place, stage in enumerate(stages):
        left = len(stages) - place - 1
        if left and not searches and not stage.proof:
            continue
        step = RunStep(
            spec=_as_run(spec, stage) if left else _as_run(spec, stage, counts=True),
            name=stage.name,
            stage=stage if ends else None,
            relative=request.thresholds.get(stage.name),
            left=left,
            budget_s=stage.budget_s,
            has_trial=bool(stage.budget_s) or not has_full,
        )
        has_full = has_full or not stage.budget_s
        steps.append(step)
    return steps


def screened(step: RunStep, outcome: Scored | Failed) -> Scored | Failed:
    """Return the outcome of a step as that of the run: a value that misses the threshold ends it."""
    if isinstance(outcome, Failed):
        if not step.name or outcome.reason == "killed":
            return outcome
        return replace(outcome, message=f"at stage {step.name}: {outcome.message}")
    if step.stage is None:
        return outcome
    return stopped(step.stage, step.spec.objective.metric, outcome, left=step.left, relative=step.relative)


def stopped(
    stage: StageSpec, metric: str, found: Scored, *, left: int, relative: float | None = None
) -> Scored | ScreenedOut:
    """Return a number of a stage as it is, or as the end of the run where it misses the stage's threshold."""
    violation = stage.missed_by(found.value, relative)
    if not violation:
        return found
    number = f" ({relative:g})" if stage.refers_to and relative is not None else ""
    return ScreenedOut(
        message=f"stopped at stage {stage.name}: {metric} is {found.value:g}, but must be {stage.threshold}{number}",
        stage=stage.name,
        value=found.value,
        violation=violation,
        left=left,
        metrics=found.metrics,
        self_reported=found.self_reported,
    )


def _as_run(spec: ArenaSpec, stage: StageSpec, *, counts: bool = False) -> ArenaSpec:
    """Return the arena as a stage runs it; only the stage that counts must print what constraints limit."""
    score = replace(
        spec.score,
        command=stage.command or spec.score.command,
        predict=() if stage.command else spec.score.predict,
        deadline_s=stage.deadline_s or spec.score.deadline_s,
    )
    goal = spec.objective
    if not counts:
        other = stage.metric not in ("", goal.metric)
        metric = stage.metric or goal.metric
        goal = replace(goal, metric=metric, bounds=None if other else goal.bounds, constraints={})
    return replace(spec, score=score, objective=goal)

"""What `mesh check` finds: the baseline's scores, and how each attack of the arena ended."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from gpu_worker.machine import survey
from gpu_worker.sandbox_choice import Wish
from mesh.arena import load_arena
from mesh.events import Failed, RunFinished, Scored, StageEnd
from mesh.foreign_folder import describe
from mesh.spec import ArenaSpec
from mesh.stages import StageSpec
from mesh.text import printable
from mesh_cli.render.columns import Column, aligned, width_of_output
from mesh_cli.setup.attacks import Attack, changed_files, holds, read_attacks
from mesh_cli.setup.check_runs import Artifact, run_artifacts
from mesh_cli.setup.time_metrics import is_rate, is_time

_BASELINE = "baseline"
_PROOF = "baseline, in proof"


class BaselineRun(msgspec.Struct, frozen=True):
    """How a run of the baseline ended."""

    seed: int
    outcome: Scored | Failed
    trial_s: float
    score_s: float
    stages: tuple[StageEnd, ...] = ()


class StageChecked(msgspec.Struct, frozen=True):
    """What the baseline got in a stage: a number per seed that reached it, and the median worker seconds.

    `threshold` is what the number must be, in words; `missed` tells for how many seeds it is not.
    """

    name: str
    metric: str
    threshold: str
    values: tuple[float, ...]
    missed: int
    seconds: float


class Tried(msgspec.Struct, frozen=True):
    """How an attack ended; `held` if it got what `expect` says."""

    name: str
    tries: str
    source: str
    expect: tuple[str, ...]
    outcome: Scored | Failed
    held: bool


class Checked(msgspec.Struct, frozen=True):
    """All that was found.

    Attributes:
        same_items: the number of items if search and proof have the same ones, else 0.
        slots: trials that this machine runs at a time.
        exclusive: whether a run has the machine for itself, as `trial.exclusive` says.
    """

    arena: str
    metric: str
    baseline: tuple[BaselineRun, ...]
    attacks: tuple[Tried, ...]
    stages: tuple[StageChecked, ...] = ()
    same_items: int = 0
    slots: int = 1
    exclusive: bool = False

    @property
    def scores(self) -> list[float]:
        """The baseline's scores."""
        return [ended.outcome.value for ended in self.baseline if isinstance(ended.outcome, Scored)]


async def check_arena(
    folder: Path,
    *,
    attacks: bool = False,
    seeds: int = 3,
    slots: int | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    sandbox: Wish = "auto",
    say: Callable[[str], object] = lambda sentence: None,
) -> Checked:
    """Run the baseline of the arena in `folder` on seeds from 1, and its attacks on seed 1.

    Raises:
        BadArena: the arena or its list of attacks cannot be used.
        HostTrouble: no worker can run it here.
    """
    describe(folder)
    spec = load_arena(folder)
    listed: tuple[Attack, ...] = read_attacks(folder) if attacks else ()
    by_items = spec.objective.noise == "items"
    artifacts = [
        Artifact(_BASELINE, {}, range(1, seeds + 1)),
        *([Artifact(_PROOF, {}, lane="confirm")] if by_items else []),
        *(Artifact(f"attack: {attack.name}", changed_files(attack, folder, spec)) for attack in listed),
    ]
    total = seeds + by_items + len(listed)
    count = 0

    def tell(name: str, event: RunFinished) -> None:
        nonlocal count
        count += 1
        say(f"{count}/{total} {printable(name)}: {outcome_words(event.outcome)}")

    ended = await run_artifacts(folder, artifacts, device=device, slots=slots, sandbox=sandbox, finished=tell)
    baseline = tuple(
        BaselineRun(seed, event.outcome, event.trial_s, event.score_s, event.stages)
        for seed, event in enumerate(ended[_BASELINE], start=1)
    )
    scores = [each.outcome.value for each in baseline if isinstance(each.outcome, Scored)]
    tried = []
    for attack in listed:
        outcome = ended[f"attack: {attack.name}"][0].outcome
        held = holds(attack.expect, outcome, spec.objective, scores)
        tried.append(Tried(attack.name, attack.tries, attack.source, attack.expect, outcome, held))
    same = _same_items(ended[_BASELINE][0], ended[_PROOF][0]) if by_items else 0
    stages = baseline_stages(spec, baseline)
    at_a_time = 1 if spec.trial.exclusive else len(survey(device, slots).slots)
    return Checked(
        spec.name, spec.objective.metric, baseline, tuple(tried), stages, same, at_a_time, spec.trial.exclusive
    )


def _same_items(search: RunFinished, proof: RunFinished) -> int:
    """Return how many items search and proof have if they are the same by name or by number, else 0."""
    ours, theirs = search.items, proof.items
    if not ours or not theirs:
        return 0
    named = ours.ids and ours.ids == theirs.ids
    return ours.count if named or (ours.sha256 == theirs.sha256 and ours.margin) else 0


def baseline_stages(spec: ArenaSpec, baseline: Sequence[BaselineRun]) -> tuple[StageChecked, ...]:
    """Return what the baseline got in each stage, in their order; no threshold ends it."""
    cascade = tuple(StageSpec(name=f"stage{n}", at_least=least) for n, least in enumerate(spec.score.cascade, 1))
    ends = [end for run in baseline for end in run.stages]
    rules = {stage.name: stage for stage in spec.score.stage or cascade}
    found = []
    for name in dict.fromkeys(end.stage for end in ends):
        rule = rules.get(name, StageSpec(name=name))
        own = [end for end in ends if end.stage == name]
        values = tuple(end.value for end in own if end.value is not None)
        is_last = name == ends[-1].stage and not spec.score.stage  # of a cascade, whose last threshold ends nothing
        relative = rule.relative_to(statistics.fmean(values)) if values and rule.refers_to else None
        missed = 0 if is_last else sum(rule.missed_by(value, relative) > 0 for value in values)
        seconds = statistics.median(end.trial_s + end.score_s for end in own)
        threshold = "" if is_last else rule.threshold
        found.append(StageChecked(name, rule.metric or spec.objective.metric, threshold, values, missed, seconds))
    return tuple(found)


def check_lines(checked: Checked) -> list[str]:
    """Return the table of a check."""
    scores = checked.scores
    seeds = f"{len(checked.baseline)} seed{'s' if len(checked.baseline) > 1 else ''}"
    if scores:
        spread = f" ± {statistics.stdev(scores):.4f}" if len(scores) > 1 else ""
        lines = [f"baseline {checked.metric} {statistics.fmean(scores):.4f}{spread} ({seeds})"]
    else:
        lines = [f"baseline {checked.metric}: no score ({seeds})"]
    if checked.exclusive:
        lines.append("runs: one at a time on a machine, on fixed cores (trial.exclusive)")
    for stage in checked.stages:
        shown = ", ".join(f"{value:g}" for value in stage.values) or "no number"
        rule = f", must be {stage.threshold}" if stage.threshold else ""
        lines.append(f"  stage {stage.name}: {printable(stage.metric)} {shown}{rule}; {stage.seconds:.1f} s")
    if not checked.attacks:
        return lines
    columns = [
        Column("attack"),
        Column("expected", rank=2),
        Column("got"),
        Column("", rank=1),
        Column("it tries", rank=3, fills=True),
    ]
    rows = [
        [
            printable(tried.name),
            " or ".join(tried.expect),
            outcome_words(tried.outcome, brief=True),
            "held" if tried.held else "GOT THROUGH",
            printable(tried.tries),
        ]
        for tried in checked.attacks
    ]
    return [*lines, "", *aligned(columns, rows, width_of_output())]


def check_warnings(checked: Checked) -> list[str]:
    """Return one sentence for everything that works, but at a price."""
    said = []
    if checked.slots > 1 and not checked.exclusive and (is_time(checked.metric) or is_rate(checked.metric)):
        said.append(
            f"{printable(checked.metric)} reads like a time, and this machine runs {checked.slots} trials at a time, "
            "which slow each other: set trial.exclusive = true"
        )
    if not checked.same_items:
        return said
    return [
        *said,
        f"search and proof have the same {checked.same_items:,} items, so every judged candidate counts as a test: "
        "after 100 candidates a gain must be so clear that luck shows it a hundred times less often; let the score "
        "program take other items for MESH_SPLIT=confirm than for search",
    ]


def check_problems(checked: Checked) -> list[str]:
    """Return one sentence for everything that is not as it should be."""
    bad = [
        f"the baseline failed on seed {ended.seed}: {outcome_words(ended.outcome)}"
        for ended in checked.baseline
        if isinstance(ended.outcome, Failed)
    ]
    bad += [
        f"the baseline misses the threshold of stage {stage.name} on {stage.missed} of {len(stage.values)} seeds: "
        f"{printable(stage.metric)} must be {stage.threshold}; no threshold ends the baseline, but candidates like it"
        for stage in checked.stages
        if stage.missed
    ]
    return bad + [
        f"attack {printable(tried.name)!r} got {outcome_words(tried.outcome)}; expected: {' or '.join(tried.expect)}"
        for tried in checked.attacks
        if not tried.held
    ]


def outcome_words(outcome: Scored | Failed, *, brief: bool = False) -> str:
    """Return an outcome in words."""
    if isinstance(outcome, Scored):
        return f"{outcome.value:.4f}"
    return outcome.reason if brief else f"{outcome.reason}: {printable(outcome.message)}"

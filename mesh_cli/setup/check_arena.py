"""What `mesh check` finds: what an arena is made of, the baseline's scores, and how each of its attacks ended."""

import os
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from gpu_worker.machine import survey
from gpu_worker.sandbox_choice import Wish
from mesh.arena import load_arena
from mesh.arena_commands import import_cure
from mesh.events import Failed, RunFinished, Scored
from mesh.foreign_folder import describe
from mesh.spec import ArenaSpec
from mesh.stages import StageSpec
from mesh.text import printable
from mesh_cli.setup.attacks import Attack, changed_files, holds, read_attacks
from mesh_cli.setup.check_facts import arena_facts
from mesh_cli.setup.check_result import BaselineRun, Checked, StageChecked, Tried
from mesh_cli.setup.check_runs import Artifact, run_artifacts
from mesh_cli.setup.check_view import outcome_words
from mesh_cli.setup.next_version import next_version_lines
from mesh_cli.setup.size_trials import SizeTrials

_BASELINE, _OTHER_SEEDS, _PROOF = "baseline", "baseline, other seeds", "baseline, in proof"


async def check_arena(
    folder: Path,
    *,
    attacks: bool = False,
    seeds: int = 2,
    slots: int | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    sandbox: Wish = "auto",
    say: Callable[[str], object] = lambda sentence: None,
) -> Checked:
    """Run the baseline of the arena in `folder` on seeds from 1, and its attacks on seed 1.

    Where its programs give themselves seeds, the baseline also runs with others in their place, as proof does. Then it
    runs with half of each knob that may be the size of the problem, if that takes less than a minute.

    Raises:
        BadArena: the arena or its list of attacks cannot be used.
        HostTrouble: no worker can run it here.
    """
    describe(folder)
    spec = load_arena(folder)
    facts = arena_facts(folder, spec)
    coming = await next_version_lines(folder, spec)
    listed: tuple[Attack, ...] = read_attacks(folder) if attacks else ()
    by_items = spec.objective.noise == "items"
    artifacts = [
        Artifact(_BASELINE, {}, range(1, seeds + 1)),
        *([Artifact(_OTHER_SEEDS, {}, range(1, seeds + 1), lane="confirm")] if facts.own_seeds else []),
        *([Artifact(_PROOF, {}, lane="confirm")] if by_items else []),
        *(Artifact(f"attack: {attack.name}", changed_files(attack, folder, spec)) for attack in listed),
    ]
    total = sum(len(artifact.seeds) for artifact in artifacts)
    count, opening_s = 0, 0.0
    load, machine = os.getloadavg()[0], survey(device, slots)
    at_a_time = 1 if spec.trial.exclusive else len(machine.slots)
    sizes = SizeTrials(folder, spec)

    def tell(name: str, event: RunFinished) -> None:
        nonlocal count
        count += 1
        say(f"{count}/{total} {printable(name)}: {outcome_words(event.outcome)}")

    def opened(seconds: float) -> None:
        nonlocal opening_s
        opening_s = seconds

    def more(so_far: dict[str, list[RunFinished]]) -> list[Artifact]:
        nonlocal total
        added = sizes.more(so_far, (_BASELINE, _PROOF), at_a_time)
        total += len(added)
        return added

    ended = await run_artifacts(
        folder, artifacts, device=device, slots=slots, sandbox=sandbox, finished=tell, opened=opened, more=more
    )
    baseline, proof = _runs(ended[_BASELINE]), _runs(ended.get(_OTHER_SEEDS, []))
    scores = [each.outcome.value for each in baseline if isinstance(each.outcome, Scored)]
    failed = [each.outcome.message for each in baseline if isinstance(each.outcome, Failed)]
    tried = []
    for attack in listed:
        outcome = ended[f"attack: {attack.name}"][0].outcome
        held = holds(attack.expect, outcome, spec.objective, scores)
        tried.append(Tried(attack.name, attack.tries, attack.source, attack.expect, outcome, held))
    return Checked(
        arena=spec.name,
        metric=spec.objective.metric,
        baseline=baseline,
        attacks=tuple(tried),
        stages=baseline_stages(spec, baseline),
        same_items=_same_items(ended[_BASELINE][0], ended[_PROOF][0]) if by_items else 0,
        slots=at_a_time,
        exclusive=spec.trial.exclusive,
        shares_cores=machine.worker_class.startswith("cpu-"),
        load=load,
        cure=import_cure(spec.environment, failed[0]) if failed else "",
        cores=os.cpu_count() or 1,
        facts=facts,
        proof=proof,
        opening_s=opening_s,
        sizes=sizes.found(ended),
        next_version=tuple(coming),
    )


def _runs(ended: Sequence[RunFinished]) -> tuple[BaselineRun, ...]:
    return tuple(
        BaselineRun(
            seed,
            event.outcome,
            event.trial_s,
            event.score_s,
            event.stages,
            event.budget_used_s,
            event.peak_memory_mb,
            event.log_tail,
        )
        for seed, event in enumerate(ended, start=1)
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

"""Sums up what samplers found: for each knob the champion's value, what was tried, and the spread of the best. Pure."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from agents.search.samplers.protocol import Trial, best_first, where
from mesh.editable_paths import editable_paths
from mesh.knobs import Knob, knobs_of
from mesh.spec import ArenaSpec


def knob_table(spec: ArenaSpec, files: Mapping[str, bytes], trials: Sequence[Trial]) -> tuple[str, str] | None:
    """Return a label and a line for each knob; None if no trial has a score.

    Args:
        spec: The arena.
        files: The files whose values are the present ones: those of the champion.
        trials: The finished trials.
    """
    ranked = best_first(trials)
    if not ranked:
        return None
    top = ranked[: math.ceil(len(ranked) / 4)]
    lines = [
        line for knob in knobs_of(files, editable_paths(spec, files), spec.knobs) for line in _tried(knob, trials, top)
    ]
    losses = sorted(trial.loss for trial in trials if trial.loss is not None and not trial.violation)
    found = [f"{spec.objective.gain(0.0, loss):.6g}" for loss in losses]  # a loss is the score, lower is better
    scores = f", best score {found[0]}, median {found[len(found) // 2]}" if found else ""
    return (f"{len(trials)} trials{scores}; best quarter {len(top)}", "\n".join(lines)) if lines else None


def _tried(knob: Knob, trials: Sequence[Trial], top: Sequence[Trial]) -> Iterator[str]:
    """Yield one line about a knob: its value now, the values tried so far, and those of the best quarter."""
    every = [trial.values[where(knob)] for trial in trials if where(knob) in trial.values]
    best = [trial.values[where(knob)] for trial in top if where(knob) in trial.values]
    if not every or not best:
        return
    name = f"{knob.file} {knob.name} is {knob.value}"
    numbers = [float(value) for value in best if isinstance(value, int | float) and not isinstance(value, bool)]
    if knob.choices or len(numbers) < len(best):
        counts = {str(value): sum(other == value for other in best) for value in best}
        yield f"{name}: tried {', '.join(sorted({str(v) for v in every}))}; best quarter " + ", ".join(
            f"{value} {count} times" for value, count in counts.items()
        )
        return
    tried = [float(value) for value in every if isinstance(value, int | float)]
    span = f"{name}: tried {min(tried):.4g} to {max(tried):.4g}"
    if knob.log and min(numbers) > 0:
        logs = [math.log(number) for number in numbers]
        middle, spread = math.exp(statistics.fmean(logs)), math.exp(statistics.pstdev(logs))
        yield f"{span}; best quarter geometric mean {middle:.4g}, sd a factor of {spread:.3g}"
    else:
        yield f"{span}; best quarter mean {statistics.fmean(numbers):.4g}, sd {statistics.pstdev(numbers):.3g}"

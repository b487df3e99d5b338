"""Tries for `mesh check` whether a knob is the size of the problem: the baseline runs with half of it, or with twice.

A program that has less to do is faster, and no better. Of knobs that look so by their names, and of other whole
numbers, a few runs show whether the score gains while a result, such as a checksum, changes. Pure but for reading.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from mesh.arena_files import read_arena
from mesh.editable_paths import editable_paths
from mesh.events import RunFinished, Scored
from mesh.knob import Knob
from mesh.knob_ranges import is_guess
from mesh.knobs import edit, knobs_of
from mesh.size_names import exact_number, is_result_name, is_size_name
from mesh.spec import ArenaSpec, ObjectiveSpec
from mesh.text import plain_number, printable
from mesh_cli.setup.check_runs import Artifact
from mesh_cli.setup.time_metrics import is_rate, is_time

_MOST, _MOST_SECONDS = 8, 60.0
_LEAST = 8
"""Smaller whole numbers are rather choices than sizes."""
_CLEAR, _PLAIN = 0.05, 0.25
"""Gains, as shares of the score, that count where a result changes with it, and where nothing else shows it."""


class SizeTried(msgspec.Struct, frozen=True):
    """What the baseline got with another value of a knob.

    Attributes:
        name: the knob's, and its file.
        file: its file.
        old: its value.
        new: the other value, 0 where it was not tried.
        score: the metric before, and then.
        results: other numbers that changed: name, before, then.
    """

    name: str
    file: str
    old: float
    new: float = 0
    score: tuple[float, float] = (0.0, 0.0)
    results: tuple[tuple[str, float, float], ...] = ()


class SizeTrials:
    """The runs that `mesh check` adds for the knobs of an arena; `more` asks for them, `found` judges them."""

    def __init__(self, folder: Path, spec: ArenaSpec) -> None:
        """Read the knobs of the arena in a folder."""
        self._goal = spec.objective
        self._files = read_arena(folder, spec).files
        names = [name for name in editable_paths(spec, self._files) if name in self._files]
        self.suspects = [knob for knob in knobs_of(self._files, names, spec.knobs) if may_be_size(knob)]
        self.suspects.sort(key=lambda knob: (not is_size_name(knob.name), knob.priority))
        self._tried: dict[str, tuple[Knob, float]] = {}
        self._base: list[Scored] = []

    def more(self, ended: Mapping[str, list[RunFinished]], baseline: Sequence[str], slots: int) -> list[Artifact]:
        """Return the runs to add: first halves, then doubles of named sizes whose half was worse.

        Args:
            ended: the runs that have ended, by artifact.
            baseline: the artifacts that are the baseline.
            slots: how many runs this machine does at a time.
        """
        runs = [run for name in baseline for run in ended.get(name, [])]
        self._base = [run.outcome for run in runs if isinstance(run.outcome, Scored)]
        if len(self._base) < len(runs) or not runs:
            return []
        if not self._tried:
            run_s = statistics.fmean(run.trial_s + run.score_s for run in runs)
            fit = min(_MOST, int(_MOST_SECONDS * slots / max(run_s, 0.01)))
            return [self._artifact(knob, _value(knob) // 2) for knob in self.suspects[:fit]]
        halves = [(knob, score) for knob, new in self._tried.values()
                  if new < _value(knob) and (score := _score(ended, _title(knob, new)))]  # fmt: skip
        worse = [
            knob for knob, score in halves if is_size_name(knob.name) and self._goal.better(self._mean, score.value)
        ]
        return [self._artifact(knob, 2 * _value(knob)) for knob in worse
                if _title(knob, 2 * _value(knob)) not in self._tried]  # fmt: skip

    def found(self, ended: Mapping[str, list[RunFinished]]) -> tuple[SizeTried, ...]:
        """Return the knobs that look like the size of the problem: what was seen, or their names where none ran."""
        seen: dict[tuple[str, str], SizeTried] = {}
        for title, (knob, new) in self._tried.items():
            if (score := _score(ended, title)) and (tried := self._judged(knob, new, score)):
                seen[knob.file, knob.name] = tried
        untried = [] if self._tried else [knob for knob in self.suspects if is_size_name(knob.name)]
        return (*seen.values(), *(SizeTried(knob.name, knob.file, _value(knob)) for knob in untried[:_MOST]))

    @property
    def _mean(self) -> float:
        return statistics.fmean(score.value for score in self._base)

    def _artifact(self, knob: Knob, new: float) -> Artifact:
        title = _title(knob, new)
        self._tried[title] = knob, new
        text = edit(self._files[knob.file].decode(), {knob.name: new}, knob.file)
        return Artifact(title, {knob.file: text.encode()})

    def _judged(self, knob: Knob, new: float, score: Scored) -> SizeTried | None:
        """Return what was seen if it looks like a gain by another size of the problem, else None."""
        values = [each.value for each in self._base]
        spread = max(values) - min(values)
        gain = self._goal.gain(score.value, self._mean)
        share = gain / abs(self._mean) if self._mean else 0.0
        if gain <= 2 * spread:
            return None
        results = [
            (name, old, score.metrics[name])
            for name, old in _constant(self._base, self._goal).items()
            if score.metrics.get(name, old) != old
            and (is_result_name(name) or (old, score.metrics[name]) != (knob.value, new))
        ]
        results.sort(key=lambda each: not is_result_name(each[0]))
        if not ((results and share > _CLEAR) or (is_size_name(knob.name) and share > _PLAIN)):
            return None
        return SizeTried(knob.name, knob.file, _value(knob), new, (self._mean, score.value), tuple(results))


def may_be_size(knob: Knob) -> bool:
    """Tell whether a knob may be the size of the problem: a whole number whose range its author has not given."""
    value = knob.value
    if isinstance(value, bool | str) or knob.choices or not is_guess(knob):
        return False
    return value >= _LEAST and (isinstance(value, int) or (is_size_name(knob.name) and value == int(value)))


def size_sentence(tried: SizeTried, metric: str) -> str:
    """Return what was seen of a knob in a sentence, with the cure; `metric` is that of the arena."""
    name, file = printable(tried.name), printable(tried.file)
    fix = f'keep it with the comment `mesh: fixed` in {file}, or with bounds = {{"{name}" = "fixed"}} under [knobs]'
    if not tried.new:
        return f"{name} = {tried.old:.10g} in {file} reads like the size of the problem, and a smaller one wins: {fix}"
    before, after = (plain_number(score, 4) for score in tried.score)
    seen = f"{name} {tried.old:.10g} -> {tried.new:.10g}: {printable(metric)} {before} -> {after}"
    if not tried.results:
        lacks = "print a number that depends on all of the problem, such as a checksum, and require it"
        return f"{seen}: {name} looks like the size of the problem, and no other number shows it: {fix}; {lacks}"
    changes = ", ".join(
        f"{printable(other)} {exact_number(old)} -> {exact_number(new)}" for other, old, new in tried.results[:3]
    )
    other, old, _ = tried.results[0]
    pin = (
        f'{other} = "== {exact_number(old)}"'
        if is_result_name(other)
        else f'a bound such as {other} = ">= {exact_number(old)}"'
    )
    return (
        f"{seen}, and {changes}: {name} looks like the size of the problem, and a search wins by it. Where it "
        f"must stay, {fix}; so that no candidate gets by with less, write {pin} under [objective.constraints]"
    )


def _value(knob: Knob) -> int | float:
    assert isinstance(knob.value, int | float)
    return knob.value


def _title(knob: Knob, new: float) -> str:
    return f"{knob.name} = {new:.10g}"


def _score(ended: Mapping[str, list[RunFinished]], title: str) -> Scored | None:
    runs = ended.get(title, [])
    return runs[0].outcome if runs and isinstance(runs[0].outcome, Scored) else None


def _constant(scores: Sequence[Scored], goal: ObjectiveSpec) -> dict[str, float]:
    """Return the other numbers that all runs of the baseline have alike."""
    first, *others = [score.metrics for score in scores]
    return {
        name: value
        for name, value in first.items()
        if name != goal.metric and not is_time(name) and not is_rate(name) and all(o.get(name) == value for o in others)
    }

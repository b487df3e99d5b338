"""The stages of scoring, cheap first: `[[score.stage]]` of `arena.toml`, and what is wrong with a list of them. Pure.

A candidate of search ends at the first stage whose number misses its threshold (screening). The last stage has no
threshold and gives the score. `gpu_worker.stages` runs them; `docs/selection.md` says what they decide.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated

import msgspec
from msgspec import Meta

from mesh import bounds as b

_Seconds = Annotated[float, Meta(ge=0, le=1e9)]
_LEAST = 1e-9
"""By how much a threshold is missed at least, as a share of it."""
_RELATIVE = re.compile(r"(champion|baseline)(?: *([+-]) *(\d{1,15}(?:\.\d{1,15})?) *(%?))?")
Bound = b.Number | b.Word
"""A threshold: a number, or text such as "champion - 2%"."""


class StageSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stage of scoring. With `budget_s` it has a trial of its own before the full one.

    `at_most` and `at_least` are thresholds for `metric`, "" for the objective's: a number, or text that refers to what
    the champion or the baseline got in this stage ("champion - 2%"). `proof` also runs it in proof.
    """

    name: b.Word
    command: Annotated[tuple[b.Text, ...], Meta(max_length=b.MAX_ITEMS)] = ()
    deadline_s: _Seconds = 0.0
    budget_s: _Seconds = 0.0
    metric: b.Word = ""
    at_most: Bound | None = None
    at_least: Bound | None = None
    proof: bool = False

    @property
    def threshold(self) -> str:
        """What the number must be, in words; "" without a threshold."""
        words = [f"at most {_words(self.at_most)}"] if self.at_most is not None else []
        words += [f"at least {_words(self.at_least)}"] if self.at_least is not None else []
        return " and ".join(words)

    @property
    def refers_to(self) -> str:
        """Whose number the threshold refers to: "champion", "baseline", or "" for none."""
        texts = [each for each in (self.at_most, self.at_least) if isinstance(each, str)]
        found = _RELATIVE.fullmatch(texts[0]) if texts else None
        return found[1] if found else ""

    def relative_to(self, number: float) -> float:
        """Return the threshold that refers to a number, as a number."""
        for bound in (self.at_most, self.at_least):
            if isinstance(bound, str) and (found := _RELATIVE.fullmatch(bound)) and found[2]:
                step = float(found[3]) * (abs(number) / 100 if found[4] else 1.0)
                return max(-b.MAX_NUMBER, min(b.MAX_NUMBER, number + (step if found[2] == "+" else -step)))
        return number

    def missed_by(self, value: float, relative: float | None = None) -> float:
        """Return by how much a value misses the threshold: 0, or a share of the threshold (of 1, if that is 0).

        Args:
            value: the number of the stage.
            relative: the number that a relative threshold comes to; without one it ends nothing.
        """
        most = relative if isinstance(self.at_most, str) else self.at_most
        least = relative if isinstance(self.at_least, str) else self.at_least
        over = value - most if most is not None else 0.0
        under = least - value if least is not None else 0.0
        bound = most if over > 0 else least
        if bound is None or max(over, under) <= 0:
            return 0.0
        return min(b.MAX_NUMBER, max(max(over, under) / (abs(bound) or 1.0), _LEAST))


def _words(bound: float | str) -> str:
    return bound if isinstance(bound, str) else f"{bound:g}"


def unknown_key(stages: object) -> str:
    """Return what is wrong with the keys of a decoded `score.stage`, "" if nothing is."""
    names = StageSpec.__struct_encode_fields__
    if not isinstance(stages, list) or not all(isinstance(stage, Mapping) for stage in stages):
        return f"score.stage must be a list of tables: write {', '.join(names[:2])}, … under [[score.stage]]"
    for place, stage in enumerate(stages, 1):
        where = f"stage {stage['name']!r}" if isinstance(stage.get("name"), str) else f"stage {place}"
        if unknown := sorted(stage.keys() - set(names)):
            return f"unknown key {unknown[0]!r} in [[score.stage]], {where}; use {', '.join(names)}"
        if "name" not in stage:
            return f"[[score.stage]], {where}: name is missing: name it as the score program reads it in MESH_STAGE"
    return ""


def trouble(
    stages: Sequence[StageSpec], *, how: str, metric: str, direction: str, budget_s: float, deadline_s: float
) -> str:
    """Return why stages cannot be used in an arena, "" if they can.

    Args:
        stages: the stages in their order.
        how: `score.how`.
        metric: the objective's metric.
        direction: the objective's direction.
        budget_s: the budget of a trial.
        deadline_s: the deadline of scoring.
    """
    if not stages:
        return ""
    if how not in ("command", "stdout"):
        other = ": write its thresholds as score.cascade" if how == "openevolve" else ""
        return f'score.stage needs score.how = "command" or "stdout", but score.how is "{how}"{other}'
    names = [stage.name for stage in stages]
    if twice := next((name for name in names if names.count(name) > 1), None):
        return f"score.stage: two stages have the name {twice!r}: rename one"
    last = stages[-1]
    if last.threshold:
        return (
            f"score.stage {last.name!r} is the last one, which gives the score: take its threshold out, "
            "or add a stage after it"
        )
    if len(stages) == 1:
        return f"score.stage {last.name!r} is the only one: add a cheaper one before it, or leave stages out"
    for stage in stages:
        if found := _trouble(stage, how, metric, direction, budget_s, deadline_s, is_last=stage is last):
            return f"score.stage {stage.name!r}: {found}"
    for before, stage in pairwise(stages):
        if stage.budget_s and not 0 < before.budget_s < stage.budget_s:
            return (
                f"score.stage {stage.name!r}: budget_s is {stage.budget_s:g}, but the trial of the stage before it is "
                "not shorter: order stages by budget_s, and put those that score the full trial last, without one"
            )
    return ""


def _trouble(
    stage: StageSpec, how: str, metric: str, direction: str, budget_s: float, deadline_s: float, *, is_last: bool
) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", stage.name):
        return "name must be 1 to 64 letters, digits, _ or -"
    if stage.budget_s >= budget_s:
        return f"budget_s is {stage.budget_s:g}; use less than trial.budget_s ({budget_s:g}), or leave it out"
    if stage.deadline_s > deadline_s:
        return f"deadline_s is {stage.deadline_s:g}; use at most score.deadline_s ({deadline_s:g})"
    if is_last and (stage.budget_s or stage.metric):
        what = "budget_s" if stage.budget_s else "metric"
        return f"{what} must be left out of the last stage: it scores the full trial by the objective"
    if how == "stdout" and (stage.command or stage.metric or stage.deadline_s):
        what = "command" if stage.command else "metric" if stage.metric else "deadline_s"
        return f'{what} must be left out: with score.how = "stdout" the trial prints the number itself'
    if how == "stdout" and not is_last and not stage.budget_s:
        return 'budget_s is missing: with score.how = "stdout" each stage is a trial, shorter than the full one'
    if stage.at_most is not None and stage.at_least is not None:
        return "it has at_most and at_least: leave one out"
    for name in ("at_most", "at_least"):
        if isinstance(bound := getattr(stage, name), str) and not _RELATIVE.fullmatch(bound):
            return f'{name} is {bound[:60]!r}: use a number, or text such as "champion - 2%" or "baseline + 0.5"'
    wrong = "at_least" if direction == "minimize" else "at_most"
    if stage.metric in ("", metric) and getattr(stage, wrong) is not None:
        right = "at_most" if direction == "minimize" else "at_least"
        return f"{wrong} would end the better candidates, since objective.direction is {direction!r}: use {right}"
    if stage.metric and not stage.threshold:
        return f"metric is {stage.metric!r}, but there is no threshold for it: add at_most or at_least"
    return ""

"""What an owner's data can show: the baseline's score on them, its noise, and the smallest gain that can be proven.

`mesh new` runs the template's own `prepare`, trial and score program in a folder that it deletes afterwards. They are
the mesh's own programs, so they run without a sandbox. The score program writes the score of each item; the template's
reference improvement shows how far differences between two artifacts spread, which decides what can be proven.
"""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agents.curation.error_control import level
from mesh.arena import load_arena
from mesh.errors import BadArena
from mesh.items import BadItems, ItemScores, Spread, parse_items, spread_of_difference, spread_of_mean
from mesh.own_data.template import TemplateData
from mesh.spec import ArenaSpec

POWER = 0.8
"""Chance that a gain of the smallest size is proven."""
_WITHIN_S = 900


class MeasuredData(msgspec.Struct, frozen=True):
    """What was measured on an owner's data.

    Attributes:
        remarks: what `prepare` printed, line by line.
        score: the baseline's, in units of the metric.
        items: its items.
        noise: how well its mean is known.
        reference: by how much the template's reference improvement is better, None if there is none.
        difference: how well that is known.
        alpha: error level of the arena's first race.
        trial_s: seconds that a trial took, and its score.
    """

    remarks: tuple[str, ...]
    score: float
    items: ItemScores
    noise: Spread
    reference: float | None
    difference: Spread
    alpha: float
    trial_s: float
    score_s: float

    @property
    def parts(self) -> dict[str, int]:
        """How many items each part of the data has, as the line `split: ...` of `prepare` says."""
        told = " ".join(line for line in self.remarks if line.startswith("split: "))
        found = re.findall(r"\b(public|search|confirm|sealed) (\d[\d,]*)", told)
        return {part: int(count.replace(",", "")) for part, count in found}

    @property
    def smallest_gain(self) -> float:
        """The gain that is proven with a chance of `POWER`, in units of the metric."""
        return smallest_gain(self.difference, self.alpha)


def smallest_gain(spread: Spread, alpha: float, power: float = POWER) -> float:
    """Return the gain that a one-sided test at `alpha` proves with a chance of `power`.

    It is (t at 1 - alpha, plus t at `power`) standard errors. Source: Bloom, "Minimum detectable effects" (1995).
    """
    from scipy.special import stdtrit

    if not math.isfinite(spread.error) or spread.dof <= 0:
        return math.inf
    return float(stdtrit(spread.dof, 1 - alpha) + stdtrit(spread.dof, power)) * spread.error


def measure(arena: Path, own: TemplateData, source: Path) -> MeasuredData:
    """Measure the baseline of the arena in a folder on an owner's data.

    Raises:
        BadArena: the data do not suffice, or a program of the template fails; with its last line.
    """
    spec = load_arena(arena)
    with tempfile.TemporaryDirectory(prefix="mesh-new-") as made:
        folder = Path(made) / "arena"
        shutil.copytree(arena, folder)
        data = Path(made) / "data"
        said = _program(folder, spec.artifact.prepare, {"MESH_SOURCE": str(source.resolve()), "MESH_OUT": str(data)})
        score, items, trial_s, score_s = _run(folder, spec, data)
        noise, reference, difference = spread_of_mean(items.values, items.clusters), None, None
        for edit in own.reference:
            path = folder / edit.file
            text = path.read_text("utf-8")
            if edit.old not in text:
                raise BadArena(f"{edit.file} does not contain {edit.old!r}, which own_data.toml replaces")
            path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
        if own.reference:
            better, theirs, _, _ = _run(folder, spec, data)
            reference = spec.objective.gain(better, score)
            difference = spread_of_difference(theirs, items, paired=True)
    alpha = level(1, (), spec.selection.fdr)
    remarks = tuple(line for line in said.splitlines() if line.strip())
    return MeasuredData(remarks, score, items, noise, reference, difference or noise, alpha, trial_s, score_s)


def _run(folder: Path, spec: ArenaSpec, data: Path) -> tuple[float, ItemScores, float, float]:
    """Run a trial and its score program; return score, items, and the seconds that each took."""
    out, kept = folder.parent / "out", folder.parent / "items.json"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    env = {"MESH_DATA": str(data / "public"), "MESH_OUT": str(out), "MESH_SEED": "1", "MESH_DEVICE": "cpu"}
    env |= {"MESH_BUDGET_S": f"{spec.trial.budget_s:g}", "MESH_THREADS": "1"}
    before = _cpu_s()
    _program(folder, spec.trial.command, env)
    between = _cpu_s()
    private = {"MESH_PRIVATE": str(data / "private"), "MESH_ITEMS": str(kept), "MESH_SPLIT": "confirm"}
    said = _program(folder, spec.score.command, env | private)
    after = _cpu_s()
    try:
        score = float(json.loads(said.splitlines()[-1])[spec.objective.metric])
        items = parse_items(kept.read_bytes())
    except (ValueError, LookupError, TypeError, OSError):
        raise BadArena(f"the score program of {spec.name} gave no {spec.objective.metric}: {said[-200:]!r}") from None
    except BadItems as error:
        raise BadArena(f"the data do not suffice: MESH_ITEMS of {spec.name} {error}") from None
    return score, items, between - before, after - between


def _cpu_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _program(folder: Path, command: Sequence[str], env: dict[str, str]) -> str:
    """Run a program of the template and return what it printed."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "HOME", "TMPDIR") if name in os.environ}
    program = sys.executable if command[0] == "python" else command[0]
    try:
        done = subprocess.run(
            [program, *command[1:]],
            cwd=folder,
            env=kept | env | {"PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BadArena(f"{' '.join(command)} did not end within {_WITHIN_S} s on your data: give less data") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise BadArena(f"{' '.join(command)} cannot use the data: {last}")
    return done.stdout

"""Stand in for the package `coral`, where it is not installed: what graders of its tasks use. Standard library alone.

`coral.grader.TaskGrader` with its helpers, `coral.types.Score`, `ScoreBundle` and `Task`, `coral.config.GraderConfig`.
"""

import json
import os
import subprocess
import sys
import tempfile
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_WORDS = {"CORRECT": 1.0, "C": 1.0, "PARTIAL": 0.5, "P": 0.5}
_SCRIPT_S = 300
_SHOWN = 1000


@dataclass
class Score:
    """One score."""

    value: Any
    name: str
    explanation: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def to_float(self) -> float | None:
        """Return the number; words such as CORRECT have one too."""
        if self.value is None:
            return None
        return _WORDS.get(self.value.upper(), 0.0) if isinstance(self.value, str) else float(self.value)


@dataclass
class ScoreBundle:
    """Scores by name, and the one that counts."""

    scores: dict[str, Score]
    aggregated: float | None = None
    is_public: bool = True
    feedback: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def get(self, name: str) -> Score | None:
        """Return a score by its name."""
        return self.scores.get(name)

    def get_score_value(self, name: str, default: float = 0.0) -> float | None:
        """Return the number of a score."""
        return self.scores[name].to_float() if name in self.scores else default

    def compute_aggregated(self, weights: dict[str, float] | None = None) -> float:
        """Return the weighted mean of the scores, 0 if there is none."""
        known = [(value, (weights or {}).get(name, 1.0)) for name, score in self.scores.items()
                 if (value := score.to_float()) is not None]  # fmt: skip
        total = sum(weight for _, weight in known)
        return sum(value * weight for value, weight in known) / total if total else 0.0


@dataclass
class Task:
    """What is to be done."""

    id: str
    name: str
    description: str
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class GraderConfig:
    """The settings of a grader."""

    args: dict[str, Any] = field(default_factory=dict)
    timeout: int = 0
    direction: str = "maximize"


class TaskGrader:
    """The base of graders; the runner sets `codebase_path`, `private_dir`, `tasks` and `island_id`."""

    codebase_path: str
    private_dir: str
    tasks: list[Task]
    island_id: None
    tune = False

    def __init__(self, config: GraderConfig | None = None, **arguments: Any) -> None:
        self.config = config or GraderConfig(args=arguments)

    @property
    def args(self) -> dict[str, Any]:
        """The arguments of `task.yaml`."""
        return self.config.args

    @property
    def timeout(self) -> int | None:
        """Seconds of an evaluation; None: the run's own deadline."""
        return self.config.timeout or None

    @property
    def eval_logs_dir(self) -> Path:
        """A folder for logs, which is deleted with the run."""
        return Path(tempfile.mkdtemp())

    def evaluate(self) -> Any:
        """Return a number or a `ScoreBundle`."""
        raise NotImplementedError

    def get_python_command(self) -> list[str]:
        """Return the words that start Python."""
        return [sys.executable]

    def run_program(
        self, filename: str, *cmd_args: str, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the codebase; its output is text."""
        path = os.path.join(self.codebase_path, filename)
        if not os.path.exists(path):
            raise FileNotFoundError(f"{filename} not found in codebase")
        command = [*self.get_python_command(), path, *cmd_args]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.codebase_path,
            timeout=timeout or self.timeout,
        )

    def run_script(self, script: str, *, timeout: float = _SCRIPT_S) -> subprocess.CompletedProcess[str]:
        """Run a text of Python; its output is text."""
        command = [*self.get_python_command(), "-c", script]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)

    def run_script_json(self, script: str, *, timeout: float = _SCRIPT_S) -> Any:
        """Run a text of Python and return the JSON that it prints, the last line of it that is an object."""
        done = self.run_script(script, timeout=timeout)
        if done.returncode:
            raise RuntimeError(done.stderr.strip()[-2 * _SHOWN :])
        for text in (done.stdout, *reversed(done.stdout.splitlines())):
            try:
                return json.loads(text)
            except ValueError:
                continue
        raise RuntimeError(f"the script printed no JSON: {done.stdout[-_SHOWN:]} {done.stderr.strip()[-_SHOWN:]}")

    def read_eval_path(self, relative_path: str) -> Path:
        """Return the path of a file in `eval/`."""
        return Path(self.private_dir) / "eval" / relative_path

    def read_eval(self, relative_path: str) -> str:
        """Return the text of a file in `eval/`."""
        return self.read_eval_path(relative_path).read_text()

    def score(self, value: float | None, explanation: str = "", **more: Any) -> ScoreBundle:
        """Return a bundle of one score."""
        return self.bundle(value, explanation, **more)

    def fail(self, explanation: str = "", feedback: str | None = None) -> ScoreBundle:
        """Return a bundle without a score."""
        return self.bundle(None, explanation, feedback=feedback)

    def bundle(
        self,
        value: float | None,
        explanation: str = "",
        feedback: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> ScoreBundle:
        """Return a bundle of one score."""
        scores = {"eval": Score(value, "eval", explanation or None)}
        return ScoreBundle(scores, value, feedback=feedback, metadata=metadata or {})


def provide_coral() -> None:
    """Make `coral`, `coral.grader`, `coral.grader.task_grader`, `coral.types` and `coral.config` importable."""
    names = ("coral", "coral.grader", "coral.grader.task_grader", "coral.types", "coral.config")
    modules = {name: types.ModuleType(name) for name in names}
    for name in ("coral", "coral.grader"):
        modules[name].__path__ = []
    kinds = {kind.__name__: kind for kind in (Score, ScoreBundle, Task, GraderConfig, TaskGrader)}
    for name in names[1:]:
        vars(modules[name]).update(kinds)
        above, _, last = name.rpartition(".")
        setattr(modules[above], last, modules[name])
    sys.modules |= modules

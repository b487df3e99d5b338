"""A task of CORAL: what its `task.yaml` says about the program, the grader and the score. Pure text.

The grader is a class with `evaluate(self)` in `grader/src/…` (`grader.entrypoint`) or in `eval/grader.py`; the programs
lie in the folder that `workspace.repo_path` names, as a rule `seed`.
"""

import json
import posixpath
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from mesh.foreign_config import MAX_BRIEF, TIMEOUT_S, composed, inside, plain_value, scalar, seconds_in
from mesh.spec import Direction

TASK_FILE = "task.yaml"
CORAL_OPTIONS = ("--entrypoint=", "--codebase=", "--private=", "--evaluator-args=")
"""What follows a grader in `score.command`."""

_ENTRY = "grader:Grader"


class CoralTask(msgspec.Struct, frozen=True):
    """What a `task.yaml` says.

    Args:
        grader: path of the file with the grader's class.
        entrypoint: `module:Class` of it.
        codebase: the folder with the programs.
        editable: the files in it that may change.
        arguments: `grader.args` as JSON, "" for none.
        private: paths that CORAL shows to the grader alone.
        direction: which way the score is better.
        timeout_s: seconds of an evaluation.
        brief: description and tips.
    """

    grader: str
    entrypoint: str
    codebase: str
    editable: tuple[str, ...]
    arguments: str
    private: tuple[str, ...]
    direction: Direction
    timeout_s: float
    brief: str

    def command(self) -> list[str]:
        """Return `score.command`."""
        words = ["python", self.grader, f"--entrypoint={self.entrypoint}", f"--codebase={self.codebase}"]
        words += [f"--private={','.join(self.private)}"] if self.private else []
        return words + ([f"--evaluator-args={self.arguments}"] if self.arguments else [])


def read_coral(
    files: Collection[str], read: Callable[[str], str], editable_in: Callable[[str], tuple[str, ...]]
) -> CoralTask | None:
    """Return what a folder's `task.yaml` says, None if the folder is no task of CORAL.

    Without a grader among the files, `task.yaml` belongs to something else, and is not read.

    Args:
        files: paths of the files in the folder.
        read: returns the text of one of them.
        editable_in: returns the source files in one of its folders.

    Raises:
        ValueError: the file is not valid YAML, or grader or program are not there.
    """
    if TASK_FILE not in files or not any(name == "eval/grader.py" or name.startswith("grader/") for name in files):
        return None
    whole = inside(composed(read(TASK_FILE), TASK_FILE))
    task, grader = inside(whole.get("task")), inside(whole.get("grader"))
    if not task or not grader:
        return None
    entrypoint = scalar(grader.get("entrypoint")) or _ENTRY
    path = _grader(entrypoint, files)
    codebase = _codebase(scalar(inside(whole.get("workspace")).get("repo_path")), files)
    values = {name: _value(node) for name, node in inside(grader.get("args")).items()}
    program = values.get("program_file")
    editable = editable_in(codebase)
    if isinstance(program, str):
        named = posixpath.normpath(f"{codebase}/{program}")
        editable = (named,) if named in editable else ()
    if not editable:
        raise ValueError(
            f"{TASK_FILE} is a task of CORAL, and {codebase}/{program or ''} is no program to start from: put one there"
        )
    words = [scalar(task.get(name)).strip() for name in ("description", "tips")]
    is_smaller = scalar(grader.get("direction")).lower().startswith("min")
    listed = getattr(grader.get("private"), "value", None)
    private = [posixpath.normpath(scalar(node)) for node in listed] if isinstance(listed, list) else []
    return CoralTask(
        grader=path,
        entrypoint=entrypoint,
        codebase=codebase,
        editable=editable,
        arguments=json.dumps(values) if values else "",
        private=tuple(name for name in private if name not in (".", "") and not name.startswith(("/", ".."))),
        direction="minimize" if is_smaller else "maximize",
        timeout_s=seconds_in(scalar(grader.get("timeout"))) or TIMEOUT_S,
        brief="\n\n".join(filter(None, words))[:MAX_BRIEF],
    )


def _grader(entrypoint: str, files: Collection[str]) -> str:
    module, _, _ = entrypoint.partition(":")
    ends = [f"{module.replace('.', '/')}.py", f"{module.replace('.', '/')}/__init__.py"]
    found = sorted(name for name in files for end in ends if name == end or name.endswith(f"/{end}"))
    found = [name for name in found if name.startswith(("grader/", "eval/"))] or found
    if not found:
        raise ValueError(
            f"{TASK_FILE} is a task of CORAL, and its grader {entrypoint} is not below this folder: put the grader's "
            "package into grader/, or its file into eval/grader.py"
        )
    return found[0]


def _codebase(named: str, files: Collection[str]) -> str:
    """Return the folder that `repo_path` names: its longest end that is a folder here, else `seed`."""
    parts = [part for part in posixpath.normpath(named).split("/") if part not in ("", ".")]
    ends = ["/".join(parts[begin:]) for begin in range(len(parts))] if ".." not in parts else []
    return next((end for end in [*ends, "seed"] if any(name.startswith(f"{end}/") for name in files)), "seed")


def _value(node: Any) -> Any:
    """Return the value of an argument: a scalar, a list or a mapping of them."""
    if node.id == "sequence":
        return [_value(item) for item in node.value]
    return {key: _value(item) for key, item in inside(node).items()} if node.id == "mapping" else plain_value(node)

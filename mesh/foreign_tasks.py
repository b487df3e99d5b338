"""Tasks of other systems: recognises them by their files and writes an `arena.toml` for them. Pure text.

`mesh open` and `mesh up` put this `arena.toml` beside the task, where a person can read and change it. They change no
file of the task, and do not check what else it needs (packages, a GPU).
"""

import math
import re
from collections.abc import Collection
from typing import Any

import msgspec

KNOWN = (
    "OpenEvolve (initial_program.* and evaluator.py), ShinkaEvolve (initial.* and evaluate.py), "
    "karpathy/autoresearch (program.md, prepare.py and train.py)"
)
EVALUATOR_OPTIONS = ("--features=", "--evaluator-args=")
"""What may follow an OpenEvolve evaluator in `score.command`: metrics that do not count in the mean, arguments."""
CONFIG = "config.yaml"
TIMEOUT_S = 300.0
_FALSE = ("false", "no", "off", "0", "null", "~", "")
_DEEP = re.compile(r"(?:[\[{]\s*){100}")
"""Brackets on which the parser would spend seconds before it gives up."""
_TAG = "tag:yaml.org,2002:"
THRESHOLDS = (0.5, 0.75, 0.9)
"""OpenEvolve's default thresholds of a cascade (`EvaluatorConfig`)."""


class Layout(msgspec.Struct, frozen=True):
    """The system that a folder belongs to, and the text of an `arena.toml` for it."""

    system: str
    toml: str


def recognise(name: str, files: Collection[str], config: str = "") -> Layout | None:
    """Return the layout of a folder, None if it is none of `KNOWN`.

    Args:
        name: name of the folder, which becomes the name of the arena.
        files: names of the files in it.
        config: text of OpenEvolve's `config.yaml`; evaluator.timeout, cascade_evaluation and cascade_thresholds count.

    Raises:
        ValueError: `config` is not valid YAML.
    """
    token = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:64] or "task"
    if "evaluator.py" in files and (program := _program("initial_program", files)):
        timeout_s, cascade = _evaluator_of(config)
        return Layout("OpenEvolve", _openevolve(token, program, timeout_s, cascade))
    if "evaluate.py" in files and (program := _program("initial", files)):
        return Layout("ShinkaEvolve", _shinka(token, program))
    if {"program.md", "prepare.py", "train.py"} <= set(files):
        return Layout("karpathy/autoresearch", _autoresearch(token))
    return None


def _program(stem: str, files: Collection[str]) -> str:
    """Return the file called `stem`, whatever its suffix; of several the Python file; '' if there is none."""
    found = sorted(name for name in files if re.fullmatch(rf"{stem}\.\w+", name))
    return f"{stem}.py" if f"{stem}.py" in found else found[0] if len(found) == 1 else ""


def _evaluator_of(config: str) -> tuple[float, tuple[float, ...]]:
    """Return the timeout in seconds, and the thresholds of the cascade (empty: no cascade).

    The text is only parsed, never turned into objects: aliases of aliases, merged keys and numbers of any length cost
    nothing.
    """
    import yaml

    if _DEEP.search(config):
        raise ValueError(f"{CONFIG} is not valid YAML: it is nested too deeply")
    try:
        whole = yaml.compose(config, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"{CONFIG} is not valid YAML: {' '.join(str(error).split())[:300]}") from None
    except RecursionError:
        raise ValueError(f"{CONFIG} is not valid YAML: it is nested too deeply") from None
    except (ValueError, OverflowError) as error:  # an escape of no character, a version of thousands of digits
        raise ValueError(f"{CONFIG} is not valid YAML: {' '.join(str(error).split())[:300]}") from None
    options = _inside(_inside(whole).get("evaluator"))
    timeout = _number(options.get("timeout"))
    listed = options.get("cascade_thresholds")
    thresholds: tuple[float, ...] = THRESHOLDS
    if isinstance(listed, yaml.SequenceNode):
        thresholds = tuple(number for node in listed.value if (number := _number(node)) is not None)
    cascade = options.get("cascade_evaluation")
    is_off = cascade is not None and str(cascade.value).lower() in _FALSE
    return timeout if timeout and timeout > 0 else TIMEOUT_S, () if is_off else thresholds


def _inside(node: Any) -> dict[str, Any]:
    """Return the nodes in a mapping by their keys; {} for any other node."""
    pairs = node.value if node is not None and node.id == "mapping" else ()
    return {key.value: value for key, value in pairs if isinstance(key.value, str)}


def _number(node: Any) -> float | None:
    """Return the number in a node, None if it has none that is finite."""
    if node is None or node.tag not in (f"{_TAG}int", f"{_TAG}float"):
        return None
    try:
        number = float(node.value.replace("_", ""))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _openevolve(name: str, program: str, timeout_s: float, cascade: tuple[float, ...]) -> str:
    return f"""# The mesh wrote this file for an OpenEvolve task; change what you like.
[arena]
name = "{name}"
summary = "The OpenEvolve task {name}"

[objective]
metric = "combined_score"           # if the evaluator returns none: the mean of the numbers that it returns
direction = "maximize"

[artifact]
editable = ["{program}"]            # everything else is protected

[trial]                             # no command: the evaluator runs the program
budget_s = {timeout_s:.1f}
deadline_s = {timeout_s:.1f}
memory_gb = 4.0
network = false

[score]
how = "openevolve"
command = ["python", "evaluator.py"]
cascade = {list(cascade)}           # thresholds after evaluate_stage1, 2, ...; [] calls only evaluate()
deadline_s = {timeout_s:.1f}        # for the whole evaluation; every process of it is killed then
"""


def _shinka(name: str, program: str) -> str:
    return f"""# The mesh wrote this file for a ShinkaEvolve task; change what you like.
[arena]
name = "{name}"
summary = "The ShinkaEvolve task {name}"

[objective]
metric = "combined_score"
direction = "maximize"

[artifact]
editable = ["{program}"]            # everything else is protected

[trial]                             # no command: evaluate.py runs the program
budget_s = {TIMEOUT_S:.1f}
deadline_s = {TIMEOUT_S:.1f}
memory_gb = 4.0
network = false

[score]
how = "shinka"
command = ["python", "evaluate.py"] # the worker adds --program_path and --results_dir
deadline_s = {TIMEOUT_S:.1f}        # for the whole evaluation; every process of it is killed then
"""


def _autoresearch(name: str) -> str:
    start = "import os, sys; os.environ['HOME'] = {home}; {more}os.execv(sys.executable, [sys.executable, '{file}'])"
    prepare = start.format(home="os.environ['MESH_OUT'] + '/public'", more="", file="prepare.py")
    cache = "os.environ.setdefault('HF_HOME', os.environ['TMPDIR']); "
    train = start.format(home="os.environ['MESH_DATA']", more=cache, file="train.py")
    return f"""# The mesh wrote this file for a checkout of karpathy/autoresearch; change what you like.
[arena]
name = "{name}"
summary = "Lower val_bpb after five minutes of training"

[objective]
metric = "val_bpb"
direction = "minimize"

[artifact]
editable = ["train.py"]             # everything else is protected
# prepare.py keeps its data in ~/.cache/autoresearch. The mesh freezes the data once, so that every worker has the same.
# The limit is 2 GiB; add "--num-shards", "4" after 'prepare.py' to make less.
prepare = ["python", "-c", "{prepare}"]

[trial]
command = ["python", "-c", "{train}"]
budget_s = 300.0                    # as TIME_BUDGET in prepare.py, which counts wall time after compiling
budget_counts = "wall"
startup_s = 225.0                   # to compile and to evaluate: with a tolerance of 1.25, all that the deadline leaves
deadline_s = 600.0                  # the worker kills the whole process tree then
memory_gb = 32.0
network = false                     # true lets train.py download kernels from a hub while it runs

[score]
how = "stdout"                      # the trial prints its score, so scores are marked as self-reported
pattern = '^val_bpb:\\s*([0-9.eE+-]+)'
"""

"""The configuration of a task of another system: what of it decides how a program is run and scored.

OpenEvolve's `config.yaml` and ShinkaEvolve's Python files are only parsed, never executed or turned into objects.
"""

import ast
import json
import math
import posixpath
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from mesh.python_syntax import parse_python

TIMEOUT_S = 300.0
THRESHOLDS = (0.5, 0.75, 0.9)
"""OpenEvolve's default thresholds of a cascade (`EvaluatorConfig`)."""
MAX_BRIEF = 60_000
"""Characters of a task's words to the model that are kept."""

_FALSE = ("false", "no", "off", "0", "null", "~", "")
_DEEP = re.compile(r"(?:[\[{]\s*){100}")
"""Brackets on which the parser would spend seconds before it gives up."""
_TAG = "tag:yaml.org,2002:"
_UNITS_S = {"": 1.0, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?)?(?=[\s\d]|$)")
_GIGABYTES = {"": 1 / 1024, "k": 1 / 1024**2, "m": 1 / 1024, "g": 1.0, "t": 1024.0}
_TOLD = ("task_sys_msg", "time", "init_program_path", "seed_repo_path", "mutable_paths", "immutable_paths")
_CODE = (".py", ".js", ".ts", ".rs", ".go", ".java", ".cpp", ".c", ".h", ".jl", ".r", ".R", ".cs", ".rb")
_KEYS = re.compile(
    r"""(?:api_?key|secret_?key|access_?token|auth_?token)["']?[ \t]*[:=][ \t]*(?P<quote>["']?)(?P<key>[^\s"'#,]+)""",
    re.IGNORECASE,
)
_SECRET = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w./+=~-]{16,}")
_NO_SECRET = re.compile(
    r"\$|env:|os\.environ|your|xxx|example|placeholder|not-?needed|(?-i:^[A-Z][A-Z0-9_]*$)", re.IGNORECASE
)
_SUFFIXES = {"python": ".py", "rust": ".rs", "r": ".r", "cpp": ".cpp", "c++": ".cpp", "javascript": ".js", "go": ".go"}


class TaskOptions(msgspec.Struct, frozen=True):
    """What of a configuration counts.

    Args:
        timeout_s: seconds of an evaluation.
        cascade: thresholds of OpenEvolve's cascade; empty: no cascade.
        memory_gb: memory of an evaluation.
        features: metrics that describe a program and are no goal.
        arguments: keyword arguments of `evaluate`, as JSON; "" for none.
        brief: the words to the model, "" for none.
        suffix: suffix of programs, "" if it is not said.
        program: the program to start from, "" if it is not said.
        repository: the folder to start from where a program is a whole folder, "" if it is not said.
        mutable: the files and folders of that folder that may change; empty: all.
        immutable: those of them that may not.
    """

    timeout_s: float = TIMEOUT_S
    cascade: tuple[float, ...] = THRESHOLDS
    memory_gb: float = 4.0
    features: tuple[str, ...] = ()
    arguments: str = ""
    brief: str = ""
    suffix: str = ""
    program: str = ""
    repository: str = ""
    mutable: tuple[str, ...] = ()
    immutable: tuple[str, ...] = ()


def openevolve_options(text: str, name: str = "config.yaml") -> TaskOptions:
    """Return what counts of OpenEvolve's configuration.

    The text is only parsed, never turned into objects: aliases of aliases, merged keys and numbers of any length cost
    nothing.

    Raises:
        ValueError: it is not valid YAML.
    """
    import yaml

    whole = inside(composed(text, name))
    evaluator, prompt = inside(whole.get("evaluator")), inside(whole.get("prompt"))
    listed = evaluator.get("cascade_thresholds")
    thresholds: tuple[float, ...] = THRESHOLDS
    if isinstance(listed, yaml.SequenceNode):
        thresholds = tuple(number for node in listed.value if (number := _number(node)) is not None)
    cascade = evaluator.get("cascade_evaluation")
    is_off = cascade is not None and str(cascade.value).lower() in _FALSE
    memory_gb = _memory_gb(scalar(evaluator.get("memory_limit_mb")))
    message = scalar(prompt.get("system_message") or whole.get("system_message")).strip()
    suffix = scalar(whole.get("file_suffix")) or _SUFFIXES.get(scalar(whole.get("language")).lower(), "")
    dimensions = inside(whole.get("database")).get("feature_dimensions") or whole.get("feature_dimensions")
    features = [scalar(node) for node in dimensions.value] if isinstance(dimensions, yaml.SequenceNode) else []
    arguments = {name: value for name, node in inside(evaluator.get("evaluator_args")).items()
                 if (value := plain_value(node)) is not None}  # fmt: skip
    return TaskOptions(
        timeout_s=seconds_in(scalar(evaluator.get("timeout"))) or TIMEOUT_S,
        cascade=() if is_off else thresholds,
        memory_gb=memory_gb or 4.0,
        features=tuple(name for name in features if re.fullmatch(r"[\w.-]{1,100}", name)),
        arguments=json.dumps(arguments) if arguments else "",
        brief="" if re.fullmatch(r"\w*", message) else message[:MAX_BRIEF],  # a single word names a template
        suffix=suffix if re.fullmatch(r"\.\w{1,10}", suffix) else "",
    )


def shinka_options(sources: Iterable[tuple[str, str]]) -> TaskOptions:
    """Return what counts of the Python and YAML files that start a ShinkaEvolve run, given as pairs of name and text.

    Of several that say the same thing, the first one counts.
    """
    found: dict[str, Any] = {}
    for name, text in sources:
        told = _told_in_yaml(text, name) if name.endswith((".yaml", ".yml")) else _told_in_python(text)
        found = {**told, **found}
    return TaskOptions(
        timeout_s=seconds_in(str(found.get("time", ""))) or TIMEOUT_S,
        brief=str(found.get("task_sys_msg", "")).strip()[:MAX_BRIEF],
        program=_relative(found.get("init_program_path")),
        repository=_relative(found.get("seed_repo_path")),
        mutable=_relatives(found.get("mutable_paths")),
        immutable=_relatives(found.get("immutable_paths")),
    )


def has_key(text: str, name: str = "config.yaml") -> bool:
    """Tell whether a file holds the key of a service itself, and not the name of a variable that has it.

    In code a key stands in quotes; a name without quotes is an expression.
    """
    is_code = name.endswith(_CODE)
    found = (match["key"] for match in _KEYS.finditer(text) if match["quote"] or not is_code)
    return any(_SECRET.fullmatch(key) and not _NO_SECRET.search(key) for key in found)


def _told_in_yaml(text: str, name: str) -> dict[str, Any]:
    try:
        whole = inside(composed(text, name))
    except ValueError:
        return {}
    parts = [inside(whole.get(part)) for part in ("evo", "evo_config", "job", "job_config")]
    nodes = {key: node for part in parts for key, node in part.items() if key in _TOLD}
    return {key: [scalar(item) for item in node.value] if node.id == "sequence" else scalar(node)
            for key, node in nodes.items() if node.value}  # fmt: skip


def _told_in_python(source: str) -> dict[str, Any]:
    try:
        tree = parse_python(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    known = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                known[name] = text
            case _:
                pass
    told: dict[str, Any] = {}
    for name, text in known.items():
        if name.endswith("task_sys_msg"):
            told.setdefault("task_sys_msg", text)
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in _TOLD:
            value = node.value
            if isinstance(value, ast.Name):
                said: Any = known.get(value.id, "")
            elif isinstance(value, ast.List | ast.Tuple):
                said = [item.value for item in value.elts if isinstance(item, ast.Constant)]
            else:
                said = getattr(value, "value", "")
            if said and isinstance(said, str | list):
                told[node.arg] = said
    return told


def _relatives(paths: Any) -> tuple[str, ...]:
    return tuple(plain for path in paths if (plain := _relative(path))) if isinstance(paths, list) else ()


def _relative(path: Any) -> str:
    """Return a path of the task's folder in its plain form, "" for none and for one that leaves the folder."""
    if not isinstance(path, str) or not path:
        return ""
    plain = posixpath.normpath(path)
    return "" if plain.startswith(("/", "..")) or plain == "." else plain


def seconds_in(text: str) -> float:
    """Return the seconds that a text such as `300`, `5m`, `1h 30m` or `00:05:00` means, 0 if it is not clear."""
    text = text.strip().lower().replace("_", "")
    if re.fullmatch(r"\d+:\d{2}(:\d{2})?", text):
        parts = [float(part) for part in text.split(":")]
        total = sum(part * unit for part, unit in zip(reversed(parts), (1, 60, 3600), strict=False))
        return total if len(parts) == 3 else total * 60  # HH:MM, as schedulers of clusters read it
    try:
        total = float(text)
    except ValueError:
        if not re.fullmatch(rf"(?:{_TIME.pattern}\s*)+", text):
            return 0.0
        total = sum(float(n) * _UNITS_S[unit.removesuffix("s")[:3] if unit[:3] in _UNITS_S else unit[:1]]
                    for n, unit in _TIME.findall(text))  # fmt: skip
    return total if math.isfinite(total) and 0 < total <= 1e9 else 0.0


def _memory_gb(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", text.strip().lower().replace("_", ""))
    gigabytes = float(match[1]) * _GIGABYTES[match[2]] if match else 0.0
    return round(gigabytes, 3) if 0 < gigabytes <= 1e6 else 0.0


def composed(text: str, name: str) -> Any:
    """Return the root node of a text of YAML, None for an empty one; nothing is turned into objects.

    Raises:
        ValueError: it is not valid YAML, or nested too deeply.
    """
    import yaml

    if _DEEP.search(text):
        raise ValueError(f"{name} is not valid YAML: it is nested too deeply")
    try:
        return yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"{name} is not valid YAML: {' '.join(str(error).split())[:300]}") from None
    except RecursionError:
        raise ValueError(f"{name} is not valid YAML: it is nested too deeply") from None
    except (ValueError, OverflowError) as error:  # an escape of no character, a version of thousands of digits
        raise ValueError(f"{name} is not valid YAML: {' '.join(str(error).split())[:300]}") from None


def inside(node: Any) -> dict[str, Any]:
    """Return the nodes in a mapping by their keys; {} for any other node."""
    pairs = node.value if node is not None and node.id == "mapping" else ()
    return {key.value: value for key, value in pairs if isinstance(key.value, str)}


def scalar(node: Any) -> str:
    """Return the text of a scalar, "" for null and other nodes."""
    return node.value if node is not None and node.id == "scalar" and node.tag != f"{_TAG}null" else ""


def plain_value(node: Any) -> bool | float | str | None:
    """Return the value of a scalar, None for other nodes."""
    if node.id != "scalar":
        return None
    if node.tag == f"{_TAG}bool":
        return node.value.lower() in ("true", "yes", "on")
    number = _number(node)
    return str(node.value) if number is None else int(number) if node.tag == f"{_TAG}int" else number


def _number(node: Any) -> float | None:
    """Return the number in a node, None if it has none that is finite."""
    if node is None or node.tag not in (f"{_TAG}int", f"{_TAG}float"):
        return None
    try:
        number = float(node.value.replace("_", ""))
    except ValueError:
        return None
    return number if math.isfinite(number) else None

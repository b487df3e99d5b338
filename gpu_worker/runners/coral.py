"""Run a grader of CORAL and print one JSON object: `{"metrics": {"score": ..., ...}}` or `{"error": "..."}`.

    python coral.py GRADER ARTIFACT --entrypoint=MODULE:CLASS --codebase=FOLDER [--private=A,B] [--evaluator-args=JSON]

The grader is imported as the module of its entrypoint and gets the folder with the programs, its arguments, and a
folder with links to its private files. Where the package `coral` is missing, a stand-in has what graders use. What
grader and programs print goes to stderr. They run as one user, so a dishonest program can report any number. When the
grader has returned, its threads and processes do not count any more. Standard library alone.
"""

import importlib
import importlib.util
import inspect
import json
import os
import sys
import tempfile
import types
from typing import Any


def main() -> None:
    """Run the grader and print its result."""
    shared = sibling("openevolve")
    shared.forget_folder(__file__)
    stdout = os.dup(1)
    os.dup2(2, 1)
    answer: dict[str, object]
    try:
        answer = graded(shared, *sys.argv[1:])
    except (Exception, SystemExit) as error:
        answer = {"error": f"{type(error).__name__}: {error}" if str(error) else type(error).__name__}
    shared.end_with(stdout, answer)


def sibling(name: str) -> Any:
    """Return the runner of that name beside this one as a module."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
    module = types.ModuleType(f"mesh_runner_{name}")
    module.__file__ = path
    sys.modules[module.__name__] = module
    with open(path, "rb") as file:
        exec(compile(file.read(), path, "exec"), vars(module))
    return module


def graded(shared: Any, grader: str, artifact: str, *words: str) -> dict[str, object]:
    """Return the answer for the programs of an artifact; `shared` is the runner of OpenEvolve's evaluators."""
    options = dict(word.partition("=")[::2] for word in words)
    name, _, kind = options["--entrypoint"].partition(":")
    end = "/".join(name.split(".")) + ("/__init__.py" if grader.endswith("/__init__.py") else ".py")
    path = os.path.join(artifact, grader)
    sys.path.insert(0, path.removesuffix(f"/{end}"))
    if not importlib.util.find_spec("coral"):
        sibling("coral_standin").provide_coral()
    arguments = json.loads(options.get("--evaluator-args") or "{}")
    one = made(getattr(importlib.import_module(name), kind or "Grader"), arguments)
    one.codebase_path = os.path.join(artifact, options["--codebase"])
    one.private_dir = private(artifact, options.get("--private", ""))
    one.tasks, one.island_id = [], None
    result = one.evaluate()
    if inspect.iscoroutine(result):
        import asyncio

        result = asyncio.run(result)
    return answer_of(shared, result)


def made(kind: Any, arguments: dict[str, Any]) -> Any:
    """Return a grader with its arguments."""
    config = importlib.import_module("coral.config").GraderConfig()
    config.args, config.timeout = arguments, 0  # the deadline of the run ends it
    try:
        return kind(config)
    except TypeError:  # earlier versions took the arguments themselves
        return kind(**arguments)


def private(artifact: str, names: str) -> str:
    """Return a folder with links to the grader's private files, and to `eval`."""
    folder = os.path.join(tempfile.mkdtemp(), ".coral", "private")
    os.makedirs(folder)
    for name in [*filter(None, names.split(",")), "eval"]:
        source = os.path.join(artifact, name)
        if os.path.exists(source):
            os.symlink(source, os.path.join(folder, os.path.basename(name)))
    return folder


def answer_of(shared: Any, result: Any) -> dict[str, object]:
    """Return what a grader's result says: `score`, and the scores that it names, or why there is none.

    Raises:
        ValueError: it has no score.
    """
    scores = getattr(result, "scores", None)
    if not isinstance(scores, dict):
        return {"metrics": {"score": shared.finite(shared.number(result))}}
    told = [str(text) for text in (getattr(each, "explanation", None) for each in scores.values()) if text]
    told += [str(result.feedback)] if getattr(result, "feedback", None) else []
    for text in told:
        print(text, file=sys.stderr)  # noqa: T201
    named = {str(name): value for name, each in scores.items() if (value := value_of_score(each)) is not None}
    whole = result.aggregated
    if whole is None and (not scores or len(named) < len(scores)):
        raise ValueError(f"the grader says: {' '.join(told)[:1000]}" if told else "the grader gave no score")
    value = sum(named.values()) / len(named) if whole is None else shared.number(whole)
    metrics = {name: shared.finite(each) for name, each in named.items() if name != "eval"}
    return {"metrics": {**metrics, "score": shared.finite(value)}}


def value_of_score(score: Any) -> float | None:
    """Return the number of one score, None if it has none."""
    try:
        value = score.to_float()
        return None if value is None else float(value)
    except (AttributeError, TypeError, ValueError):
        return None


if __name__ == "__main__":
    main()

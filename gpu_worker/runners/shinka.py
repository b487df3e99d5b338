"""Run a ShinkaEvolve evaluation and print one JSON object: `{"metrics": {...}}` or `{"error": "..."}`.

    python shinka.py RESULTS PYTHON EVALUATE.PY [OPTION ...]

The evaluation (`python evaluate.py --program_path P --results_dir RESULTS`) writes `correct.json` and `metrics.json`;
what it prints goes to stderr. It runs in a process of its own, a fork of this one where that has the same interpreter,
with a stand-in for the package `shinka` where that is missing. A command that is no Python script runs as it is. It
runs the program, so a dishonest program can write any number there. Standard library alone.
"""

import json
import math
import os
import stat
import subprocess
import sys
import types
from typing import Any

_MAX_BYTES = 8 * 1024 * 1024
_SHOWN = 1000
_STANDIN = "shinka_standin.py"


def main() -> None:
    """Run the evaluation and print its result."""
    results, *command = sys.argv[1:]
    os.makedirs(results, exist_ok=True)
    code = evaluation(command)
    answer: dict[str, object]
    try:
        correct = read_result(results, "correct.json")
        if correct.get("correct") is True:
            answer = {"metrics": flat(read_result(results, "metrics.json"))}
        else:
            answer = {"error": f"the program is not correct: {correct.get('error') or feedback(results)}"}
    except OSError as error:
        answer = {"error": f"the evaluation ended with exit code {code} and no result: {error}", "look_in_log": True}
    except ValueError as error:
        answer = {"error": f"the evaluation ended with exit code {code} and no usable result: {error}"}
    os.write(1, json.dumps(answer).encode() + b"\n")


def feedback(results: str) -> str:
    """Return what the evaluation tells about a program that is not correct."""
    try:
        told = " ".join(str(read_result(results, "metrics.json").get("text_feedback") or "").split())
    except (OSError, ValueError):
        told = ""
    return told[:_SHOWN] or "no reason was given"


def evaluation(command: list[str]) -> int:
    """Run the command with its output on stderr, and return its exit code."""
    if len(command) < 2 or not command[1].endswith(".py"):
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=2, check=False).returncode
    standin = os.path.join(os.path.dirname(os.path.abspath(__file__)), _STANDIN)
    if command[0] != sys.executable:
        started = [command[0], standin, *command[1:]]
        return subprocess.run(started, stdin=subprocess.DEVNULL, stdout=2, check=False).returncode
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        os.dup2(2, 1)
        here = os.path.dirname(standin)
        sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
        module = types.ModuleType("shinka_standin")
        sys.modules["shinka_standin"] = module
        with open(standin, "rb") as file:
            exec(compile(file.read(), standin, "exec"), vars(module))
        module.run_script(command[1], command[2:])
    finally:
        os._exit(1)


def read_result(folder: str, name: str) -> dict[str, Any]:
    """Return the JSON object in a file that the program may have replaced.

    Raises:
        OSError, ValueError: it is not a regular file, is too large, or has no JSON object.
    """
    descriptor = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_size > _MAX_BYTES:
            raise ValueError(f"{name} is not a file of at most {_MAX_BYTES:,} bytes")
        found = json.loads(file.read(_MAX_BYTES))
    if not isinstance(found, dict):
        raise ValueError(f"{name} is not a JSON object")
    return found


def flat(metrics: dict[str, Any]) -> dict[str, float | None]:
    """Return the numbers of `metrics.json`, those under `public` and `private` as `public.x` and `private.x`.

    Raises:
        ValueError: its `combined_score` is not a number.
    """
    parts = {part: metrics.get(part) for part in ("public", "private")}
    inner = {f"{part}.{name}": v for part, of in parts.items() if isinstance(of, dict) for name, v in of.items()}
    numbers = {
        name: float(value)
        for name, value in {**metrics, **inner}.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    if "combined_score" in metrics:
        score = metrics["combined_score"]
        try:
            numbers["combined_score"] = float(score)
        except (TypeError, ValueError):
            raise ValueError(f"combined_score is not a number: {str(score)[:100]!r}") from None
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


if __name__ == "__main__":
    main()

"""Run a ShinkaEvolve evaluation and print one JSON object: `{"metrics": {...}}` or `{"error": "..."}`.

    python -I shinka.py RESULTS COMMAND ...

The command (`python evaluate.py --program_path P --results_dir RESULTS`) writes `correct.json` and `metrics.json`; what
it prints goes to stderr. It runs the program, so a dishonest program can write any number there. Standard library only.
"""

import json
import math
import os
import stat
import subprocess
import sys
from typing import Any

_MAX_BYTES = 8 * 1024 * 1024


def main() -> None:
    """Run the evaluation and print its result."""
    results, *command = sys.argv[1:]
    os.makedirs(results, exist_ok=True)
    code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=2, check=False).returncode
    answer: dict[str, object]
    try:
        correct = read_result(results, "correct.json")
        if correct.get("correct") is True:
            answer = {"metrics": flat(read_result(results, "metrics.json"))}
        else:
            answer = {"error": f"the program is not correct: {correct.get('error') or 'no reason was given'}"}
    except (OSError, ValueError) as error:
        answer = {"error": f"the evaluation ended with exit code {code} and no result: {error}"}
    os.write(1, json.dumps(answer).encode() + b"\n")


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
    """Return the numbers of `metrics.json`, those under `public` and `private` as `public.x` and `private.x`."""
    inner = {f"{part}.{name}": v for part in ("public", "private") for name, v in (metrics.get(part) or {}).items()}
    numbers = {
        name: float(value)
        for name, value in {**metrics, **inner}.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


if __name__ == "__main__":
    main()

"""Whether a metric that `mesh init` is given is printed: by the programs' texts, or by one run that the user allows."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mesh.labelled_numbers import labelled_numbers, missing_metric, nearest_name
from mesh.text import printable
from mesh_cli.setup.first_look.printed_numbers import named_pattern
from mesh_cli.setup.first_look.run_lines import shown_command

_LONGEST_S = 600.0
_MOST_TEXT = 1024 * 1024


def printed_metric(
    metric: str,
    known: Sequence[str],
    folder: Path,
    words: Sequence[str],
    budget_s: float,
    ask: Callable[[str, str], str] | None,
    programs: str = "",
) -> str:
    """Return the name of the number that is meant by a metric which no text of a program prints.

    Args:
        metric: what the user said.
        known: the numbers that the texts print.
        folder: the folder of the program.
        words: the command that runs it.
        budget_s: seconds that a run may take.
        ask: asks the user; None where there is nobody: then a sentence on standard error says what is known.
        programs: the folder of the programs of the environment that it runs in; "" for the mesh's own.
    """
    listed = f"; they print {', '.join(known[:6])}" if known else ""
    near = nearest_name(metric, known)
    if not ask:
        mean = f": did you mean {near}?" if near else ""
        print(f"mesh: no text of a program here prints {metric}{listed}{mean}", file=sys.stderr)
        return metric
    question = f"   No text of a program here prints {metric}{listed}. Run `{shown_command(tuple(words))}` once now?"
    if ask(question, "yes")[:1].lower() != "y":
        return ask("   Which number is the score?", near or metric) if known else metric
    output, errors = _run_once(folder, words, min(_LONGEST_S, 4 * budget_s), programs)
    if re.search(named_pattern(metric), output, re.MULTILINE):
        return metric
    print(printable(f"   {missing_metric(metric, output, errors)}", 400), file=sys.stderr)
    found = labelled_numbers(output) or labelled_numbers(errors)
    return ask("   Which number is the score?", nearest_name(metric, found) or next(reversed(found), metric))


def required_results(
    names: Sequence[str],
    folder: Path,
    words: Sequence[str],
    budget_s: float,
    ask: Callable[[str, str], str] | None,
    programs: str = "",
) -> tuple[tuple[str, float], ...]:
    """Return the results that every candidate must give, with their values; none unless the user wants them.

    Args:
        names: results that the texts of the programs print, such as a checksum.
        folder: the folder of the program.
        words: the command that runs it.
        budget_s: seconds that a run may take.
        ask: asks the user; None where there is nobody.
        programs: the folder of the programs of the environment that it runs in; "" for the mesh's own.
    """
    if not names or not ask:
        return ()
    listed = ", ".join(names)
    if ask(f"   It also prints {listed}. Must every candidate print the same? Then it runs once now", "yes")[:1] != "y":
        return ()
    output, _ = _run_once(folder, words, min(_LONGEST_S, 4 * budget_s), programs)
    found = labelled_numbers(output)
    return tuple((name, found[name]) for name in names if name in found)


def _run_once(folder: Path, words: Sequence[str], within_s: float, programs: str) -> tuple[str, str]:
    """Run the command as a trial would; return what it printed, and what it printed as errors."""
    first = programs or os.path.dirname(sys.executable)
    surroundings = {**os.environ, "PATH": f"{first}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    print("   it runs …", end="", file=sys.stderr, flush=True)
    began = time.monotonic()
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env=surroundings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=within_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = error.strerror if isinstance(error, OSError) else f"it did not end within {within_s:g} s"
        print(f"\n   it could not be run: {why}", file=sys.stderr)
        return "", ""
    print(f" {time.monotonic() - began:.1f} s", file=sys.stderr)
    if done.returncode:
        said = next((line for line in reversed(done.stderr.decode(errors="replace").splitlines()) if line.strip()), "")
        why = f": {printable(said.strip(), 300)}" if said else ""
        print(f"   it ended with exit code {done.returncode}{why}", file=sys.stderr)
    both = (data[-_MOST_TEXT:].decode(errors="replace") for data in (done.stdout, done.stderr))
    return next(both), next(both)

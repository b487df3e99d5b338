"""The numbers with labels in what a program printed, such as `Test accuracy: 0.93`, and why a metric is not among them.

A label becomes a name as in JSON: `test_accuracy`. Of each name the last number counts. Pure.
"""

import difflib
import re
from collections.abc import Iterable

from mesh.bounds import MAX_NUMBER

_MOST_TEXT, _MOST_NAMES, _SHOWN = 64 * 1024, 32, 6
_LABELLED = re.compile(
    r"(?<![\w.])([A-Za-z][\w@./() -]{0,40}?)[\"']?\s?[:=]\s*[\"']?"
    r"([-+]?(?:\d[\d_,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![\w:])"
)
_UNIT = re.compile(r"(?<=\d)(ms|us|ns|s|x|%)\b")


def labelled_numbers(output: str) -> dict[str, float]:
    """Return the last number of each label in the last 64 KiB of an output, in the order of their last lines."""
    found: dict[str, float] = {}
    for line in output[-_MOST_TEXT:].splitlines():
        for match in _LABELLED.finditer(_UNIT.sub(" ", line)):
            name, text = label_name(match[1]), match[2].replace(",", "").replace("_", "")
            if name and abs(value := float(text)) <= MAX_NUMBER:
                found.pop(name, None)
                found[name] = value
    return dict(list(found.items())[-_MOST_NAMES:])


def label_name(label: str) -> str:
    """Return a label as a name: its words behind the last number in it, joined by `_`; "" if there are none."""
    words = re.split(r"(?:^|\s)[\d.]+(?=\s|$)", label)[-1]
    return re.sub(r"[^\w@.]+", "_", words).strip("_.").lower()[:60]


def nearest_name(word: str, names: Iterable[str]) -> str:
    """Return the name that somebody may have meant by a word, "" if none is near."""
    by_lower = {name.lower(): name for name in names}
    wanted = label_name(word)
    inside = [name for name in by_lower if wanted and (wanted in name or (len(name) > 2 and name in wanted))]
    near = difflib.get_close_matches(wanted, list(by_lower), n=1, cutoff=0.6) or inside[:1]
    return by_lower[near[0]] if near else ""


def missing_metric(metric: str, output: str, errors: str = "") -> str:
    """Return one sentence about a run that printed no number for its metric.

    Args:
        metric: the metric that `score.pattern` should find.
        output: what the run printed.
        errors: what it printed to standard error.
    """
    found = labelled_numbers(output)
    listed = ", ".join(f"{name} {value:.6g}" for name, value in list(found.items())[-_SHOWN:])
    if found:
        near = nearest_name(metric, found)
        mean = f": did you mean {near}?" if near and near != metric else ""
        return f"score.pattern finds no {metric} in what the run printed; it printed {listed}{mean}"
    if output.strip():
        last = output.strip().splitlines()[-1].strip()[:100]
        return f"score.pattern finds no {metric} in what the run printed; its last line is {last!r}"
    if labelled_numbers(errors):
        return (
            f"the run printed no {metric} to standard output, from which it is read, but numbers to standard error: "
            f"{', '.join(list(labelled_numbers(errors))[-_SHOWN:])}; add 2>&1 to the command"
        )
    return f"the run printed nothing, so it has no {metric}"

"""What `mesh init` guesses of a folder: which files may change, how it is run, by which number it is scored. Pure."""

import re
from pathlib import PurePosixPath

import msgspec

from mesh.loop_reading import by_name, is_beside_metric, stated_direction, stated_editable, stated_metric
from mesh.named_files import written_in
from mesh.spec import Direction
from mesh_cli.setup.first_look.folder_view import FolderView
from mesh_cli.setup.first_look.printed_numbers import PrintedNumber, printed_numbers
from mesh_cli.setup.first_look.run_lines import AGENT_NOTES, COMPILED, SCORER, RunLine, files_run, run_lines
from mesh_cli.setup.time_metrics import is_rate, is_time

_DATA = re.compile(
    r"(?:^|/)(?:data|tests?|fixtures|golden|cases|examples|labels?|docs|dataset)(?:/|\.|_|$)|"
    r"(?:^|/|_)(?:labels?|expected|truth|answers?|gold(?:en)?|cases|examples|dataset|test|data|package|tsconfig|lock)"
    r"(?:_\w+)?\.\w+$|\.(?:csv|tsv|jsonl|parquet|npy|npz|pkl|db|png|jpg)$|(?:^|/)(?:README|LICENSE|requirements|CHANGELOG)",
    re.I,
)
_NOTES = (*AGENT_NOTES, "README.md", "readme.md", "README.rst", "README.txt", "README")
_NO_METRIC = re.compile(
    r"(?:^|_)(?:checksum|check|seed|size|rows|count|iterations?|threads|version|epoch|length|sum|best|i|n|k|x)(?:_|$)",
    re.I,
)
_RULES = (".json", ".yaml", ".yml", ".toml", ".ini", ".cfg")
_FILE = re.compile(r"[A-Za-z_][\w.-]*(?:/[\w.-]+)*\.[a-z]\w{1,7}")
"""A path that a program may write to."""
_MARK = re.compile(r"EVOLVE-BLOCK-START|(?:#|//|--|;|%|/\*)\s*mesh:")


class Guesses(msgspec.Struct, frozen=True):
    """What a folder seems to be; each part may be missing.

    Attributes:
        runs: the ways to run it, the likeliest first.
        editable: the files that may change.
        editable_why: where that was read.
        numbers: what the run prints, the likeliest metric first.
        metric: the likeliest one.
        direction: which way it is better, None if nothing says so.
        direction_why: where that was read.
    """

    runs: tuple[RunLine, ...] = ()
    editable: tuple[str, ...] = ()
    editable_why: str = ""
    numbers: tuple[PrintedNumber, ...] = ()
    metric: PrintedNumber | None = None
    direction: Direction | None = None
    direction_why: str = ""


def guess(view: FolderView) -> Guesses:
    """Return what a folder seems to be."""
    scored = [(line.weight + 30 * _prints_metric(view, line), -at, line) for at, line in enumerate(run_lines(view))]
    runs = tuple(line for _, _, line in sorted(scored, key=lambda each: each[:2], reverse=True))
    words = runs[0].words if runs else ()
    editable, why = guess_editable(view, words)
    numbers = numbers_of(view, words)
    metric = numbers[0] if numbers else None
    direction, towards = guess_direction(view, metric.name) if metric else (None, "")
    return Guesses(runs, editable, why, numbers, metric, direction, towards)


def numbers_of(view: FolderView, words: tuple[str, ...]) -> tuple[PrintedNumber, ...]:
    """Return the numbers that a command prints, the likeliest metric first."""
    files = files_run(view, words)
    found = [each for name in files for each in printed_numbers(name, view.text(name))]
    if not found:
        found = [each for name in files for file in _imported(view, name)
                 for each in printed_numbers(file, view.text(file))]  # fmt: skip
    stated = {name.lower() for note in AGENT_NOTES for name in stated_metric(view.text(note))}
    stated |= {name.lower() for name in stated_metric("", view.text("results.tsv"))}
    told = [view.text(note) for note in _NOTES]
    stated |= {each.name for each in found for text in told if _names(text, each) and
               stated_direction(each.name, text, "")}  # fmt: skip
    told_of = {each.name for each in found if any(_names(text, each) for text in told)}
    order = sorted(enumerate(found), key=lambda each: (_rank(each[1], stated), each[1].name not in told_of, each[0]))
    return tuple({each.name: each for _, each in reversed(order)}.values())[::-1]


def _names(text: str, number: PrintedNumber) -> bool:
    return bool(re.search(rf"\b{re.escape(number.name)}\b", text, re.I))


def _rank(number: PrintedNumber, stated: set[str]) -> float:
    name = number.name
    if name in stated:
        return 0.0
    if is_time(name):
        rank = 1.5 if number.file.endswith(COMPILED) else 4.0
    elif is_rate(name) or by_name(name):
        rank = 1.0
    elif is_beside_metric(name) or _NO_METRIC.search(name):
        rank = 6.0
    else:
        rank = 2.0 if number.is_clear or number.key else 5.0
    rank -= 0.4 * bool(
        re.search(r"(?:^|_)(?:val|valid|validation|test|final|eval|total|overall|mean|median)(?:_|$)", name)
    )
    return rank + 0.5 * number.in_loop + 0.5 * bool(re.search(r"(?:^|_)train(?:ing)?(?:_|$)", name))


def _prints_metric(view: FolderView, line: RunLine) -> bool:
    return any(_rank(each, set()) < 5.0 for name in line.files for each in printed_numbers(name, view.text(name)))


def guess_editable(view: FolderView, words: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Return the files that may change, and where that was read; none if it is not clear."""
    for note in AGENT_NOTES:
        if found := stated_editable(view.text(note), view.names):
            return found, note
    files = files_run(view, words)
    if marked := tuple(
        name for name in view.names if not name.endswith((".md", ".toml")) and _MARK.search(view.text(name))
    ):
        return marked, "its marks"
    built = [name for name in files if name.endswith(COMPILED)]
    if built:
        own = [name for name in built if not SCORER.search(name) and not _DATA.search(name)]
        bodies = [name for name in own if not name.endswith((".h", ".hpp"))] or own or built
        return tuple(bodies[:20]), "the sources of the program"
    scorers = [name for name in files if SCORER.search(name)]
    if not scorers:
        scripts = [name for name in files if "." in PurePosixPath(name).name][:1]
        inside = _settings_of(view, scripts[0]) if scripts and _only_scores(view, scripts[0]) else ()
        return (
            (inside, f"read by {scripts[0]}") if inside else (tuple(scripts), "the script that runs" if scripts else "")
        )
    found = tuple(dict.fromkeys(name for scorer in scorers for name in _settings_of(view, scorer)))
    found += tuple(name for each in found for name in _settings_of(view, each) if name.endswith(_RULES))
    found = tuple(dict.fromkeys(name for name in found if not SCORER.search(name)))
    return found[:20], f"used by {scorers[0]}" if found else ""


def _only_scores(view: FolderView, script: str) -> bool:
    """Tell whether a script has no numbers of its own worth a change, but reads settings."""
    return any(
        name.endswith((".json", ".yaml", ".yml", ".toml", ".txt", ".md")) for name in _settings_of(view, script)
    ) and (len(view.text(script)) < 4000 and not re.search(r"\bfit\(|backward\(|\boptimi[sz]er", view.text(script)))


def _settings_of(view: FolderView, script: str) -> tuple[str, ...]:
    """Return the files that a program imports or names, without those that look like data."""
    return tuple(name for name in (*_imported(view, script), *_named(view, script)) if not _DATA.search(name))


def _named(view: FolderView, script: str) -> list[str]:
    """Return the files that stand in the strings of a program, but for those that it only writes."""
    strings = {
        text for pair in re.findall(r"\"([^\"\n]{1,200})\"|'([^'\n]{1,200})'", view.text(script)) for text in pair
    }
    strings -= written_in(view.text(script))
    above = PurePosixPath(script).parent
    found = []
    for name in view.names:
        names = {name, f"./{name}", PurePosixPath(name).name}
        if above != PurePosixPath("."):
            names.add(name.removeprefix(f"{above}/"))
        if name != script and names & strings:
            found.append(name)
    return found


def _imported(view: FolderView, script: str) -> list[str]:
    """Return the files of the folder that a program imports."""
    text, above = view.text(script), PurePosixPath(script).parent
    modules = re.findall(r"^\s*(?:from|import)\s+([\w.]+)", text, re.M)
    wanted = [f"{module.strip('.').replace('.', '/')}{end}" for module in modules for end in (".py", "/__init__.py")]
    wanted += [f"{path}{end}" for path in re.findall(r"(?:require\(|from\s+|import\s+)[\"']\.?/?([\w./-]+)[\"']", text)
               for end in ("", ".js", ".mjs", ".ts")]  # fmt: skip
    both = [each for name in wanted for each in (name, (above / name).as_posix(), f"src/{name}")]
    return [name for name in dict.fromkeys(both) if name in view.names and name != script]


def guess_written(view: FolderView, words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the files in the folder that the programs of a command write or append to and do not read.

    A file that is not there yet is one too: it lies there after the next run, and may be taken because others read it.
    """
    files = files_run(view, words)
    programs = dict.fromkeys((*files, *(file for name in files for file in _imported(view, name))))
    written = {path for name in programs for path in written_in(view.text(name))}
    later = {path for path in written if _FILE.fullmatch(path) and ".." not in path.split("/")}
    return tuple(sorted({*(name for name in view.names if name in written), *later}))


def guess_direction(view: FolderView, metric: str) -> tuple[Direction | None, str]:
    """Return which way a metric is better, and where that was read."""
    for note in _NOTES:
        if (text := view.text(note)) and (found := stated_direction(metric, text, note)):
            return found
    if is_rate(metric):
        return "maximize", "it is a rate"
    if is_time(metric):
        return "minimize", "it is a time"
    way = by_name(metric)
    return way, "by its name" if way else ""

"""Reads the files of an autoresearch loop: which file is edited, how a run starts, what its metric is, and its budget.

People fork karpathy/autoresearch for a metric of their own. What they mean stands in several files: the words and the
`grep` of `program.md`, the header of `results.tsv`, what the sources print, `TIME_BUDGET`. Where these disagree, it is
an error that names every candidate and its place: a guess would search in the wrong direction. Pure text.
"""

import math
import re
import shlex
from collections.abc import Callable, Collection, Iterator
from typing import Literal

import msgspec

from mesh.spec import Direction

DEFAULT_BUDGET_S = 300.0

_READ = Callable[[str], str]
_NAME = r"[A-Za-z_][\w@./-]*[\w@]"
_RUN = re.compile(
    r"(?P<start>\buv +run +(?:--?[\w-]+(?:[ =][\w.>=<-]+)? +)*?(?:python[\d.]* +(?:-u +)?)?|\bpython[\d.]* +(?:-u +)?)"
    r"(?P<file>[\w./-]+\.py)(?P<words>(?: +[^\s`>|&;)]+)*) *(?P<after>[>|&]?)"
)
_GREP = re.compile(r"""\bgrep +(?:-\w+ +)*(?P<quote>["'])(?P<pattern>[^"'\n]+)(?P=quote)""")
_PRINT = re.compile(rf"""\bprint\(\s*[rf]{{0,2}}["'](?:\\n)?({_NAME}) *[:=]""")
_EDIT = (
    re.compile(
        r"only +(?:ever +)?(?:edit|modif|chang|touch)\w*[ :]+((?:`[^`\n]+`(?:,? *(?:and|or)? *)?)+)", re.I
    ),
    re.compile(
        r"`([^`\n]+)`[^`\n]{0,30}\b(?:is|are) the only files? (?:that )?you (?:may |can )?(?:edit|modify|change)", re.I
    ),
    re.compile(r"`([^`\n]+)`[^`\n]{0,12}\bthe file (?:that )?you (?:may |can )?(?:edit|modify|change)", re.I),
    re.compile(r"^[-*\d. ]*\**(?:modify|edit)\** +((?:`[^`\n]+`(?:,? *(?:and|or)? *)?)+)", re.I | re.M),
)  # fmt: skip
_NOT = re.compile(r"\b(?:not|never|don't|cannot|can't|read-only|frozen|fixed)\b", re.I)
_BESIDE = re.compile(
    r"(?:^|_)(?:seconds?|secs?|time|mb|gb|vram|memory|mem|steps?|epochs?|params?(?:_[mk])?|tokens?(?:_[mk])?|mfu(?:_percent)?|depth|"
    r"commit|status|description|desc|id|date|timestamp|hash|run|exp|experiment|round|notes?|ticker|num_\w+|n_\w+|"
    r"total_\w+|peak_\w+|training_\w+|gpu_\w+|primary_metric_name|error|traceback|warning)$",
    re.I,
)
"""Names of what a run tells beside its metric, such as seconds and memory."""
_WORDS: tuple[tuple[Direction, str], ...] = (
    ("minimize", r"lower|smaller|minimi[sz]\w*|lowest|smallest|↓"),
    ("maximize", r"higher|larger|bigger|greater|maximi[sz]\w*|highest|largest|↑"),
)
_WORD = re.compile("|".join(rf"(?P<{way}>{words})" for way, words in _WORDS), re.I)
_GENERAL = re.compile(
    r"\b(lower|smaller|higher|larger|bigger) *(?:is|are|=|==|means) *(?:always *)?(?:the *)?better\b|"
    r"\b(minimi[sz]e|maximi[sz]e) (?:this|the) (?:value|metric|score|objective)\b",
    re.I,
)
_BACKWARDS = re.compile(r"\b(?:worse|equal|discard\w*|revert\w*|crash\w*|than)\b|git reset", re.I)
_BUDGET = re.compile(
    r"^TIME_(?P<kind>BUDGET|LIMIT)(?P<unit>_[A-Z]+)? *(?::[^=\n]+)?= *(?:(?:int|float)\()?"
    r"(?:os\.(?:environ\.get|getenv)\( *[\"'][^\"']+[\"'] *, *[\"']?)?(?P<value>[\d_.]+(?: *\* *[\d_.]+)*)",
    re.M,
)
_SMALL = re.compile(
    r"(?:^|_)(?:bpb|bpc|loss|rmse|mae|mse|mape|wape|error|err|perplexity|ppl|nll|logloss|wer|cer|latency|ms|cost|regret|"
    r"fid|brier|rmsle|drawdown)(?:_|$)",
    re.I,
)
_GREAT = re.compile(
    r"(?:^|_)(?:acc|accuracy|auc|auroc|ap|map|f1|sharpe|sortino|score|r2|reward|return|iou|dice|psnr|ssim|ndcg|mrr|"
    r"precision|recall|throughput|winrate|wins|fitness|pass|solved|correct|mcc|kappa|elo|hit|hits|gain|profit|cagr)(?:_|$)",
    re.I,
)
_SPAN = re.compile(r"\b(\d+(?:\.\d+)?)[ -]?(seconds?|secs?|s|minutes?|mins?|hours?)\b", re.I)
_LIMITS = re.compile(r"budget|limit|each (?:run|experiment)|per (?:run|experiment)|fixed", re.I)


class LoopWish(msgspec.Struct, frozen=True):
    """What the user says about a loop, which settles what its files do not; "" and 0: not said."""

    metric: str = ""
    direction: Literal["", "minimize", "maximize"] = ""
    budget_s: float = 0.0


class Loop(msgspec.Struct, frozen=True):
    """What the files of a loop say.

    Args:
        editable: files that proposals change.
        command: the words of a run, beginning with a Python file.
        prepare: the words of the command that makes the data, beginning with a Python file; empty for none.
        metric: name of the metric, as runs print it.
        direction: which way is better.
        budget_s: seconds of a run.
        reasons: sentences about where metric, direction and budget were read.
    """

    editable: tuple[str, ...]
    command: tuple[str, ...]
    prepare: tuple[str, ...]
    metric: str
    direction: Direction
    budget_s: float
    reasons: tuple[str, ...] = ()


class _Found(msgspec.Struct, frozen=True):
    """A value that a file states, and where."""

    value: str
    where: str


def read_loop(files: Collection[str], read: _READ, wish: LoopWish | None = None) -> Loop | None:
    """Return what the files of a folder say about its loop, None if the folder is no loop of this kind.

    Args:
        files: names of the files in the folder.
        read: returns the text of one of them, "" where there is none.
        wish: what the user says.

    Raises:
        ValueError: the files disagree about the metric, its direction or the budget, or do not state them.
    """
    wish = wish or LoopWish()
    if "program.md" not in files:
        return None
    program = read("program.md")
    editable = stated_editable(program, files) or (("train.py",) if "train.py" in files else ())
    command = _command(program, files, editable)
    is_classic = {"prepare.py", "train.py"} <= set(files)
    if not editable or not command or not (is_classic or _GREP.search(program) or "results.tsv" in program):
        return None
    sources = [name for name in dict.fromkeys([command[0], *editable, "prepare.py"]) if name in files]
    sources += [name for name in sorted(files) if name.endswith(".py") and name not in sources]
    texts = {name: read(name) for name in sources}
    metric, why = _metric(program, read("results.tsv") if "results.tsv" in files else "", texts, wish)
    direction, towards = _direction(metric, program, texts, wish)
    budget_s, limit = _budget(program, texts, wish)
    main = texts.get("prepare.py", "")
    has_prepare = "prepare.py" in files and command[0] != "prepare.py" and (not main or "__main__" in main)
    reasons = tuple(reason for reason in (why, towards, limit) if reason)
    prepare = ("prepare.py",) if has_prepare else ()
    return Loop(editable, command, prepare, metric, direction, budget_s, reasons)


def stated_editable(program: str, files: Collection[str]) -> tuple[str, ...]:
    """Return the files that words to an agent let it edit, none if they do not say."""
    found: dict[str, None] = {}
    for pattern in _EDIT:
        for match in pattern.finditer(program):
            before = program[program.rfind("\n", 0, match.start()) + 1 : match.start()]
            if _NOT.search(before):
                continue
            for name in re.findall(r"[\w./-]+\.\w+", match[1]):
                found |= dict.fromkeys(_known(name, files))
        if found:
            break
    return tuple(found)


def stated_metric(program: str, table: str = "") -> tuple[str, ...]:
    """Return the names of the metric in words to an agent, by their `grep`, and in a table of results."""
    found = [*_from_grep(program), *_from_header("results.tsv", table), *_from_header("program.md", program)]
    return tuple(dict.fromkeys(each.value for each in found))


def stated_direction(metric: str, text: str, file: str) -> tuple[Direction, str] | None:
    """Return which way a metric is better and the place in a file that says so; None if it does not, or says both."""
    for kind in (_near, _general):
        ways = {each.value: each.where for each in reversed([*kind(metric, file, text)])}
        if ways:
            way = next(iter(ways))
            return (("minimize" if way == "minimize" else "maximize"), ways[way]) if len(ways) == 1 else None
    return None


def is_beside_metric(name: str) -> bool:
    """Tell whether numbers of this name tell about the run, such as seconds and memory, rather than how good it is."""
    return bool(_BESIDE.search(name))


def _known(name: str, files: Collection[str]) -> tuple[str, ...]:
    """Return the file of the folder that a path means: itself, or its last part where the path begins further up."""
    short = name.removeprefix("./")
    return tuple(each for each in (short, short.rpartition("/")[2]) if each in files)[:1]


def _command(program: str, files: Collection[str], editable: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words of a run without `uv run` and `python`: one whose output goes to a file, the shortest first."""
    found: list[tuple[bool, int, tuple[str, ...]]] = []
    for match in _RUN.finditer(program):
        for name in _known(match["file"], files):
            words = match["words"]
            if name.startswith("prepare") or re.search(r"[<>${}\[\]\"'…]|\.\.\.", words):
                continue
            options = [] if words and not words.lstrip().startswith("-") else shlex.split(words.rstrip(".,:"))
            found.append((not match["after"], len(options), (name, *options)))
    if found:
        return min(found, key=lambda each: each[:2])[2]
    runnable = [name for name in editable if name.endswith(".py")]
    return (runnable[0],) if runnable else ()


def _metric(program: str, table: str, texts: dict[str, str], wish: LoopWish) -> tuple[str, str]:
    if wish.metric:
        return wish.metric, ""
    found = [*_from_grep(program), *_from_header("results.tsv", table), *_from_header("program.md", program)]
    found += _from_words(program, texts)
    printed = {name: f"printed by {file}" for file, text in texts.items() for name in _PRINT.findall(text)}
    everything = "\n".join(texts.values())
    said = [each for each in found if re.search(rf"\b{re.escape(each.value)}\b", everything)] or found
    names = {each.value: each.where for each in reversed(said)}
    if not names:
        names = {name: where for name, where in printed.items() if not _BESIDE.search(name)}
        best = {name: where for name, where in names.items() if re.match(r"val_|score$|metric$", name)}
        names = names if len(names) == 1 else best or names
    if not names and not everything.strip():
        return "val_bpb", ""
    if len(names) != 1:
        listed = "; ".join(f"{name} ({where})" for name, where in sorted(names.items())) or "none"
        raise ValueError(
            f"its files do not say which number is the metric, the candidates are {listed}: name it with --metric NAME"
        )
    ((metric, where),) = names.items()
    return metric, f"its metric is {metric} ({where})"


def _from_grep(program: str) -> Iterator[_Found]:
    """Yield the name that the first `grep` of `program.md` looks for."""
    for match in _GREP.finditer(program):
        names = re.findall(rf"(?:^|\\\||\|)\^?\(?({_NAME})(?= *\\?[:=]| *$| *\\?\|)", match["pattern"])
        if names := [name for name in names if not _BESIDE.search(name)]:
            yield _Found(names[0], f"grep in program.md line {_line(program, match.start())}")
            return


def _from_header(file: str, text: str) -> Iterator[_Found]:
    """Yield the first column of a table of results that is not about the run."""
    for number, line in enumerate(text.splitlines(), 1):
        columns = [column.strip().strip("`|") for column in line.split("\t")]
        if len(columns) >= 3 and {"status", "description", "desc"} & {column.lower() for column in columns}:
            for column in columns:
                if re.fullmatch(_NAME, column) and not _BESIDE.search(column):
                    yield _Found(column, f"header in {file} line {number}")
                    return


def _from_words(program: str, texts: dict[str, str]) -> Iterator[_Found]:
    """Yield the name that `program.md` says is to be minimized or maximized, where a source has that name too."""
    everything = "\n".join(texts.values())
    goal = re.compile(rf"\b(?:lowest|highest|minimi[sz]e|maximi[sz]e)\W+(?:the\W+|a\W+|your\W+)?({_NAME})", re.I)
    states = re.compile(rf"({_NAME})\W{{1,8}}(?:lower|higher) (?:is|=) better", re.I)
    for match in (*goal.finditer(program), *states.finditer(program)):
        name = match[1]
        if "_" in name and not _BESIDE.search(name) and re.search(rf"\b{re.escape(name)}\b", everything):
            yield _Found(name, f"program.md line {_line(program, match.start(1))}")
            return


def _direction(metric: str, program: str, texts: dict[str, str], wish: LoopWish) -> tuple[Direction, str]:
    if wish.direction:
        return wish.direction, ""
    places = {"program.md": program, **texts}
    for kind in (_near, _general):
        found = [each for file, text in places.items() for each in kind(metric, file, text)]
        ways = {each.value: each.where for each in reversed(found)}
        if kind is _near and len(ways) == 1:
            ((way, where),) = ways.items()
            ways |= _against(way, {file: text for file, text in places.items() if not where.startswith(file)})
        if len(ways) == 2:
            raise ValueError(
                f"its files disagree about whether {metric} is to be minimized ({ways['minimize']}) or maximized "
                f"({ways['maximize']}): say it with --direction min or --direction max"
            )
        if "minimize" in ways:
            return "minimize", f"lower is better ({ways['minimize']})"
        if "maximize" in ways:
            return "maximize", f"higher is better ({ways['maximize']})"
    if guess := by_name(metric):
        better = "lower" if guess == "minimize" else "higher"
        return guess, f"{better} is better, guessed from the metric's name: --direction says otherwise"
    raise ValueError(
        f"its files do not say whether {metric} is to be minimized or maximized: say it with --direction min or "
        "--direction max"
    )


def _against(way: str, texts: dict[str, str]) -> dict[str, str]:
    """Return the other direction and its place if all that files say about their metric is against `way`."""
    about = re.compile(r"\b(?:metric|score|objective|goal)\b", re.I)
    found = [
        each
        for file, text in texts.items()
        for each in _general("", file, "\n".join(line if about.search(line) else "" for line in text.splitlines()))
    ]
    return {found[0].value: found[0].where} if found and all(each.value != way for each in found) else {}


def by_name(metric: str) -> Direction | None:
    """Return which way is better by what numbers of this name usually are, None if the name does not tell."""
    small, great = bool(_SMALL.search(metric)), bool(_GREAT.search(metric))
    return None if small == great else "minimize" if small else "maximize"


def _near(metric: str, file: str, text: str) -> Iterator[_Found]:
    """Yield the direction of each line that names the metric, by the word that stands nearest to it."""
    name = re.compile(rf"(?<![\w.]){re.escape(metric)}(?!\w)", re.I)
    for number, line in enumerate(text.splitlines(), 1):
        places = [match.span() for match in name.finditer(line)]
        if not places or _BACKWARDS.search(line):
            continue
        nearest = [
            (min(_apart(word.span(), place) for place in places), word.lastgroup or "") for word in _WORD.finditer(line)
        ]
        if nearest and min(nearest)[0] <= 60:
            yield _Found(min(nearest)[1], f"{file} line {number}")


def _apart(word: tuple[int, int], name: tuple[int, int]) -> int:
    return max(name[0] - word[1], word[0] - name[1], 0)


def _general(metric: str, file: str, text: str) -> Iterator[_Found]:
    """Yield the direction of sentences such as "higher is better" that name no metric."""
    for match in _GENERAL.finditer(text):
        way = "minimize" if re.match(r"lower|smaller|minimi", match[0], re.I) else "maximize"
        yield _Found(way, f"{file} line {_line(text, match.start())}")


def _budget(program: str, texts: dict[str, str], wish: LoopWish) -> tuple[float, str]:
    if wish.budget_s:
        return wish.budget_s, ""
    for kind in ("BUDGET", "LIMIT"):
        found: dict[float, str] = {}
        for file, text in texts.items():
            for match in _BUDGET.finditer(text):
                seconds = _product(match["value"]) * (60 if "MIN" in (match["unit"] or "") else 1)
                if match["kind"] == kind and 0 < seconds <= 86_400:
                    found.setdefault(seconds, f"{file} line {_line(text, match.start())}")
        if found:
            break
    if len(found) > 1:
        listed = "; ".join(f"{seconds:g} s ({where})" for seconds, where in sorted(found.items()))
        raise ValueError(f"its files disagree about the budget of a run, {listed}: say it with --run-seconds SECONDS")
    for seconds, where in found.items():
        return seconds, f"a run has {seconds:g} s ({where})"
    for number, line in enumerate(program.splitlines(), 1):
        if _LIMITS.search(line) and (span := _SPAN.search(line)):
            unit = {"s": 1, "m": 60, "h": 3600}[span[2][0].lower()]
            if 0 < (seconds := float(span[1]) * unit) <= 86_400:
                return seconds, f"a run has {seconds:g} s (program.md line {number})"
    return DEFAULT_BUDGET_S, ""


def _product(text: str) -> float:
    try:
        return math.prod(float(part.replace("_", "")) for part in text.split("*"))
    except ValueError:
        return 0.0


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1

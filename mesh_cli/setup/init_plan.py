"""The plan of a new arena: what options, guesses and answers say about change, run and score."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from mesh import settings
from mesh.errors import BadInput
from mesh.foreign_folder import free_name
from mesh.ignore_patterns import pattern_of
from mesh.interpreter import find_interpreter
from mesh.score_source import is_score_file
from mesh.size_names import is_result_name
from mesh.spec import Direction
from mesh.task_imports import missing_modules
from mesh_cli.setup.first_look.arena_text import ArenaPlan
from mesh_cli.setup.first_look.asked_models import asked_models
from mesh_cli.setup.first_look.folder_view import FolderView
from mesh_cli.setup.first_look.guesses import Guesses, guess_direction, guess_editable, guess_written, numbers_of
from mesh_cli.setup.first_look.printed_numbers import PrintedNumber, named_pattern
from mesh_cli.setup.first_look.run_lines import AGENT_NOTES, files_run, run_words, shown_command
from mesh_cli.setup.first_run import printed_metric, required_results

USUAL_BUDGET_S = 60.0
"""Seconds of a run where nothing says how long it takes."""
BACKUP = "arena.toml.bak"

_SETTINGS = (
    ".json",
    ".yaml",
    ".yml",
    ".toml",
    ".txt",
    ".md",
    ".ini",
    ".cfg",
    ".conf",
    ".sql",
    ".prompt",
    ".j2",
    ".csv",
)
_BUDGET = r"^\s*(?:TIME_(?:BUDGET|LIMIT)|BUDGET|TIME_LIMIT_S|BUDGET_S)\s*=\s*(\d+(?:\.\d+)?)"
_WAYS: dict[str, Direction] = {
    **dict.fromkeys(("min", "minimize", "lower", "low", "smaller", "less", "l", "down"), "minimize"),
    **dict.fromkeys(("max", "maximize", "higher", "high", "larger", "more", "h", "up"), "maximize"),
}  # fmt: skip

AskPerson = Callable[[str, str], str]
"""Asks a question with its default; returns the answer, the default for an empty one."""


class InitWish(msgspec.Struct, frozen=True, kw_only=True):
    """What the options of `mesh init` say; empty: not said. `force` keeps an `arena.toml` that is there as a copy."""

    editable: tuple[str, ...] = ()
    run: str = ""
    budget_s: float = 0.0
    metric: str = ""
    direction: Literal["", "minimize", "maximize"] = ""
    pattern: str = ""
    file: str = ""
    scorer: str = ""
    environment: str = ""
    yes: bool = False
    force: bool = False

    @property
    def is_own(self) -> bool:
        """Whether it says how the folder works, whatever system it may belong to."""
        return bool(self.editable or self.run or self.pattern or self.file or self.scorer)


def asked_plan(view: FolderView, found: Guesses, wish: InitWish, ask: AskPerson | None) -> ArenaPlan:
    """Return the plan that options, guesses and answers make."""

    def answer(question: str, default: str, option: str, *, is_said: str = "") -> str:
        if is_said:
            return is_said
        if ask and not wish.yes:
            while not (given := ask(question, default)):
                pass
            return given
        if default and wish.yes:
            return default
        cure = f"say it with {option}" + (
            "" if wish.yes or not default else f", or take the guess {default!r} with --yes"
        )
        raise BadInput(f"{view.folder.resolve().name}: {_sentence(question)}: {cure}")

    if not ask and not wish.yes:
        _refuse_without_answers(view, found, wish)
    run = ""
    if not wish.editable and not found.editable and found.runs and wish.run:
        found = msgspec.structs.replace(found, editable=guess_editable(view, run_words(wish.run))[0])
    editable = wish.editable or tuple(
        re.split(r"[\s,]+", answer("1. What may change? Files or patterns, such as src/*.py",
                                   " ".join(found.editable), "--editable FILE"))
    )  # fmt: skip
    editable = tuple(name.removeprefix("./") for name in editable)
    for name in editable:
        is_inside = not name.startswith("/") and ".." not in name.split("/")
        if is_inside and ("*" in name or name.endswith("/") or (view.folder / name).is_file()):
            continue
        raise BadInput(f"{name!r} is not a file in {view.folder}: name files that may change, as --editable train.py")
    guessed = shown_command(found.runs[0].words) if found.runs else ""
    run = answer("2. How is it run? The command, as you type it", guessed, "--run COMMAND", is_said=wish.run)
    try:
        words = found.runs[0].words if found.runs and run == guessed else run_words(run)
    except ValueError as error:
        raise BadInput(f"--run is {run!r}, which no shell reads: {error}") from None
    seconds = _budget(view, files_run(view, words))
    said = f"{wish.budget_s:g}" if wish.budget_s else "" if ask and not wish.yes else f"{seconds:g}"
    budget = answer("   How many seconds may a run take, at most?", f"{seconds:g}", "--budget SECONDS", is_said=said)
    try:
        budget_s = float(budget)
        assert 0 < budget_s <= 1e6
    except (ValueError, AssertionError):
        raise BadInput(f"the budget is {budget!r}: use seconds, such as 60") from None
    environment = _environment(view, wish, ask)
    programs = _programs_of(view, environment)
    numbers = numbers_of(view, words)
    talk = ask if not wish.yes else None

    def printed(metric: str) -> str:
        return printed_metric(metric, [each.name for each in numbers], view.folder, words, budget_s, talk, programs)

    plan = _scored(view, numbers, wish, answer, words, editable, printed)
    plan = _asking(view, plan, words)
    direction = wish.direction or _direction(view, plan.metric, answer)
    source = _source_of(view)
    results = tuple(
        name for each in numbers if (name := each.name) != plan.metric and plan.pattern and is_result_name(name)
    )[:3]
    return msgspec.structs.replace(
        plan,
        name=free_name(view.folder, settings.home()),
        editable=editable,
        budget_s=budget_s,
        direction=direction,
        environment=environment,
        writes=tuple(name for name in guess_written(view, words) if name not in editable),
        ignore=_ignored(view, source),
        brief=next((name for name in AGENT_NOTES if name in view.names), ""),
        source=source,
        results=results,
        required=required_results(results, view.folder, words, budget_s, talk, programs),
    )


def _refuse_without_answers(view: FolderView, found: Guesses, wish: InitWish) -> None:
    """Refuse where nobody can answer and an option is missing; say what was guessed, and the command that takes it.

    Raises:
        BadInput: an option is missing.
    """
    numbers = numbers_of(view, run_words(wish.run)) if wish.run and _is_read(wish.run) else found.numbers
    metric = wish.metric or (numbers[0].name if numbers else "")
    way = guess_direction(view, metric)[0] if metric else None
    scored = wish.metric or wish.pattern or wish.file or wish.scorer
    parts = (
        (wish.editable, "what may change", " ".join(found.editable), "--editable FILE"),
        (wish.run, "the command", shown_command(found.runs[0].words) if found.runs else "", "--run COMMAND"),
        (scored, "the score", "" if scored else metric, "--metric NAME"),
        (wish.direction, "its direction", "" if way is None else way[:3], "--direction min or --direction max"),
    )
    missing = [(what, guessed, option) for given, what, guessed, option in parts if not given]
    if not missing:
        return
    guesses = ", ".join(f"{what} {guessed!r}" for what, guessed, _ in missing if guessed)
    unclear = [f"{what} with {option}" for what, guessed, option in missing if not guessed]
    name = view.folder.resolve().name
    if unclear:
        seen = f"guessed: {guesses}; not clear: " if guesses else "not clear: "
        also = "; --yes takes the guesses" if guesses else ""
        raise BadInput(f"{name}: nobody can be asked here. {seen}say {', '.join(unclear)}{also}")
    options = ", ".join(option for _, _, option in missing)
    raise BadInput(
        f"{name}: nobody can be asked here. Guessed: {guesses}. Take the guesses with --yes, or say otherwise with "
        f"{options}"
    )


def _ignored(view: FolderView, source: str) -> tuple[str, ...]:
    """Return the patterns of what no rule names; with a source, `prepare` makes data, and a folder `data` is kept."""
    kept = ("!/data/",) if source and any(name.startswith("data/") for name in view.names) else ()
    return (*kept, *map(pattern_of, [*view.unlisted, *([source] if source else view.large)]), BACKUP)


def _scored(
    view: FolderView,
    numbers: tuple[PrintedNumber, ...],
    wish: InitWish,
    answer: Callable[..., str],
    words: tuple[str, ...],
    editable: tuple[str, ...],
    printed: Callable[[str], str],
) -> ArenaPlan:
    """Return a plan that has the command and the score; what else it says does not count."""
    base = ArenaPlan(name="", editable=editable, run=words, budget_s=1.0, metric="", direction="maximize")
    guessed = numbers[0].name if numbers else ""
    others = f" ({', '.join(each.name for each in numbers[1:4])})" if len(numbers) > 1 else ""
    said = wish.metric
    if not said and not (wish.pattern or wish.file or wish.scorer):
        said = answer(
            f"3. How is it scored? A number that it prints{others},\n   FILE.json:KEY that it writes, or a command",
            guessed,
            "--metric NAME",
        )
    file, _, key = (wish.file or (said if not wish.metric and is_score_file(said.partition(":")[0]) else "")).partition(
        ":"
    )
    if file:
        metric = wish.metric or key.rpartition(".")[2] or "score"
        return msgspec.structs.replace(base, metric=metric, file=file, key=key or metric)
    scorer = wish.scorer or (said if " " in said and not wish.metric else "")
    if scorer:
        metric = wish.metric or answer(
            "   What is its number called in the JSON that it prints?", "score", "--metric NAME"
        )
        return msgspec.structs.replace(base, metric=metric, scorer=run_words(scorer))
    metric = said or "score"
    if wish.pattern:
        if not _has_one_group(wish.pattern):
            raise BadInput(f"--pattern is {wish.pattern!r}: use a regular expression with one group around the number")
        return msgspec.structs.replace(base, metric=metric, pattern=wish.pattern)
    number = _number_of(metric, numbers)
    if number is None:
        metric = printed(metric)
        number = _number_of(metric, numbers)
    if number is None:
        return msgspec.structs.replace(base, metric=metric, pattern=named_pattern(metric))
    if number.key and number.file in words and all(name.endswith(_SETTINGS) for name in editable):
        last = max((each.line for each in numbers if each.file == number.file), default=0)
        if number.line == last and number.file.endswith(".py"):
            return msgspec.structs.replace(base, metric=number.key, run=("true",), scorer=words)
    line = view.text(number.file).splitlines()[number.line - 1]
    if re.search(r"stderr|\bcerr\b|\beprintln!|console\.error|\blogg(?:er|ing)\.", line):  # scores are read from stdout
        words = ("sh", "-c", f"{shown_command(words)} 2>&1")
    return msgspec.structs.replace(base, metric=number.name, pattern=number.pattern, run=words)


def _asking(view: FolderView, plan: ArenaPlan, words: tuple[str, ...]) -> ArenaPlan:
    """Return the plan of a program that asks models: it scores, since trials have no network, through a proxy."""
    if plan.file or not all(name.endswith(_SETTINGS) for name in plan.editable):
        return plan
    asked = asked_models(map(view.text, files_run(view, words)))
    if not asked:
        return plan
    return msgspec.structs.replace(plan, run=("true",), scorer=plan.scorer or plan.run, asked=asked)


def _is_read(command: str) -> bool:
    try:
        return bool(run_words(command))
    except ValueError:
        return False


def _number_of(metric: str, numbers: tuple[PrintedNumber, ...]) -> PrintedNumber | None:
    return next((each for each in numbers if each.name.lower() == metric.lower() or each.key == metric), None)


def _has_one_group(pattern: str) -> bool:
    try:
        return re.compile(pattern).groups == 1
    except (re.error, RecursionError, OverflowError):
        return False


def _direction(view: FolderView, metric: str, answer: Callable[..., str]) -> Direction:
    way, _ = guess_direction(view, metric)
    default = "" if way is None else "lower" if way == "minimize" else "higher"
    given = answer(f"   Is a lower or a higher {metric} better?", default, "--direction min or --direction max")
    if given.lower() not in _WAYS:
        raise BadInput(f"the direction is {given!r}: use lower or higher")
    return _WAYS[given.lower()]


def _sentence(question: str) -> str:
    """Return a question as the reason of a refusal."""
    asked = question.strip()
    for begin, reason in (
        ("1.", "it is not clear which files may change"),
        ("2.", "it is not clear how it is run"),
        ("3.", "it is not clear which number is the score"),
        ("Is a", "it is not clear whether lower or higher is better"),
        ("What is its", "it is not clear what the score program calls its number"),
    ):
        if asked.startswith(begin):
            return reason
    return asked


def _budget(view: FolderView, files: tuple[str, ...]) -> float:
    """Return the seconds that the sources or the notes give a run, else a default."""
    for name in (*files, *(name for name in AGENT_NOTES if name in view.names)):
        text = view.text(name)
        if found := re.search(_BUDGET, text, re.M):
            seconds = float(found[1])
            return seconds if 0 < seconds <= 86_400 else USUAL_BUDGET_S
    return USUAL_BUDGET_S


def _environment(view: FolderView, wish: InitWish, ask: AskPerson | None) -> tuple[str, str] | tuple[()]:
    """Return key and value of `[environment]`: the one that was named, else that of the folder if the user agrees."""
    if wish.environment == "none":
        return ()
    if wish.environment:
        key = "requirements" if wish.environment.endswith((".txt", ".in")) else "python"
        return ("lock" if wish.environment.endswith("uv.lock") else key), wish.environment
    sources = [view.text(name) for name in view.names if name.endswith(".py")]
    missing = missing_modules(sources, [part for name in view.names for part in (name, Path(name).name)])
    if view.environment and sources:
        try:
            version = find_interpreter(str((view.folder / view.environment).resolve())).version
        except BadInput:
            return ()
        if wish.yes or (
            ask and ask(f"   Run it in its {view.environment} (Python {version})?", "yes")[:1].lower() == "y"
        ):
            return "python", view.environment
        return ()
    if missing:
        lists = [name for name in ("uv.lock", "requirements.txt") if name in view.names]
        question = f"   It imports {', '.join(missing[:4])}. Install {lists[0]} for it?" if lists else ""
        if lists and (wish.yes or (ask and ask(question, "yes")[:1].lower() == "y")):
            return ("lock" if lists[0] == "uv.lock" else "requirements"), lists[0]
        print(
            f"mesh: it imports {', '.join(missing[:6])}, which {sys.executable} does not have: install what it needs, "
            "or name an environment with --environment",
            file=sys.stderr,
        )
    return ()


def _programs_of(view: FolderView, environment: tuple[str, str] | tuple[()]) -> str:
    """Return the folder of the programs of an environment that is there, "" for none."""
    if not environment or environment[0] != "python":
        return ""
    named = Path(environment[1]).expanduser()
    inside = view.folder / named
    try:
        return find_interpreter(str(inside.resolve()) if inside.exists() else environment[1]).programs
    except BadInput:
        return ""


def _source_of(view: FolderView) -> str:
    """Return the file, or the folder, that holds all large files and nothing that belongs to the artifact."""
    if len(view.large) == 1:
        return view.large[0]
    tops = {name.partition("/")[0] for name in view.large if "/" in name}
    if len(tops) == 1 and all("/" in name for name in view.large):
        (top,) = tops
        if not any(name.startswith(f"{top}/") for name in view.names):
            return top
    return ""

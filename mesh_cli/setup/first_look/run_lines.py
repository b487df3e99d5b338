"""The ways to run a folder: what its notes, Makefile and package.json say, and the usual names of programs. Pure."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import PurePosixPath

import msgspec

from mesh_cli.setup.first_look.folder_view import FolderView

AGENT_NOTES = ("program.md", "AGENTS.md", "CLAUDE.md", "GEMINI.md", ".github/copilot-instructions.md")
"""Files with words for agents, the first of them first."""
_READMES = ("README.md", "readme.md", "README.rst", "README.txt", "README")
SCORER = re.compile(
    r"(?:^|/)(?:score|scorer|eval|evaluate|evaluation|grade|grader|judge|bench|benchmark|measure|metric|check)"
    r"(?:[_-][\w-]*|s|ing)?\.\w+$|[_-](?:score|scorer|eval|bench|benchmark)\.\w+$",
    re.IGNORECASE,
)
"""Names of programs that measure something else than themselves."""
COMPILED = (".c", ".cc", ".cpp", ".cxx", ".cu", ".h", ".hpp", ".rs", ".go", ".zig", ".f90", ".java")
"""Suffixes of sources that a build turns into a program."""
_RUNNERS = {".py": ("python",), ".js": ("node",), ".mjs": ("node",), ".cjs": ("node",), ".R": ("Rscript",),
            ".r": ("Rscript",), ".jl": ("julia",), ".rb": ("ruby",), ".pl": ("perl",), ".lua": ("lua",),
            ".php": ("php",), ".sh": ("bash",)}  # fmt: skip
_START = re.compile(
    r"(?:uv +run|poetry +run|pdm +run|python[\d.]*|make|bash|sh|node|npm +run|cargo +(?:run|bench)|go +run|"
    r"Rscript|julia|ruby|perl|php|lua|\./[\w./-]+)(?= |$)"
)
_NO_RUN = re.compile(
    r"\b(?:pip|venv|install|pytest|unittest|sync|download|prepare|setup|lint|format|clean|docker|mypy|ruff|--help|-h|"
    r"clone|jupyter|tensorboard|serve|server|http\.server|runserver|test)\b|[<>{}$…]|\.\.\."
)
_TELLING = re.compile(r"bench|score|eval|measure", re.I)
_TARGETS = ("score", "bench", "benchmark", "evaluate", "eval", "measure", "perf", "time", "run", "train", "start")
_MAINS = ("train", "main", "run", "solve", "solution", "model", "app", "experiment", "forecast", "simulate", "search")


class RunLine(msgspec.Struct, frozen=True):
    """A way to run a folder: the command, the files that it runs, where it was found, and how likely it is meant."""

    words: tuple[str, ...]
    files: tuple[str, ...]
    where: str
    weight: int


def run_lines(view: FolderView) -> list[RunLine]:
    """Return the ways to run a folder, the likeliest first."""
    found = [*_from_notes(view), *_from_makefile(view), *_from_package(view), *_from_names(view)]
    best: dict[tuple[str, ...], RunLine] = {}
    for line in found:
        if line.words not in best or best[line.words].weight < line.weight:
            best[line.words] = line
    return sorted(best.values(), key=lambda line: -line.weight)


def run_words(text: str) -> tuple[str, ...]:
    """Return the command that a person typed as a list: by a shell where it needs one.

    Raises:
        ValueError: its quotes do not match.
    """
    text = text.strip()
    if re.search(r"[|&;<>$`*]", text) or re.match(r"\w+=", text):
        return ("sh", "-c", text)
    words = shlex.split(text)
    if words and re.fullmatch(r"python3(\.\d+)?", words[0]):
        words[0] = "python"
    if words and "/" in words[0] and not words[0].startswith("/"):
        runner = _RUNNERS.get(PurePosixPath(words[0]).suffix)
        return (*runner, words[0].removeprefix("./"), *words[1:]) if runner else ("sh", "-c", shlex.join(words))
    return tuple(words)


def shown_command(words: tuple[str, ...]) -> str:
    """Return a command as a person types it."""
    return words[2] if words[:2] == ("sh", "-c") and len(words) == 3 else shlex.join(words)


def files_run(view: FolderView, words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the files of the folder that a command runs: those that it names, or what a build makes its program of."""
    if words[:1] == ("make",) or words[:2] == ("sh", "-c") or words[:1] in (("cargo",), ("go",)):
        text = " ".join(words)
        if words[:1] == ("make",) or "make" in text:
            text += "\n" + _recipes(view, [word for word in words[1:] if not word.startswith("-")])
        named = [name for name in view.names if re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w-])", text)]
        is_built = words[:1] in (("cargo",), ("go",)) or re.search(r"\./|\bcc\b|gcc|clang|\$\(CC\)|rustc|g\+\+", text)
        built = [name for name in view.names if name.endswith(COMPILED)] if is_built or not named else []
        return tuple(dict.fromkeys([*named, *built]))
    found = []
    for at, word in enumerate(words):
        if name := view.known(word.removeprefix("./")):
            found.append(name)
        elif at and words[at - 1] == "-m":
            module = word.replace(".", "/")
            found += [name for name in (f"{module}.py", f"{module}/__main__.py", f"src/{module}/__main__.py")
                      if name in view.names]  # fmt: skip
    return tuple(found)


def _from_notes(view: FolderView) -> Iterator[RunLine]:
    for names, weight in ((AGENT_NOTES, 50), (_READMES, 40)):
        for name in names:
            text = view.text(name) if name in view.names else ""
            for number, said in _commands_in(text):
                try:
                    words = run_words(said)
                except ValueError:
                    continue
                while words and words[0] in ("uv", "poetry", "pdm") and words[1:2] == ("run",):
                    words = words[2:]
                    while words and words[0].startswith("-"):
                        words = words[1:]
                    words = ("python", *words) if words and words[0].endswith(".py") else words
                files = files_run(view, words)
                if not words or not files or any(word.endswith((".txt", ".md")) for word in files[:1]):
                    continue
                yield RunLine(words, files, f"{name} line {number}", weight + 8 * bool(_TELLING.search(said)))


def _commands_in(text: str) -> Iterator[tuple[int, str]]:
    """Yield the commands of notes with their lines: in blocks of code, behind `$`, and in backticks."""
    in_block = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_block = not in_block
            continue
        told = [line.strip()] if in_block or re.match(r"\s{4}\S|\s*\$ ", line) else re.findall(r"`([^`\n]+)`", line)
        for said in told:
            plain = re.split(r"\s+(?:[12&]?>+|\||&&|#)|;", said.removeprefix("$ ").strip())[0].strip()
            if _START.match(plain) and not _NO_RUN.search(plain):
                yield number, plain


def _makefile(view: FolderView) -> str:
    return next((name for name in ("Makefile", "makefile", "GNUmakefile") if name in view.names), "")


def _rules(view: FolderView) -> dict[str, tuple[int, str, str]]:
    """Return the targets of a Makefile: their line, what they need and their recipe, with variables filled in."""
    text = view.text(_makefile(view)) if _makefile(view) else ""
    values = dict(re.findall(r"^(\w+)\s*[:?]?=\s*(.*?)\s*(?:#.*)?$", text, re.M))
    rules: dict[str, tuple[int, str, str]] = {}
    current: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        for _ in range(3):
            line = re.sub(r"\$[({](\w+)[)}]", lambda match: values.get(match[1], match[0]), line)
        rule = re.match(r"([\w./ -]+?)\s*:(?!=)\s*([^=#]*)(?:#.*)?$", line)
        if rule and not line.startswith((".", "\t")):
            current = rule[1].split()
            for name in current:
                rules.setdefault(name, (number, rule[2], ""))
        elif line.startswith("\t"):
            for name in current:
                begun, needs, recipe = rules[name]
                rules[name] = (begun, needs, f"{recipe}{line.strip().lstrip('@-')}\n")
    return rules


def _recipes(view: FolderView, targets: list[str]) -> str:
    """Return what make does for some targets, and for all that they need."""
    rules, todo, done = _rules(view), list(targets), dict[str, str]()
    todo = todo or list(rules)[:1]
    while todo:
        name = todo.pop()
        if name in rules and name not in done:
            _, needs, recipe = rules[name]
            done[name] = f"{needs}\n{recipe}"
            todo += needs.split()
    return "\n".join(done.values())


def _from_makefile(view: FolderView) -> Iterator[RunLine]:
    rules, file = _rules(view), _makefile(view)
    targets = [*_TARGETS, *(name for name in rules if name not in _TARGETS and _TELLING.search(name))]
    for place, target in enumerate(targets):
        if target in rules and rules[target][2] and not _only_builds(rules[target][2]):
            words = ("make", "-s", target)
            yield RunLine(words, files_run(view, words), f"{file} line {rules[target][0]}", 48 - place)
    first = next(iter(rules), "")
    made = [
        (name.replace("$@", target), at, "" if target == first or first == "all" else f" {target}")
        for target, (at, _, recipe) in rules.items()
        for name in re.findall(r"-o\s+(\$@|[\w./-]+)(?:\s|$)", recipe)
        if not name.replace("$@", target).endswith((".o", ".so"))
    ]
    for name, at, target in made[:3]:
        line = f"make -s{target} && ./{name}"
        yield RunLine(("sh", "-c", line), files_run(view, ("sh", "-c", line)), f"{file} line {at}",
                      36 + 4 * bool(_TELLING.search(name)))  # fmt: skip


def _only_builds(recipe: str) -> bool:
    """Tell whether all that a recipe does is to compile and to copy."""
    return all(
        re.match(
            r"(?:[\w./-]*(?:cc|gcc|g\+\+|clang|clang\+\+|c\+\+|nvcc|rustc|ld|ar)|mkdir|cp|rm|echo|strip)\b|\$", line
        )
        or re.search(r"\s-o\s", line)
        for line in recipe.strip().splitlines()
    )


def _from_package(view: FolderView) -> Iterator[RunLine]:
    try:
        scripts = json.loads(view.text("package.json") or "{}").get("scripts", {})
    except (ValueError, AttributeError):
        return
    for place, name in enumerate(("score", "bench", "benchmark", "eval", "evaluate", "start")):
        script = scripts.get(name) if isinstance(scripts, dict) else None
        if isinstance(script, str):
            words = tuple(script.split()) if re.fullmatch(r"node [\w./ =-]+", script) else ("npm", "run", "-s", name)
            files = files_run(view, tuple(script.replace("&&", " ").split()))
            yield RunLine(words, files, f"package.json, script {name}", 46 - 2 * place)


def _from_names(view: FolderView) -> Iterator[RunLine]:
    if "Cargo.toml" in view.names:
        words: tuple[str, ...] = ("cargo", "run", "--release", "--quiet", "--offline")
        yield RunLine(words, files_run(view, words), "Cargo.toml", 34)
    if "go.mod" in view.names:
        yield RunLine(("go", "run", "."), files_run(view, ("go", "run", ".")), "go.mod", 34)
    top = [name for name in view.names if name.count("/") <= 1]
    programs = [name for name in top if PurePosixPath(name).suffix in _RUNNERS]
    for name in programs:
        path, text = PurePosixPath(name), view.text(name)
        if re.match(r"(?:test_|conftest|setup\.py$|__init__|prepare|download|get_data)", path.name) or not text:
            continue
        weight = 12 - 4 * name.count("/")
        if SCORER.search(name):
            weight += 22
        elif path.stem.lower() in _MAINS:
            weight += 18
        weight += 6 * ("__main__" in text or text.startswith("#!")) + 8 * (len(programs) == 1)
        yield RunLine((*_RUNNERS[path.suffix], name), (name,), name, weight)
    sources = [name for name in top if name.endswith((".c", ".cc", ".cpp", ".rs"))]
    if not _makefile(view) and "Cargo.toml" not in view.names and "CMakeLists.txt" not in view.names and sources:
        compiler = {".c": "cc -O2", ".rs": "rustc -O"}.get(PurePosixPath(sources[0]).suffix, "c++ -O2")
        libraries = " -lm" if compiler.startswith("c") else ""
        line = f"{compiler} {' '.join(sources)} -o program{libraries} && ./program"
        yield RunLine(("sh", "-c", line), tuple(sources), "its sources", 26)

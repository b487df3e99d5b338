"""One name for one thing: no public name means two things in two modules, and no module is long."""

import ast
import statistics
import subprocess
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("mesh", "agents", "gpu_worker", "analytics", "gateway", "mesh_client", "mesh_cli")

SAME_MEANING = {
    "main": "the entry point of a program",
    "connect": "opens what the caller then uses: a server, an arena",
    "encode": "a message of a protocol as bytes",
    "leaderboard": "what the swarm found, the best first",
    "lineage": "the proposals that others came from",
    "render": "a generated page of the reference",
    "restrict": "one layer of the sandbox, put upon the calling process",
    "UNDECIDED": "proposals of one proposer that may wait for a result",
}
"""Names that several modules define because they mean the same there."""

TYPED = Path("mesh_cli/commands")
"""Functions in it are named after the command that is typed, whatever else has that name."""

LONGEST, MEDIAN = 400, 120
"""Lines of a module at most, and of half of all modules."""


def sources(*folders: str) -> list[Path]:
    """The Python files that git knows of or would add, of these folders."""
    found = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *(f"{folder}/*.py" for folder in folders)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [Path(line) for line in found.stdout.splitlines() if (ROOT / line).exists()]


def public_names(source: str) -> set[str]:
    """Functions, classes and constants of a module that another one may import."""
    names: set[str] = set()
    for statement in ast.parse(source).body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def test_no_public_name_is_defined_in_two_modules_with_two_meanings() -> None:
    where = defaultdict(set)
    for path in sources(*PACKAGES):
        if not path.is_relative_to(TYPED):
            for name in public_names((ROOT / path).read_text()):
                where[name].add(str(path))
    twice = {name: sorted(paths) for name, paths in where.items() if len(paths) > 1 and name not in SAME_MEANING}
    assert twice == {}, "rename one, make it private (_NAME), or say in SAME_MEANING what both mean"
    assert [name for name in SAME_MEANING if len(where[name]) < 2] == []


def test_no_module_is_longer_than_400_lines_and_half_of_them_have_at_most_120() -> None:
    modules = [path for path in sources(*PACKAGES, "tests", "benchmarks", "arenas") if "tasks" not in path.parts]
    lines = {str(path): len((ROOT / path).read_text().splitlines()) for path in modules}
    assert {path: count for path, count in lines.items() if count > LONGEST} == {}
    assert statistics.median(lines.values()) <= MEDIAN


BY_NAME = {"mesh/agent/roles.py": "finds the role that a command line names"}
"""Modules of the core that find a module above the core by its name, which import contracts cannot see."""


def texts_with_modules_above(source: str) -> list[str]:
    """Texts that begin with the name of a module above the core, such as "agents.explorer"."""
    above = tuple(f"{package}." for package in PACKAGES[1:])
    texts = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return [text for text in texts if isinstance(text, str) and text.startswith(above)]


def test_the_core_imports_nothing_above_it_by_name_either() -> None:
    assert texts_with_modules_above('import_module("agents.search.strategy")') == ["agents.search.strategy"]
    found = [str(path) for path in sources("mesh") if texts_with_modules_above((ROOT / path).read_text())]
    assert found == [*BY_NAME]

"""The commands of the README, where nothing is installed yet: what `make` would run is right, with uv and without."""

import ast
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("uv", ["", "/somewhere/uv"])
@pytest.mark.parametrize(
    ("words", "extras"),
    [
        ("setup", "dev"),
        ("demo", "server,analytics,arenas,search,worker"),
        ("demo ARENA=digits", "server,analytics,arenas,search"),
    ],
)
def test_a_fresh_clone_installs_what_the_command_needs(tmp_path: Path, words: str, extras: str, uv: str) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    make = ["make", "-n", *words.split(), f"UV={uv}"]
    told = subprocess.run(make, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True).stdout
    subprocess.run(["sh", "-n"], input=told, text=True, timeout=300, check=True)
    wanted = re.findall(r"-e '\.\[(.*?)\]'", told)
    assert wanted == [extras] * (2 if uv else 1)
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras.split(",")) <= known.keys()


def test_every_test_is_run_once_by_one_of_the_three_commands() -> None:
    told = subprocess.run(
        ["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=True
    ).stdout
    commands = re.findall(r"\brun (.*?)(?: &&|$)", told, re.MULTILINE)
    chosen = [re.findall(r"-m ('.*?'|\w+)(.*)", command) for command in commands]
    assert [words for [(words, _)] in chosen] == ["'not serial and not greedy'", "greedy", "serial"]
    for [(marker, files)] in chosen[1:]:  # a stage collects the files that name its marker, and no others
        listed = subprocess.run(["sh", "-c", f"echo {files}"], cwd=ROOT, capture_output=True, text=True, check=True)
        marked = {str(path.relative_to(ROOT)) for path in (ROOT / "tests").glob("test_*.py") if _has(path, marker)}
        assert set(listed.stdout.split()) == marked


def _has(path: Path, marker: str) -> bool:
    """Whether a file of tests has a mark of this name on a test, a parameter or all of its tests."""
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    return any(isinstance(node, ast.Attribute) and ast.unparse(node) == f"pytest.mark.{marker}" for node in nodes)

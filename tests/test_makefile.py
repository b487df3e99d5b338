"""The commands of the README, where nothing is installed yet: what `make` would run is right, with uv and without."""

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
        ("demo", "server,analytics,arenas,worker"),
        ("demo ARENA=digits", "server,analytics,arenas"),
    ],
)
def test_a_fresh_clone_installs_what_the_command_needs(tmp_path: Path, words: str, extras: str, uv: str) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    make = ["make", "-n", *words.split(), f"UV={uv}"]
    told = subprocess.run(make, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True).stdout
    subprocess.run(["sh", "-n"], input=told, text=True, timeout=60, check=True)
    wanted = re.findall(r"-e '\.\[(.*?)\]'", told)
    assert wanted == [extras] * (2 if uv else 1)
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras.split(",")) <= known.keys()

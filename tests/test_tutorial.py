"""The tutorial is true: its files and commands, taken from the page, run against a real swarm and say what it shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
MINUTES = 0.25


@pytest.mark.timeout(180)
def test_the_tutorial_runs_as_it_is_written(tmp_path: Path) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, words in {"python": "", "mesh": " -P -m mesh_cli"}.items():
        (bin_folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
        (bin_folder / name).chmod(0o755)
    env = {k: v for k, v in os.environ.items() if not k.startswith("MESH_")}
    env |= {"PATH": f"{bin_folder}:{env['PATH']}", "MESH_HOME": str(tmp_path / "home"), "COLUMNS": "120"}
    here, said = tmp_path, ""
    for kind, title, text in BLOCKS:
        if title:
            (tmp_path / title).write_text(text)
        elif kind == "bash":
            script = text.replace("--minutes 1", f"--minutes {MINUTES}") + "\npwd > $OLDPWD_FILE\n"
            command = ["bash", "-euc", script]
            done = subprocess.run(
                command,
                cwd=here,
                env={**env, "OLDPWD_FILE": str(tmp_path / "pwd")},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
            here, said = Path((tmp_path / "pwd").read_text().strip()), done.stdout + done.stderr
        else:
            assert _shape(text) & _shape(said) == _shape(text), f"the page shows\n{text}\nbut it is\n{said[-2000:]}"
    assert (tmp_path / "winner" / ".git").is_dir()


def test_the_tutorial_has_every_step() -> None:
    assert {title for _, title, _ in BLOCKS if title} == {f"demand/{name}" for name in FILES}
    commands = "".join(text for kind, _, text in BLOCKS if kind == "bash")
    assert [
        word for word in ("mesh up", "mesh leaderboard", "mesh sql", "mesh git export") if word not in commands
    ] == []


FILES = ("forecast.py", "prepare.py", "score.py", "arena.toml")


def _shape(text: str) -> set[str]:
    """The first words of lines that are the same in every run: column heads, labels, names of knobs."""
    first = (re.match(r"\s*([a-zA-Z_]+\b)", line) for line in text.splitlines())
    return {match[1] for match in first if match and not re.fullmatch(r"[0-9a-f]{8,}\S*", match[1])}

"""Shells complete the commands: the scripts parse, and bash really offers what it should."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.test_cli import COMMANDS, Mesh, mesh

__all__ = ["mesh"]

ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}
set -- $(complete -p mesh); while [ "$1" != -F ]; do shift; done
"$2" mesh
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_every_shell_parses(shell: str, mesh: Mesh, tmp_path: Path) -> None:
    done = mesh("completion", shell)
    assert (done.code, done.err) == (0, "")
    for words in COMMANDS:
        assert words[-1] in done.out
    script = tmp_path / "script"
    script.write_text(done.out)
    if program := shutil.which(shell):
        checked = subprocess.run([program, "-n", str(script)], capture_output=True, timeout=200, check=False)
        assert (checked.returncode, checked.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["le"], {"leaderboard", "leaves"}),
        (["lin"], {"lineage"}),
        (["context", "re"], {"remove"}),
        (["lineage", "--do"], {"--dot", "--down"}),
        (["completion", "z"], {"zsh"}),
        (["up", "--device", "cu"], {"cuda"}),
    ],
)
def test_bash_offers_what_can_follow(words: list[str], offered: set[str], mesh: Mesh, tmp_path: Path) -> None:
    script = tmp_path / "mesh.bash"
    script.write_text(mesh("completion", "bash").out)
    command = ["bash", "--norc", "-c", ASK, "bash", str(script), "mesh", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
    assert done.stderr == ""
    assert {word.strip() for word in done.stdout.split()} == offered

"""How roles are found by name, and the command that runs them."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from agents.critic import Critic
from agents.curator import Curator
from agents.explorer import Explorer
from mesh.agent.protocol import Agent, Context
from mesh.agent.roles import SHORT_NAMES, find_role
from mesh.board import Board
from mesh.code import CodeStore
from mesh.errors import BadInput, MeshError, UnknownName
from mesh.events import AnyEvent
from mesh.memory import MemoryBus
from mesh.wire import Post


@pytest.mark.parametrize(
    ("short", "spelled", "role"),
    [
        ("explorer", "agents.explorer:Explorer", Explorer),
        ("critic", "agents.critic:Critic", Critic),
        ("curator", "agents.curator:Curator", Curator),
    ],
)
def test_short_names_and_spelled_names_lead_to_the_same_role(short: str, spelled: str, role: type[Agent]) -> None:
    assert find_role(short) is find_role(spelled) is role


class Deaf:
    listens: ClassVar[tuple[str, ...]] = ("run.ended",)
    only_latest: ClassVar[bool] = False

    async def handle(self, post: Post, board: Board) -> Sequence[AnyEvent]:
        return []


ROLES = f"it is one of {', '.join(SHORT_NAMES)}"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nonsense", f"there is no role 'nonsense': {ROLES}"),
        ("", f"there is no role '': {ROLES}"),
        (":Class", f"there is no role ':Class': {ROLES}"),
        ("module:", f"there is no role 'module:': {ROLES}"),
        (".module:Class", f"there is no role '.module:Class': {ROLES}"),
        ("no_such_pkg.mod:Class", "role 'no_such_pkg.mod:Class': there is no module 'no_such_pkg'"),
        ("agents.explorer:Nobody", "role 'agents.explorer:Nobody': module agents.explorer has no class 'Nobody'"),
        ("pathlib:Path", "role 'pathlib:Path' is no agent: Path has no 'listens'"),
        ("tests.test_roles:Deaf", "role 'tests.test_roles:Deaf' listens to 'run.ended', which is no fact: one of"),
    ],
)
def test_a_role_that_cannot_be_had_is_refused_in_one_sentence(name: str, sentence: str) -> None:
    with pytest.raises(UnknownName) as refused:
        find_role(name)
    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)


def test_a_module_that_cannot_be_imported_is_named_with_its_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_role.py").write_text("import os\nos.nothing\n")
    with pytest.raises(BadInput, match=r"module broken_role cannot be imported: AttributeError: .*'nothing'"):
        find_role("broken_role:Role")


async def test_an_option_that_a_role_does_not_know_is_refused(tmp_path: Path) -> None:
    code = CodeStore(tmp_path / "code.git", MemoryBus("a"))
    with pytest.raises(MeshError, match=r"sampler=magic is unknown: it is one of mutate, random, crossover"):
        Explorer(Context("ann", 0, code, {"sampler": "magic"}))


def agent_command(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"MESH_HOME": str(home)}
    environment.pop("MESH_NATS", None)
    command = [sys.executable, "-m", "mesh.agent", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nonsense", "--arena", "x"], f"nonsense: there is no role 'nonsense': {ROLES}, or module:Class\n"),
        (["critic", "--arena", "x", "--option", "loud"], "critic: --option 'loud' is not KEY=VALUE\n"),
        (["critic", "--arena", "x", "--name", "a.b"], "a.b: name 'a.b' may only hold letters, digits, '_' and '-'"),
    ],
)
def test_a_command_that_cannot_run_ends_with_one_sentence(tmp_path: Path, words: list[str], sentence: str) -> None:
    done = agent_command(tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1


def test_without_a_server_the_command_says_what_to_do(tmp_path: Path) -> None:
    done = agent_command(tmp_path, "critic", "--arena", "x")
    assert done.returncode not in (0, 1)
    assert done.stderr.startswith("critic: ")
    assert done.stderr.count("\n") == 1


def test_help_shows_examples(tmp_path: Path) -> None:
    done = agent_command(tmp_path, "--help")
    assert done.returncode == 0
    assert "  python -m mesh.agent explorer --arena nanolm --count 4\n" in done.stdout
    assert "  python -m mesh.agent my_pkg.mod:Role --arena nanolm" in done.stdout

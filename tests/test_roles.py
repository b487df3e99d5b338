"""How roles are found by name, and the command that runs them."""

import datetime as dt
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
from mesh.agent.code_reader import CodeReader
from mesh.agent.protocol import Agent, Context, role_of
from mesh.agent.roles import SHORT_NAMES, find_role, make
from mesh.board import Board
from mesh.code import CodeStore
from mesh.errors import BadInput, MeshError
from mesh.events import AgentJoined, AgentLeft, AnyEvent
from mesh.fleet import agents_here
from mesh.memory import MemoryBus
from mesh.testing import given
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


class Sound:
    listens: ClassVar[tuple[str, ...]] = ("run.finished",)

    async def handle(self, post: Post, board: Board) -> Sequence[AnyEvent]:
        return []


class Deaf(Sound):
    listens: ClassVar[tuple[str, ...]] = ("run.ended",)


class Spelled(Sound):
    listens: ClassVar[str] = "run.finished"  # type: ignore[assignment]


class Mute:
    listens = ("run.finished",)


class Sync(Sound):
    def handle(self, post: Post, board: Board) -> Sequence[AnyEvent]:  # type: ignore[override]
        return []


class Narrow(Sound):
    async def handle(self, post: Post) -> Sequence[AnyEvent]:  # type: ignore[override]
        return []


class Timeless(Sound):
    def __init__(self, context: Context) -> None:
        self.context = context

    async def tick(self, now: dt.datetime, board: Board) -> Sequence[AnyEvent]:
        return []


class Hasty(Timeless):
    every_s: ClassVar[float] = 0


class Lone(Sound):
    pass


class Greedy(Sound):
    def __init__(self, context: Context, rate: float) -> None:
        self.rate = rate


class Odd(Timeless):
    role: ClassVar[str] = "two words"
    every_s: ClassVar[float] = 1.0


def function(context: Context) -> Sound:
    return Sound()


ROLES = f"use {', '.join(SHORT_NAMES)}, or your own as module:Class"
HERE = "tests.test_roles"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nonsense", f"there is no role 'nonsense': {ROLES}"),
        ("", f"there is no role '': {ROLES}"),
        (":Class", "role ':Class' is not module:Class; write it like my_package.my_module:MyClass"),
        ("module:", "role 'module:' is not module:Class; write it like my_package.my_module:MyClass"),
        (".module:Class", "role '.module:Class' is not module:Class; write it like my_package.my_module:MyClass"),
        ("my/role.py:R", "role 'my/role.py:R' names a file; use the module instead, such as my.role:R"),
        ("no_such_pkg.mod:Class", "role 'no_such_pkg.mod:Class': there is no module 'no_such_pkg'"),
        (
            "agents.explorer:Nobody",
            "role 'agents.explorer:Nobody': module agents.explorer has no class 'Nobody'",
        ),
        (
            "pathlib:Path",
            "role 'pathlib:Path' is not a valid role: Path has no 'listens'; set it to the kinds of facts",
        ),
        (f"{HERE}:Mute", "Mute has no 'handle'; write `async def handle(self, post, board)`"),
        (f"{HERE}:function", f"role '{HERE}:function' is of type function; use a class"),
        (f"{HERE}:Deaf", "Deaf.listens names 'run.ended', which is not a kind of fact; use some of arena.opened, "),
        (f"{HERE}:Spelled", "Spelled.listens is 'run.finished'; use a tuple of kinds, such as ('run.finished',)"),
        (f"{HERE}:Sync", "Sync.handle is not an async function; write `async def handle(self, post, board)`"),
        (
            f"{HERE}:Narrow",
            "Narrow.handle cannot be called with post, board: too many positional arguments; "
            "write `async def handle(self, post, board)`",
        ),
        (f"{HERE}:Timeless", "Timeless has 'tick' but no 'every_s'; set the seconds between two ticks"),
        (f"{HERE}:Hasty", "Hasty.every_s is 0; use seconds above 0"),
        (
            f"{HERE}:Lone",
            "Lone(context): too many positional arguments; write `def __init__(self, context)`",
        ),
        (
            f"{HERE}:Greedy",
            "Greedy(context): missing a required argument: 'rate'; write `def __init__(self, context)`",
        ),
        (f"{HERE}:Odd", "Odd.role is 'two words'; use 1 to 128 letters, digits, '_' and '-'"),
    ],
)
def test_a_role_that_cannot_be_had_is_refused_in_one_sentence(name: str, sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        find_role(name)
    assert sentence in str(refused.value)
    assert str(refused.value).startswith(("role ", "there is no role "))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import os\nos.nothing\n", "AttributeError: module 'os' has no attribute 'nothing' (broken_role.py, line 2)"),
        ("import no_such_package\n", "ModuleNotFoundError: No module named 'no_such_package' (broken_role.py, line 1)"),
        ("raise SystemExit(0)\n", "SystemExit: 0 (broken_role.py, line 1)"),
        ("class Role\n", "SyntaxError: expected ':' (broken_role.py, line 1)"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_its_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, sentence: str
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_role.py").write_text(source)
    with pytest.raises(BadInput) as refused:
        find_role("broken_role:Role")
    assert str(refused.value).endswith(f"module broken_role cannot be imported: {sentence}")
    assert "\n" not in str(refused.value)


def test_a_constructor_that_raises_is_one_sentence_and_its_own_refusal_stands_alone(tmp_path: Path) -> None:
    context = Context("ann", 0, CodeReader(CodeStore(tmp_path / "code.git", MemoryBus("a"))))

    class Raises(Sound):
        def __init__(self, context: Context) -> None:
            raise KeyError("rate")

    class Refuses(Sound):
        def __init__(self, context: Context) -> None:
            raise BadInput("option rate is missing; give --option rate=0.5")

    with pytest.raises(BadInput, match=r"^role 'm:R' cannot be made: Raises\(context\) raised KeyError: 'rate' "):
        make("role", "m:R", Raises, context=context)
    with pytest.raises(BadInput, match=r"^option rate is missing; give --option rate=0.5$"):
        make("role", "m:R", Refuses, context=context)


def test_a_role_is_what_it_declares_else_the_name_of_its_class() -> None:
    assert [role_of(role) for role in (Explorer, Critic, Curator, Sound, Odd)] == [
        "explorer",
        "critic",
        "curator",
        "sound",
        "two words",
    ]


def test_who_declares_a_role_of_ours_counts_like_ours() -> None:
    joined = [("eve", AgentJoined(boot="1", role="critic")), ("bob", AgentJoined(boot="2", role="explorer"))]
    board = given(*joined, ("dan", AgentJoined(boot="3", role="halver")), ("eve", AgentLeft(boot="1")))
    assert {role: list(agents_here(board, role)) for role in ("critic", "explorer", "halver")} == {
        "critic": [],
        "explorer": ["bob"],
        "halver": ["dan"],
    }


async def test_an_option_that_a_role_does_not_know_is_refused(tmp_path: Path) -> None:
    code = CodeStore(tmp_path / "code.git", MemoryBus("a"))
    with pytest.raises(MeshError, match=r"sampler=magic is not a known sampler; use mutate, random, crossover"):
        Explorer(Context("ann", 0, CodeReader(code), {"sampler": "magic"}))


def agent_command(home: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"MESH_HOME": str(home)} | variables
    environment.pop("MESH_NATS", None)
    command = [sys.executable, "-m", "mesh.agent", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nonsense", "--arena", "x"], f"nonsense: there is no role 'nonsense': {ROLES}\n"),
        (
            ["coder", "--check"],
            "coder: a coder needs a coding agent; give --command claude, or the command line of any other\n",
        ),
        (["critic", "--arena", "x", "--option", "loud"], "critic: --option is 'loud'; use KEY=VALUE\n"),
        (["critic", "--arena", "x", "--name", "a.b"], "a.b: name is 'a.b'; use 1 to 128 letters, digits, '_' and '-'"),
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


THREADS = """
import os


class Role:
    listens = ("run.finished",)

    def __init__(self, context):
        print(os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"], os.environ["MKL_NUM_THREADS"])

    async def handle(self, post, board):
        return []
"""


def test_numeric_libraries_of_agents_have_one_thread_unless_the_user_says_otherwise(tmp_path: Path) -> None:
    (tmp_path / "threads.py").write_text(THREADS)
    words = ("threads:Role", "--path", str(tmp_path), "--arena", "x", "--check")
    assert agent_command(tmp_path, *words, OMP_NUM_THREADS="3").stdout == "3 1 1\n"

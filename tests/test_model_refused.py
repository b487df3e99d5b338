"""`mesh up` refuses a model that cannot run, and a swarm that can do nothing, in one sentence before anything opens."""

import os
from pathlib import Path

import anyio
import pytest

from agents.researcher import Researcher
from mesh.errors import BadInput
from mesh.testing import Arena
from tests.support.arenas import ARENA, write_arena
from tests.support.model_server import Reply, fail, model_server, say
from tests.test_researcher import KEY, NAME
from tests.test_up import MESH

GONE = "http://127.0.0.1:9/v1"


async def refused(folder: Path, home: Path, *words: str, env: dict[str, str] | None = None) -> str:
    """Run `mesh up`; return its one sentence."""
    with anyio.fail_after(200):
        done = await anyio.run_process([*MESH, "up", str(folder), *words], check=False, env=env)
    said = done.stderr.decode()
    assert (done.returncode, done.stdout, said.count("\n")) == (2, b"", 1), said
    assert not (home / "server").exists()
    return said.removeprefix("mesh: ").strip()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["opnai/gpt-4o"], "model 'opnai/gpt-4o' has no known provider; write provider/name"),
        (["anthropic/claude-sonnet-4-5"], "anthropic/claude-sonnet-4-5 needs ANTHROPIC_API_KEY in the environment"),
        (["gemini/gemini-2.5-pro"], "gemini/gemini-2.5-pro needs GOOGLE_API_KEY or GEMINI_API_KEY in the environment"),
        (["openai/my-model", "--budget-usd", "5"], "the price of openai/my-model is unknown, so --budget-usd 5 cannot"),
        (
            ["openai/gpt-4o", "--api-base", GONE],
            "openai/gpt-4o costs $2.5 and $10 for a million tokens in and out",
        ),
        (["openai/my-model", "--api-base", GONE], "openai/my-model gave no answer in 5 requests: "),
    ],
)
async def test_a_model_that_cannot_run_is_refused(
    words: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    model, *rest = words
    options = {"model": model} | {
        flag[2:].replace("-", "_"): value for flag, value in zip(rest[::2], rest[1::2], strict=True)
    }
    with pytest.raises(BadInput) as error:
        await Researcher(Arena(tmp_path).context("ann", options)).check()
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (
            fail(401, f"Incorrect API key provided: {KEY}"),
            f"{NAME} refuses the key; set a valid key",
        ),
        (fail(404, "The model does not exist"), f"{NAME} is unknown to its provider; check --model and --api-base"),
        (fail(403, "no access"), f"{NAME} refuses the key, which has no access to this model"),
    ],
)
async def test_a_provider_that_refuses_is_asked_once(
    reply: Reply, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with model_server(reply, say("never")) as server:
        options = {"model": NAME, "api_base": server.url}
        with pytest.raises(BadInput) as error:
            await Researcher(Arena(tmp_path).context("ann", options)).check()
        assert len(server.asked) == 1
    assert str(error.value).startswith(sentence)
    assert KEY not in str(error.value)


@pytest.mark.parametrize("reply", [say("ready"), say("", finish="length")], ids=["answer", "thought only"])
async def test_a_model_that_answers_is_asked_one_cheap_question(reply: Reply, tmp_path: Path) -> None:
    with model_server(reply) as server:
        await Researcher(Arena(tmp_path).context("ann", {"model": NAME, "api_base": server.url})).check()
        [body] = server.asked
    assert len(str(body["messages"])) < 100


async def test_mesh_up_refuses_a_model_without_a_key(tmp_path: Path, home: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    said = await refused(
        write_arena(tmp_path / "arena"), home, "--model", "openai/gpt-4o", "--budget-usd", "1", env=env
    )
    assert said == "openai/gpt-4o needs OPENAI_API_KEY in the environment, which is not set; export it"


RULES = '{"country": "de", "words": ["a", "b"]}\n'
NO_KNOBS = [
    ("train.py", "print('x')\n"),
    ("rules.json", RULES),
    ("train.py", "def f(text):\n    return text.strip()\n"),
]


@pytest.mark.parametrize(("name", "text"), NO_KNOBS)
async def test_a_swarm_without_a_knob_or_a_model_says_so_at_once(
    name: str, text: str, tmp_path: Path, home: Path
) -> None:
    folder = write_arena(tmp_path / "arena", arena=ARENA.replace('editable = ["train.py"]', f'editable = ["{name}"]'))
    (folder / name).write_text(text)
    said = await refused(folder, home)
    assert said.startswith("arena tiny has no knobs and no model is given, so nobody can propose anything; give")


async def test_a_json_file_that_is_none_and_a_text_are_told_from_code(tmp_path: Path, home: Path) -> None:
    said = []
    for name, text in (("rules.json", '{"a": 1, oops'), ("prompt.txt", "Be kind.")):
        toml = ARENA.replace('editable = ["train.py"]', f'editable = ["{name}"]')
        folder = write_arena(tmp_path / name.partition(".")[0], arena=toml)
        (folder / name).write_text(text)
        said.append(await refused(folder, home))
    assert said[0].startswith("rules.json is not valid JSON, so it has no knobs: Expecting property name")
    assert said[1].endswith("give --model (with --api-base for a server of your own)")


async def test_knobs_that_are_all_excluded_are_none(tmp_path: Path, home: Path) -> None:
    folder = write_arena(tmp_path / "arena", arena=ARENA + '\n[knobs]\nexclude = ["*"]\n')
    assert (await refused(folder, home)).startswith("arena tiny has no knobs and no model is given")

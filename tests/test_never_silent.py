"""A model is asked continuously where explorers can propose nothing: no knobs, no new values, or none of them alive."""

import datetime as dt
import signal
from pathlib import Path

import pytest

from agents.llm.next_move import EXPLORERS_IDLE_S
from agents.researcher import Researcher
from mesh.events import AgentJoined, Origin, ProposalPosted
from mesh.testing import FILES, TRAIN, Arena, git_hash
from tests.support.arenas import TRAIN as TINY
from tests.support.arenas import write_arena
from tests.support.model_server import ModelServer, Reply, model_server, say
from tests.test_researcher import KEY, NAME
from tests.test_up import log_of, mesh_up

HEADER = "TITLE: another rate\nRATIONALE: less\nPREDICTED_GAIN: 0.1\nCONFIDENCE: 0.7"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def whole(name: str, source: str) -> Reply:
    return say(f"{HEADER}\n\nFILE: {name}\n```python\n{source.strip()}\n```\n")


def rate(number: int) -> Reply:
    return whole("train.py", TRAIN.decode().replace("LR = 1e-3", f"LR = {number / 100}"))


@pytest.fixture
def arena(tmp_path: Path) -> Arena:
    """An arena with two explorers, whose baseline has a score."""
    arena = Arena(tmp_path)
    for name in ("eve", "eva"):
        arena.add(name, AgentJoined(boot=name, role="explorer"))
    arena.propose_baseline()
    arena.score(arena.base, 10.0)
    return arena


async def asked_in(arena: Arena, server: ModelServer, names: list[str], seconds: int) -> int:
    """Let researchers live for some seconds while all that they propose is scored; return how often they asked."""
    agents = {name: Researcher(arena.context(name, {"model": NAME, "api_base": server.url})) for name in names}
    begin = arena.board.time
    for second in range(0, seconds, 5):
        for name, agent in agents.items():
            for fact in await arena.when(agent, begin + dt.timedelta(seconds=second), name=name):
                arena.add(name, fact, after_s=0.0)
                if isinstance(fact, ProposalPosted):
                    arena.score(fact.tree, 9.0)
                    arena.retire(fact.tree)
    return len(server.asked)


@pytest.mark.parametrize("names", [["ann"], ["ann", "bob", "cid"]], ids=["one", "several"])
async def test_explorers_that_propose_nothing_leave_the_whole_share_to_models(arena: Arena, names: list[str]) -> None:
    with model_server(*map(rate, range(1, 80))) as server:
        asked = await asked_in(arena, server, names, 60)
    # the first at once, then nothing for `EXPLORERS_IDLE_S`, and from there on at every tick
    assert asked >= len(names) * (60 - EXPLORERS_IDLE_S - 5) / 5


async def test_explorers_that_have_proposals_waiting_keep_their_share(arena: Arena) -> None:
    posted = ProposalPosted(tree=git_hash("s"), commit=git_hash("c"), title="s", origin=Origin(how="sampler"))
    arena.add("eve", posted)
    with model_server(*map(rate, range(1, 80))) as server:
        assert await asked_in(arena, server, ["ann"], 60) == 1


async def test_a_saturated_explorer_counts_as_none_until_it_proposes_again(arena: Arena) -> None:
    arena.propose_files(FILES | {"train.py": TRAIN.replace(b"WIDTH = 8", b"WIDTH = 9")}, author="eve")
    tree = [*arena.board.proposals][-1]
    arena.score(tree, 11.0)
    with model_server(*map(rate, range(1, 80))) as server:
        assert await asked_in(arena, server, ["ann"], 40) >= 5
        before = len(server.asked)
        posted = ProposalPosted(tree=git_hash("s"), commit=git_hash("c"), title="s", origin=Origin(how="sampler"))
        arena.add("eve", posted)
        assert await asked_in(arena, server, ["ann"], 40) == before


KNOBLESS = TINY.replace("HEIGHT = 1.0  # mesh: 0.0..2.0\n", "").replace("WIDTH = 10  # mesh: 1..1000\n", "")
KNOBLESS = KNOBLESS.replace("(HEIGHT - 0.5) ** 2 + WIDTH / 1000", "len(os.environ.get('WORDS', 'some words'))")


@pytest.mark.timeout(900)
async def test_mesh_up_asks_a_model_again_and_again_where_explorers_find_no_knobs(tmp_path: Path, home: Path) -> None:
    folder = write_arena(tmp_path / "arena", train=KNOBLESS)
    answers = [whole("train.py", KNOBLESS.replace("some words", "w" * length)) for length in range(30, 1, -1)]
    with model_server(*answers) as server:
        options = ["--model", NAME, "--api-base", server.url, "--budget-tokens", "1000000"]
        async with mesh_up(folder, "--explorers", "2", "--slots", "2", *options) as up:
            await up.says("improve: another rate", 4, within_s=300)
            assert await up.ends(signal.SIGINT) == 0
    made = [p for p in (await log_of(home)).proposals.values() if p.event.origin.how == "model"]
    assert len(made) >= 4

"""`mesh up --model`: real processes, whose researcher asks a real HTTP server through the real litellm."""

import signal
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from mesh.board import Board
from mesh.events import AgentJoined, Cost
from tests.support.arenas import TRAIN, write_arena
from tests.support.model_server import Reply, model_server, say
from tests.test_researcher import KEY, NAME
from tests.test_up import Up, log_of, mesh_up


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def whole(width: int) -> Reply:
    """A good answer: the whole file, better the less wide it is."""
    source = TRAIN.replace("WIDTH = 10", f"WIDTH = {width}").strip()
    header = "TITLE: less wide\nRATIONALE: less is less\nPREDICTED_GAIN: 0.001\nCONFIDENCE: 0.9"
    return say(f"{header}\n\nFILE: train.py\n```python\n{source}\n```\n")


def with_key(up: Up) -> list[str]:
    """The commands of the processes of a swarm that have the key in their environment, trials left out."""
    found = []
    for process in psutil.Process(up.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if KEY in process.environ().values():
                found.append(" ".join(process.cmdline()[2:5]))
    return found


async def test_a_researcher_asks_proposes_and_is_run_and_nobody_else_has_the_key(tmp_path: Path, home: Path) -> None:
    folder = write_arena(tmp_path / "arena")
    with model_server(*[whole(width) for width in range(9, 0, -1)]) as server:
        options = ["--model", NAME, "--api-base", server.url, "--budget-tokens", "1000000"]
        options += ["--option", "temperature=0.5"]
        # given no explorers, so that all that is proposed is the model's but the artifact as it is
        async with mesh_up(folder, "--explorers", "0", "--slots", "2", *options) as up:
            await up.says("improve: less wide")
            assert with_key(up) == ["-m mesh.agent researcher"]
            await up.says("finished", 4)  # three are of the baseline
            assert await up.ends(signal.SIGINT) == 0
        assert {body["temperature"] for body in server.asked[1:]} == {0.5}  # the first asks whether it can run
        asked, keys = len(server.asked), {headers["Authorization"] for headers in server.headers}
    assert keys == {f"Bearer {KEY}"}
    assert KEY not in "\n".join(up.lines)
    goes_on = next(line for line in up.lines if " up " in line and NAME in line)
    assert goes_on.endswith(f"--model {NAME} --api-base {server.url} --budget-tokens 1000000")
    board: Board = await log_of(home)
    made = [proposal for proposal in board.proposals.values() if proposal.event.origin.how == "model"]
    assert 1 <= len(made) <= asked
    assert {(p.author, p.event.origin.name, p.event.predicted_gain) for p in made} == {("researcher", NAME, 0.001)}
    assert all(p.event.cost and without_seconds(p.event.cost) == Cost(tokens_in=1000, tokens_out=100) for p in made)
    assert next(iter(board.proposals.values())).event.origin.how == "baseline"
    joined = [m.joined for m in board.agents.values() if isinstance(m.joined, AgentJoined) and m.joined.model]
    assert [(event.role, event.model) for event in joined] == [("researcher", NAME)]
    assert "explorer" not in {member.name.partition("-")[0] for member in board.agents.values()}
    # then what it proposed was run
    assert any(board.scores(p.event.tree) for p in made)


def without_seconds(cost: Cost) -> Cost:
    assert cost.seconds is not None
    return Cost(usd=cost.usd, tokens_in=cost.tokens_in, tokens_out=cost.tokens_out)

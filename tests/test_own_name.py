"""Agents without a given name return under that of those that were killed: so budgets get back what they keep."""

import datetime as dt
import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from mesh import settings
from mesh.agent.own_name import own_name
from mesh.board import Board, Member
from mesh.events import AgentJoined, AgentLeft, Cost, ModelAsked
from mesh.failed_calls import LOST
from mesh.money import reserved_usd, why_no_call
from tests.support.arenas import TRAIN
from tests.support.model_server import Reply, fail, model_server
from tests.support.priced_fleet import CALL_USD, Fleet, asking, granted
from tests.test_chaos import PATIENCE_S, Stage, stage
from tests.test_researcher import KEY, edit

LIVE = """
import sys
from pathlib import Path
from mesh.agent.own_name import own_name
with own_name(Path(sys.argv[1]), "rex", "1-1") as own:
    own.is_settled = False
    print(own.name, flush=True)
    sys.stdin.read()
"""


def life(folder: Path) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", LIVE, str(folder)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def name_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_a_name_is_that_of_one_that_was_killed_and_of_no_other(tmp_path: Path) -> None:
    with life(tmp_path) as first, life(tmp_path) as second:
        names = [name_of(first), name_of(second)]
        assert len({*names}) == 2
        with own_name(tmp_path, "rex", "1-1") as third:  # both live
            assert third.name.startswith("rex-")
            assert third.name not in names
        first.kill()
        first.wait()
        for shown, agents in (("re", "1-1"), ("rex", "1-2")):  # of another role, or other numbers
            with own_name(tmp_path, shown, agents) as other:
                assert other.name not in names
        with own_name(tmp_path, "rex", "1-1") as again:
            assert (again.name, again.is_settled) == (names[0], False)
            with own_name(tmp_path, "rex", "1-1") as beside:
                assert beside.name not in names
        with own_name(tmp_path, "rex", "1-1") as again:
            assert again.name == names[0]  # it has not said that it owes nothing
            again.is_settled = True
        assert [path.name for path in tmp_path.iterdir()] == [f"{names[1]}.1-1"]
        second.kill()


def test_where_no_file_can_be_written_a_name_is_new(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with own_name(tmp_path / "file" / "names", "rex", "1-1") as own:
        assert (own.name[:4], len(own.name), own.is_settled) == ("rex-", 8, True)


def test_what_is_kept_for_one_that_was_killed_in_a_call_is_kept_until_it_returns_and_no_longer() -> None:
    """The call may have cost it: given back before, it would be spent a second time."""
    log = granted(1.0)
    for name in ("a", "b", "c", "d"):
        log.add(name, asking(name))
        assert why_no_call(log.board, CALL_USD, log.board.time, name=name) == ""  # it asks, and is killed
    log.add("e", asking("e"))
    later = log.board.time + dt.timedelta(days=7)
    assert why_no_call(log.board, CALL_USD, later, name="e") != ""
    for name in ("a", "b", "c", "d"):  # they return, of the calls one has cost nothing, and end
        log.add(name, asking(name, "again"))
        usd = 0.0 if name == "a" else CALL_USD
        log.add(name, ModelAsked(model="m", purpose="x", ok=False, cost=Cost(usd=usd)))
        log.add(name, AgentLeft(boot=f"{name}-again"))
    assert reserved_usd(log.board) == CALL_USD
    assert why_no_call(log.board, CALL_USD, log.board.time, name="e") == ""
    assert why_no_call(log.board, CALL_USD + 0.01, log.board.time, name="e") != ""


@pytest.mark.parametrize("seed", range(8))
def test_agents_that_stay_dead_for_hours_while_others_come_never_spend_more_and_lose_nothing(seed: int) -> None:
    log = granted(usd=8.0)
    fleet = Fleet(log, seed, most=0, agents=4)
    fleet.stays_dead_s = 3 * 3600.0
    killed = 0
    for number, _ in enumerate(fleet.live(hours=24)):
        killed = max(killed, len(fleet.dead))
        assert fleet.owed_usd() <= 8.0
        if number > 600:
            break
    assert killed >= 2
    fleet.return_dead(fleet.now + dt.timedelta(days=1))
    fleet.calls.clear()
    assert fleet.owed_usd() <= 8.0
    for name, (boot, _) in list(log.board.worker_costs.asking.items()):
        fleet.add(name, AgentLeft(boot=boot))
    assert reserved_usd(log.board) == 0.0


@pytest.mark.timeout(600)
async def test_a_researcher_without_a_name_that_is_killed_in_a_call_returns_and_settles(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    good = edit("HEIGHT = 0.8  # mesh: 0.0..2.0", "HEIGHT = 1.0  # mesh: 0.0..2.0")
    async with stage(tmp_path, home, TRAIN) as on:

        def dies(prompt: str) -> Reply:
            os.kill(on.swarm.running["researcher"].pid, signal.SIGKILL)
            return good

        with model_server(dies, *[fail(400)] * 50) as server:
            words = ["researcher", "--model", "openai/gpt-4o-mini", "--api-base", server.url, "--arena", "tiny"]
            here = ["--nats", on.server.url, "--home", str(on.swarm.home)]
            on.swarm.commands["researcher"] = [sys.executable, "-m", "mesh.agent", *words, *here]
            await on.swarm.start("curator", "worker", "explorer")
            await on.more_finishes(1)
            await on.swarm.start("researcher")
            with anyio.fail_after(PATIENCE_S):
                await on.swarm.running["researcher"].wait()
            await on.swarm.running.pop("researcher").aclose()
            await on.until(lambda board: bool(board.worker_costs.asking))
            await on.swarm.start("researcher")
            await on.until(lambda board: bool(board.tokens))  # what the call may have cost
            with anyio.fail_after(PATIENCE_S):
                while on.follower.board.worker_costs.asking:  # who ends amid its next call owes that one
                    await on.until(lambda board: failed_calls(on) > 0)
                    await on.swarm.end("researcher")
                    left = len(lives(on.follower.board))
                    await on.until(lambda board: all(life.left for life in lives(board)[1:]))
                    if on.follower.board.worker_costs.asking:
                        await on.swarm.start("researcher")
                        await on.until(lambda board, before=left: len(lives(board)) > before)  # type: ignore[misc]
        found = lives(on.follower.board)
    assert len(found) >= 2
    assert len({life.name for life in found}) == 1
    assert list(settings.names_dir(on.swarm.home, "tiny").iterdir()) == []


def lives(board: Board) -> list[Member]:
    """Return the lives of researchers."""
    found = board.agents.values()
    return [life for life in found if isinstance(life.joined, AgentJoined) and life.joined.role == "researcher"]


def failed_calls(on: Stage) -> int:
    """Return how many calls failed that were not lost."""
    facts = [entry.post.event for entry in on.entries if entry.post]
    return sum(isinstance(fact, ModelAsked) and fact.purpose != LOST for fact in facts)

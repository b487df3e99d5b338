"""An agent that is killed between what it asked or read and what it posts: nothing is lost, doubled or uncounted."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import anyio
import pytest

from mesh.board import Board
from mesh.events import AgentJoined, CritiquePosted, ModelAsked, ProposalPosted, RunFinished, RunRequested
from mesh.wire import Entry
from tests.support.arenas import TRAIN
from tests.support.cut_line import cut_line
from tests.support.model_server import Reply, fail, model_server, say
from tests.test_chaos import PATIENCE_S, Stage, everything, stage
from tests.test_researcher import KEY, NAME, edit

QUICK = TRAIN.replace("time.sleep(0.4)\n", "")
POSTS = {"explorer": "proposal.posted", "curator": "run.requested", "critic": "critique.posted"}
Then = Literal["lost", "landed"]

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("key")]


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def kill(on: Stage, name: str) -> None:
    os.kill(on.swarm.running[name].pid, signal.SIGKILL)


async def cut_and_start_again(
    on: Stage, name: str, subject: str, then: Then, seen: Callable[[], None] = lambda: None
) -> None:
    """Start a process whose line is cut at its first post of a subject; then start it again on a line that is whole.

    `seen` is called when the line is cut.
    """
    command = on.swarm.commands[name]

    def cut() -> None:
        kill(on, name)
        seen()

    async with cut_line(on.server.url, f"mesh.tiny.{subject}.", then, cut) as line:
        on.swarm.commands[name] = [line.url if word == on.server.url else word for word in command]
        await on.swarm.start(name)
        with anyio.fail_after(PATIENCE_S):
            await line.cut.wait()
            await on.swarm.running.pop(name).aclose()
    on.swarm.commands[name] = command
    await on.swarm.start(name)


@pytest.mark.parametrize("then", ["lost", "landed"])
@pytest.mark.parametrize("name", POSTS)
async def test_an_agent_that_is_killed_where_it_posts_loses_and_doubles_nothing(
    tmp_path: Path, home: Path, name: str, then: Then
) -> None:
    async with stage(tmp_path, home, QUICK) as on:
        await on.swarm.start(*{"explorer", "curator", "critic", "worker"} - {name})
        await cut_and_start_again(on, name, POSTS[name], then)
        await on.more_finishes(8)
        for asks in ("explorer", "curator"):  # the log must not grow while it is looked at
            await on.swarm.kill(asks)
        await on.until(lambda board: not board.unfinished and not unheard(on))
        facts = [entry.post.event for entry in await everything(on.bus) if entry.post]
        trees = Counter(fact.tree for fact in facts if isinstance(fact, ProposalPosted))
        asked = Counter(fact.run for fact in facts if isinstance(fact, RunRequested))
        ended = Counter(fact.run for fact in facts if isinstance(fact, RunFinished))
        judged = Counter(fact.target for fact in facts if isinstance(fact, CritiquePosted))
        assert set(trees.values()) == {1}
        assert set(asked.values()) == {1}
        assert asked == ended
        assert set(judged.values()) == {1}
        assert judged.keys() & trees.keys()
        runs = [fact for fact in facts if isinstance(fact, RunRequested)]
        assert len({(run.proposal, run.lane, run.seed) for run in runs}) == len(asked)


def unheard(on: Stage) -> list[str]:
    """Proposals that came while the critic was there, and have no critique; one that it missed may be decided."""
    posts = [entry.post for entry in on.entries if entry.post]
    joined = max(at for at, post in enumerate(posts) if isinstance(post.event, AgentJoined) and post.author == "critic")
    trees = [post.event.tree for post in posts[joined:] if isinstance(post.event, ProposalPosted)]
    return [tree for tree in trees if not on.follower.board.proposals[tree].critiques]


class Paid(NamedTuple):
    """What a fact says of calls of a model: how many it counts, and their tokens."""

    word: str
    calls: int
    tokens_in: int
    tokens_out: int


def paid(entries: list[Entry], author: str) -> list[Paid]:
    """What all facts of an author say of calls."""
    found = []
    for post in (entry.post for entry in entries if entry.post and entry.post.author == author):
        event = post.event
        if isinstance(event, ModelAsked | ProposalPosted | CritiquePosted) and event.cost:
            tokens = event.cost.tokens_in or 0, event.cost.tokens_out or 0
            is_lost = isinstance(event, ModelAsked) and event.purpose == "lost"
            calls = int(event.text.split()[0]) if is_lost and isinstance(event, ModelAsked) else 1
            found.append(Paid("lost" if is_lost else post.kind, calls, *tokens))
    return found


def with_model(on: Stage, role: str, url: str) -> list[str]:
    here = ["--arena", "tiny", "--nats", on.server.url, "--home", str(on.swarm.home)]
    return [sys.executable, "-m", "mesh.agent", role, "--name", role, "--model", NAME, "--api-base", url, *here]


OPINION = say("verdict: endorse\npredicted: 0.2\nconfidence: 0.6\ntext: fine")
ROLES = {
    "researcher": ("proposal.posted", edit("HEIGHT = 0.8  # mesh: 0.0..2.0", "HEIGHT = 1.0  # mesh: 0.0..2.0")),
    "critic": ("critique.posted", OPINION),
}


@pytest.mark.parametrize("moment", ["asked", "lost", "landed"])
@pytest.mark.parametrize("role", ROLES)
async def test_a_model_is_never_paid_without_being_counted(tmp_path: Path, home: Path, role: str, moment: str) -> None:
    kind, good = ROLES[role]
    async with stage(tmp_path, home) as on:

        def dies(prompt: str) -> Reply:
            kill(on, role)
            return good

        first = dies if moment == "asked" else good
        with model_server(first, *[good] * 3, *[fail(400)] * 3) as server:
            on.swarm.commands[role] = with_model(on, role, server.url)
            await on.swarm.start("curator", "worker", "explorer")
            await on.more_finishes(1)  # the baseline
            if role == "researcher":
                await on.swarm.kill("explorer")
            at_cut = list[int]()
            if moment == "asked":
                await on.swarm.start(role)
                with anyio.fail_after(PATIENCE_S):
                    await on.swarm.running[role].wait()
                await on.swarm.running.pop(role).aclose()
                await on.swarm.start(role)
            else:
                then: Then = "lost" if moment == "lost" else "landed"
                await cut_and_start_again(on, role, kind, then, lambda: at_cut.append(len(server.asked)))
            made = len(server.asked)

            def counts_all(board: Board) -> bool:
                found = paid(on.entries, role)
                is_back = "lost" in {each.word for each in found} or len(server.asked) > made
                counted = sum(each.calls for each in found)
                # one that was killed while it asked may count a question that never arrived as a whole
                return is_back and (counted >= len(server.asked) if moment == "asked" else counted == len(server.asked))

            await on.until(counts_all)
            lost = [each for each in paid(on.entries, role) if each.word == "lost"]
            if moment == "landed" or at_cut == [0]:  # a critic's first post may need no model: then nothing was paid
                assert lost == []
                return
            [lost_ones] = lost
            if moment == "lost":  # its answers were there: what they cost is known
                assert lost_ones[2:] == (1000 * lost_ones.calls, 100 * lost_ones.calls)
            else:  # the provider has read the question, and most providers charge for that
                assert lost_ones.tokens_in > 100
            assert on.follower.board.tokens[role] == sum(each[2] + each[3] for each in paid(on.entries, role))

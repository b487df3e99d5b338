"""The researcher in a swarm: run by the runtime over the bus in memory, and started by the commands."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from agents.llm.next_move import UNDECIDED
from mesh.agent.runtime import Seat, run_agents
from mesh.code import CodeStore
from mesh.errors import BadInput
from mesh.events import (
    AgentJoined,
    AgentLeft,
    AnyEvent,
    NotePosted,
    Origin,
    ProposalPosted,
    ProposalRetired,
    RunFinished,
    RunRequested,
    RunStarted,
    Scored,
    WorkerJoined,
)
from mesh.jetstream import connect
from mesh.memory import MemoryBus
from mesh.open_arena import open_arena
from mesh.server import EmbeddedServer
from mesh.testing import BEGAN, FILES, TRAIN, Arena, opened, requested
from mesh.wire import Post
from mesh_cli.live.up import thinker_of
from tests.support.arenas import write_arena
from tests.support.model_server import ModelServer, fail, model_server
from tests.test_researcher import KEY, NAME, edit, researcher


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


class Lab:
    """An arena on the bus in memory, with a baseline and two proposals that have scores in it, and agents that run."""

    def __init__(self, arena: Arena, bus: MemoryBus) -> None:
        self.arena, self.bus = arena, bus

    @asynccontextmanager
    async def running(self, server: ModelServer, name: str, **options: str) -> AsyncIterator[None]:
        agent = researcher(self.arena, server, name, **options)
        agent.every_s = 0.01  # type: ignore[misc]
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:

                async def run() -> None:
                    seat = Seat(name, agent, NAME)
                    await run_agents(self.bus, [seat], self.arena.code, pause_s=0.001)

                tasks.start_soon(run)
                yield
                tasks.cancel_scope.cancel()

    async def said(self, author: str, kind: type[AnyEvent], count: int) -> list[Post]:
        """The first facts of an author, as soon as there are so many."""
        found: list[Post] = []
        async with aclosing(self.bus.read(follow=True)) as batches:
            async for batch in batches:
                posts = [entry.post for entry in batch if entry.post]
                found += [p for p in posts if p.author == author and isinstance(p.event, kind)]
                if len(found) >= count:
                    break
        return found[:count]


def scored(tree: str) -> list[tuple[str, AnyEvent]]:
    """The facts that give a baseline its score, before which no model is asked."""
    asked = requested(tree)
    done = RunFinished(run=asked.run, proposal=tree, outcome=Scored(value=1.0), worker="w", worker_class="cpu")
    return [("curator", asked), ("w", done)]


@pytest.fixture
async def lab(tmp_path: Path) -> Lab:
    bus = MemoryBus("a")
    arena = Arena(tmp_path / "given")
    arena.code = CodeStore(tmp_path / "code.git", bus)
    base = arena.code.commit(FILES, message="base", author="operator", at=BEGAN)
    await arena.code.push(base.commit)
    origin = Origin(how="baseline")
    facts: list[tuple[str, AnyEvent]] = [
        ("operator", opened(commit=base.commit, tree=base.tree)),
        ("eve", ProposalPosted(tree=base.tree, commit=base.commit, title="as it is", origin=origin)),
        *scored(base.tree),
    ]
    await bus.post_all([Post.new(author, event) for author, event in facts])
    return Lab(arena, bus)


async def test_in_a_swarm_it_joins_with_its_model_and_proposes_until_enough_of_it_waits(lab: Lab) -> None:
    answers = [edit(f"LR = 0.{n}") for n in (5, 6, 7)]
    with model_server(*answers) as server:
        async with lab.running(server, "ann"):
            [joined] = await lab.said("ann", AgentJoined, 1)
            assert isinstance(joined.event, AgentJoined)
            assert (joined.event.role, joined.event.model) == ("researcher", NAME)
            first, second = [post.event for post in await lab.said("ann", ProposalPosted, 2)]
        assert len(server.asked) == UNDECIDED
        # when it is started again, nothing is asked, since two wait for a verdict
        async with lab.running(server, "ann"):
            await lab.said("ann", AgentJoined, 2)
            assert len(server.asked) == UNDECIDED
            # and when one of them is decided, it goes on
            assert isinstance(first, ProposalPosted)
            await lab.bus.post(Post.new("curator", ProposalRetired(proposal=first.tree, round=0, why="not_better")))
            [*_, third] = [post.event for post in await lab.said("ann", ProposalPosted, 3)]
    assert isinstance(second, ProposalPosted)
    assert isinstance(third, ProposalPosted)
    assert len({first.tree, second.tree, third.tree}) == 3
    elsewhere = CodeStore(Path(lab.arena.code._cache.path).parent / "other.git", lab.bus)
    files = await elsewhere.files(third.commit)
    assert files["train.py"] == TRAIN.replace(b"LR = 1e-3", b"LR = 0.7")


async def test_a_wrong_key_is_one_question_and_a_sentence_and_the_agent_leaves(lab: Lab) -> None:
    with model_server(fail(401, f"Incorrect API key provided: {KEY}")) as server:
        async with lab.running(server, "ann"):
            [note] = await lab.said("ann", NotePosted, 1)
            [left] = await lab.said("ann", AgentLeft, 1)
        assert len(server.asked) == 1
    assert isinstance(note.event, NotePosted)
    assert isinstance(left.event, AgentLeft)
    sentence = f"{NAME} refuses the key; set a valid key in the environment (Incorrect API key provided: "
    assert left.event.reason.startswith(sentence)
    assert note.event.text == f"ann leaves: {left.event.reason}"
    async with aclosing(lab.bus.read()) as batches:
        log = [entry async for batch in batches for entry in batch]
    assert KEY.encode() not in b"".join(entry.raw for entry in log)
    assert sum(b"refuses the key" in entry.raw for entry in log if entry.subject.kind == "note.posted") == 1


async def test_a_process_whose_key_is_wrong_says_so_in_one_sentence_and_ends_with_2(
    tmp_path: Path, server: EmbeddedServer
) -> None:
    async with connect(server.url) as hub:
        bus, now = await open_arena(hub, write_arena(tmp_path / "arena"), home=tmp_path / "home")
        base = ProposalPosted(
            tree=now.base_tree, commit=now.base_commit, title="as it is", origin=Origin(how="baseline")
        )
        [(_, wanted), (_, scores)] = scored(now.base_tree)
        assert isinstance(wanted, RunRequested)
        facts: list[AnyEvent] = [
            WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=1),
            base,
            replace(wanted, evaluator=now.evaluator),
            RunStarted(run=wanted.run, attempt=1, worker="w"),
            scores,
        ]
        await bus.post_all([Post.new("eve", event) for event in facts])
        with model_server(*[fail(401, f"Incorrect API key provided: {KEY}")] * 9) as asked:
            words = ["--model", NAME, "--api-base", asked.url, "--nats", server.url, "--home", str(tmp_path / "home")]
            command = [sys.executable, "-m", "mesh.agent", "researcher", "--name", "ann", "--arena", "tiny", *words]
            with anyio.fail_after(90):
                done = await anyio.run_process(command, check=False)
            assert len(asked.asked) == 1
        async with aclosing(bus.read()) as batches:
            entries = [entry async for batch in batches for entry in batch]
    said = done.stderr.decode()
    *_, last = said.splitlines()
    assert done.returncode == 2
    assert last.startswith(f"ann: {NAME} refuses the key; set a valid key in the environment (Incorrect API key")
    assert (said.count("refuses the key"), KEY in said) == (1, False)
    assert sum(b"refuses the key" in e.raw for e in entries if e.subject.kind == "note.posted") == 1
    [left] = [entry.post.event for entry in entries if entry.post and entry.subject.kind == "agent.left"]
    assert isinstance(left, AgentLeft)
    assert f"ann: {left.reason}" == last


def test_mesh_up_hands_on_what_is_said_of_a_model() -> None:
    assert thinker_of(None, None, None, None) is None
    thinker = thinker_of("openai/m", None, 0.5, 10)
    assert thinker is not None
    assert thinker.flags() == ["--model", "openai/m", "--budget-usd", "0.5", "--budget-tokens", "10"]
    with pytest.raises(BadInput, match="--budget-usd needs a model; add --model provider/name"):
        thinker_of(None, None, 5.0, None)


def test_the_command_says_how_a_model_is_given(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mesh.agent", "--help"], capture_output=True, text=True, timeout=300, check=True
    )
    assert "--model PROVIDER/NAME" in done.stdout
    assert "--budget-usd X" in done.stdout

"""The examples run: a role, a sampler and a view of one's own."""

import signal
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from agents.explorer import Explorer
from analytics.projection import Projection
from analytics.projector import replay
from mesh.agent.roles import find_role, make
from mesh.errors import BadInput
from mesh.events import AgentJoined, Origin, ProposalPosted, RunFinished, Scored
from mesh.jetstream import connect
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from mesh.server import EmbeddedServer
from mesh.testing import TRAIN, Arena
from tests.support.arenas import write_arena
from tests.support.folding import bus_with
from tests.support.swarm import swarm_of
from tests.test_up import mesh_up

EXAMPLES = Path(__file__).parents[1] / "examples"


async def test_the_role_proposes_half_and_then_twice_each_constant(tmp_path: Path) -> None:
    arena = Arena(tmp_path)
    halver = make("role", "role:Halver", find_role("role:Halver", EXAMPLES), context=arena.context("ann"))
    titles = []
    for _ in range(3):
        for fact in await arena.when(halver):
            assert isinstance(fact, ProposalPosted)
            titles.append(fact.title)
            arena.add("ann", fact)
            arena.retire(fact.tree)
    assert titles == ["as it is", "LR 1e-3 → 0.0005", "LR 1e-3 → 0.002", "WIDTH 8 → 4"]


async def test_mesh_up_runs_the_role_in_its_swarm(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)
    async with mesh_up(write_arena(tmp_path / "arena"), "--explorers", "0", "--role", "role:Halver") as up:
        await up.says("HEIGHT 1.0 → 0.5")
        await up.says("finished", 2)
        assert await up.ends(signal.SIGINT) == 0
    assert any("halver" in line and "joined as explorer" in line for line in up.lines)


def test_mesh_up_refuses_a_role_that_cannot_start_before_anything_else_starts(tmp_path: Path, home: Path) -> None:
    (tmp_path / "mine.py").write_text("class Mine:\n    listens = 'run.finished'\n")
    command = [sys.executable, "-m", "mesh_cli", "up", str(write_arena(tmp_path / "arena")), "--role", "mine:Mine"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    wanted = "`async def handle(self, post, board)`"
    assert done.stderr == f"mesh: role 'mine:Mine' is not a valid role: Mine has no 'handle'; write {wanted}\n"
    assert not home.exists()


async def test_the_role_works_beside_a_real_worker_and_counts_as_an_explorer(
    tmp_path: Path, server: EmbeddedServer
) -> None:
    home = tmp_path / "home"
    async with connect(server.url) as hub, swarm_of(home, server.url) as swarm:
        bus, _ = await open_arena(hub, write_arena(tmp_path / "arena"), home=home)
        command = [sys.executable, "-P", "-m", "mesh.agent", "role:Halver", "--name", "ann", "--path", str(EXAMPLES)]
        swarm.commands = {
            "ann": [*command, "--arena", "tiny", "--nats", server.url, "--home", str(home)],
            "curator": swarm.commands["curator"],
            "worker": swarm.commands["worker"],
        }
        await swarm.start()
        scored: dict[str, str] = {}  # the first two, however many come at a time
        titles: dict[str, str] = {}
        with anyio.fail_after(200):
            async with aclosing(bus.read(follow=True)) as batches:
                async for batch in batches:
                    for event in (entry.post.event for entry in batch if entry.post):
                        if isinstance(event, AgentJoined) and event.role not in ("explorer", "curator"):
                            raise AssertionError(event.role)
                        if isinstance(event, ProposalPosted):
                            titles[event.tree] = event.title
                        if isinstance(event, RunFinished) and isinstance(event.outcome, Scored) and len(scored) < 2:
                            scored |= {event.proposal: titles[event.proposal]}
                    if len(scored) == 2:
                        break
        assert {*scored.values()} == {"as it is", "HEIGHT 1.0 → 0.5"}


async def test_the_sampler_draws_near_the_best_and_names_what_it_proposed(tmp_path: Path) -> None:
    arena = Arena(tmp_path)
    arena.propose_baseline()
    post = arena.score(arena.base, 1.0)
    context = replace(arena.context("ann", {"sampler": "sampler:Closer"}), path=EXAMPLES)
    made = await arena.when(Explorer(context), post)
    assert len(made) == 2
    for fact in made:
        assert isinstance(fact, ProposalPosted)
        assert fact.origin == Origin(how="sampler", name="closer")
        assert fact.rationale == "A normal step from the best values, half as wide after every ten results."
        assert fact.knobs
        assert (await arena.code.files(fact.commit))["train.py"] != TRAIN


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            "class S: pass",
            "sampler 'bad:S' is not a valid sampler: S has no 'ask'; write `def ask(self, space, ",
        ),
        (
            "class S:\n    async def ask(self, space, trials, pending, rng): pass",
            "sampler 'bad:S' is not a valid sampler: S.ask is an async function; write `def ask(",
        ),
        (
            "class S:\n    def __init__(self, width): pass\n    def ask(self, space, trials, pending, rng): pass",
            "sampler 'bad:S' cannot be made: S(): missing a required argument: 'width'; write `def __init__(self)`",
        ),
    ],
)
async def test_a_sampler_that_cannot_be_one_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, sentence: str
) -> None:
    monkeypatch.delitem(sys.modules, "bad", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "bad.py").write_text(source)
    context = Arena(tmp_path).context("ann", {"sampler": "bad:S"})
    with pytest.raises(BadInput) as refused:
        Explorer(context)
    assert str(refused.value).startswith(sentence)


async def test_the_view_reads_the_promised_views(tmp_path: Path) -> None:
    path = tmp_path / "mesh.duckdb"
    await replay(await bus_with(MemoryHub()), path)
    projection = Projection.open(path)
    try:
        with projection.cursor() as db:
            db.execute((EXAMPLES / "view.sql").read_text(encoding="utf-8"))
            rows = db.execute("FROM authors").fetchall()
            columns = [column[0] for column in db.description or []]
    finally:
        projection.close()
    assert columns == ["arena", "author", "proposals", "champions", "lowest", "highest"]
    assert {(row[0], row[1]) for row in rows} >= {("a", "ann"), ("a", "bob")}
    assert sum(row[2] for row in rows) == 3


def test_the_command_checks_a_role_and_starts_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mesh.agent", "--check", "--name", "ann"]
    told = [
        subprocess.run([*command, *words], cwd=EXAMPLES, capture_output=True, text=True, timeout=200, check=False)
        for words in (["role:Halver"], ["role:Halve"], ["explorer", "--option", "sampler=sampler:Closer"])
    ]
    assert [done.returncode for done in told] == [0, 2, 0]
    assert [done.stderr for done in told] == [
        "ann: role 'role:Halver' can start\n",
        "ann: role 'role:Halve': module role has no class 'Halve'; it has Halver\n",
        "ann: role 'explorer' can start\n",
    ]

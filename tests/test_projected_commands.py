"""A command says the same of a long log whether it asks a projector or folds the log; by random histories."""

import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import anyio
import msgspec
import pytest

from gateway.resolve import find
from mesh import events as e
from mesh import wire
from mesh.errors import UnknownName
from mesh.families import family
from mesh.leaderboard import Ranking
from mesh.memory import MemoryBus, MemoryHub
from mesh.roll_call import answer_roll_call
from mesh.wire import Post
from mesh_cli.connect import board_of
from mesh_cli.live.status import figures, status_lines
from mesh_cli.projected import asking
from mesh_cli.projected.asking import from_projector
from mesh_cli.projected.named import projected_thing
from mesh_cli.projected.ranking import projected_ranking
from mesh_cli.projected.relations import projected_family
from mesh_cli.projected.state import projected_state
from mesh_cli.proposals import lineage
from mesh_cli.proposals.card import card
from mesh_cli.proposals.describe import about
from mesh_cli.proposals.leaderboard_table import ranking, remarks
from tests.support.folding import projecting
from tests.test_leaderboard_contract import History

pytestmark = pytest.mark.timeout(900)

HISTORIES, PARTS = 8, 2


def with_a_swarm(seed: int) -> Iterator[tuple[str, e.AnyEvent]]:
    """Yield a random history with the facts of a swarm around it: members, starts, kills, critiques and their cost."""
    rng = random.Random(f"swarm {seed}")
    boots, runs, trees, seed_of = list[str](), list[str](), list[str](), dict[str, int]()
    shared = rng.random() < 0.5  # whether seeds share a difficulty
    for number, (author, event) in enumerate(History(seed).told):
        if isinstance(event, e.RunRequested):
            seed_of[event.run] = event.seed
        if shared and isinstance(event, e.RunFinished) and isinstance(scored := event.outcome, e.Scored):
            value = scored.value / 100 + 10.0 * (seed_of.get(event.run, 0) % 7)
            event = msgspec.structs.replace(event, outcome=msgspec.structs.replace(scored, value=value))
        yield author, event
        runs += [event.run] if isinstance(event, e.RunRequested) else []
        trees += [event.tree] if isinstance(event, e.ProposalPosted) else []
        draw = rng.random()
        if draw < 0.05:
            boots.append(f"w{number}")
            joined = e.WorkerJoined(boot=boots[-1], worker_class="cpu", device="cpu", slots=rng.randrange(1, 4))
            yield rng.choice(("w-1", "w-2")), joined
        elif draw < 0.08:
            yield rng.choice(("ann", "bob")), e.AgentJoined(boot=f"a{number}", role="explorer")
        elif draw < 0.10 and boots:
            yield "w-1", e.WorkerLeft(boot=rng.choice(boots))
        elif draw < 0.30 and runs:
            yield "w-1", e.RunStarted(run=rng.choice(runs), attempt=number + 1, worker=rng.choice([*boots, "nobody"]))
        elif draw < 0.33 and runs:
            yield "op", e.RunKilled(run=rng.choice(runs), by="operator")
        elif draw < 0.40 and trees:
            cost = rng.choice((None, e.Cost(usd=rng.random(), tokens_in=rng.randrange(1000))))
            target = rng.choice([*trees, *runs])
            yield f"critic-{number}", e.CritiquePosted(target=target, verdict="warn", rule="sound", text="", cost=cost)
        elif draw < 0.42:
            cost = e.Cost(usd=rng.choice((None, rng.random())), tokens_out=rng.randrange(1000))
            yield rng.choice(("ann", "bob")), e.ModelAsked(purpose="propose", model="m", ok=False, cost=cost)


@asynccontextmanager
async def told(
    seeds: Sequence[int], file: Path, history: Callable[[int], Iterator[tuple[str, e.AnyEvent]]] = with_a_swarm
) -> AsyncIterator[list[MemoryBus]]:
    """Yield the logs of random histories, which a projector has folded."""
    hub = MemoryHub()
    buses = []
    for seed in seeds:
        buses.append(bus := await hub.arena(f"a{seed}", create=True))
        for author, event in history(seed):
            post = Post.new(author, event)
            bus.append_raw(wire.subject_of(bus.arena, post), wire.encode(post))
        bus.append_raw(f"mesh.{bus.arena}.run.finished.r1.liar", b"not a fact")
    async with anyio.create_task_group() as tasks:
        for bus in buses:
            tasks.start_soon(answer_roll_call, bus, "nobody", "nobody")  # the one worker that is there
        async with projecting(hub, file):
            yield buses
        tasks.cancel_scope.cancel()


def alike(one: Any, other: Any) -> bool:
    """Tell whether two values are equal, but for the last bits of the bounds of intervals."""
    return bool(one == pytest.approx(other, rel=1e-9, abs=1e-12) if isinstance(one, float) else one == other)


@pytest.fixture
def asks(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Have commands ask a projector whatever the length of a log, or never."""
    monkeypatch.setattr(asking, "_CATCHES_UP_WITHIN_S", 100.0)  # of a busy machine
    monkeypatch.setattr(asking, "_ANSWERS_WITHIN_S", 60.0)
    return lambda on: monkeypatch.setattr(asking, "LONG", 0 if on else 10**9)


@pytest.mark.parametrize("part", range(PARTS))
async def test_leaderboard_and_status_say_the_same_with_and_without_a_projector(
    part: int, tmp_path: Path, home: Path, asks: Callable[[bool], None]
) -> None:
    running = 0
    async with told(range(part, HISTORIES, PARTS), tmp_path / "a.duckdb") as buses:
        for bus in buses:
            asks(True)
            board = await board_of(bus)
            answer = await from_projector(bus, partial(projected_ranking, first=5))
            assert answer, bus.arena
            of, whole = answer[0], Ranking(board)
            shown = [
                [*ranking(board.spec.objective, (rows := known.rows()[:5]), None, known.places), *remarks(known, rows)]
                for known in (whole, of)
            ]
            assert shown[0] == shown[1], bus.arena
            assert of.board.champion == board.champion, bus.arena
            assert await from_projector(bus, partial(projected_state, rate_over_s=300.0)), bus.arena
            asked = await figures(bus)
            asks(False)
            folded = await figures(bus)
            ages = {name for name in asked if name.endswith("_age_s") or name == "oldest_waiting_s"}
            differ = {name: (folded[name], asked[name]) for name in folded if not alike(folded[name], asked[name])}
            assert {name: differ[name] for name in differ.keys() - ages} == {}, bus.arena
            running += folded["runs_running"]
            lines = [status_lines(row | dict.fromkeys(ages), None) for row in (asked, folded)]
            assert lines[0] == lines[1], bus.arena
        assert running


@pytest.mark.parametrize("part", range(PARTS))
async def test_show_and_lineage_say_the_same_with_and_without_a_projector(
    part: int, tmp_path: Path, home: Path, asks: Callable[[bool], None]
) -> None:
    asks(True)
    async with told(range(part, HISTORIES, PARTS), tmp_path / "a.duckdb") as buses:
        for bus in buses:
            board = await board_of(bus)
            whole, rng = Ranking(board), random.Random(bus.arena)
            words = ["champion"] if board.champion else []
            words += [rng.choice(list(board.runs)), f"proposal:{rng.choice(list(board.proposals))}", f"#{board.seq}"]
            words += [f"agent:{member.name}" for member in board.agents.values()]
            words += [f"worker:{member.name}" for member in board.workers.values()]
            words += [f"proposal:{tree}" for tree in [*board.undecided][:3]]
            for word in words:
                named, others = find(board, word)
                known = await from_projector(bus, partial(projected_thing, word=word))
                assert known, (bus.arena, word)
                assert find(known.board, word) == (named, others)
                if named.kind != "fact":
                    told_of = [about(board, named, whole), about(known.board, named, known, known.totals)]
                    shown = [card(of.board, each, of) for of, each in zip((whole, known), told_of, strict=True)]
                    assert shown[0] == shown[1], (bus.arena, word)
                    if named.kind in ("agent", "worker"):
                        assert told_of[0].keys() == told_of[1].keys()
                        differ = [name for name in told_of[0] if not alike(told_of[0][name], told_of[1][name])]
                        assert differ == [], (bus.arena, word)
            tree = rng.choice(list(board.proposals))
            ways: list[tuple[Literal["up", "down"], int | None]] = [("up", None), ("down", rng.choice((None, 0, 1)))]
            for way, depth in ways:
                related = await from_projector(bus, partial(projected_family, word=tree, way=way, depth=depth))
                assert related, bus.arena
                drawings = [
                    [found, *lineage.dot(of.board, found, of), *lineage.drawn(found, partial(lineage.line, of))]
                    for of in (whole, related)
                    for found in [family(of.board, tree, way, depth)]
                ]
                assert drawings[0] == drawings[1], (bus.arena, tree, way, depth)


async def test_a_word_that_names_nothing_is_refused_alike(tmp_path: Path, asks: Callable[[bool], None]) -> None:
    asks(True)
    async with told([1], tmp_path / "a.duckdb") as [bus]:
        board = await board_of(bus)
        for word in ("nothing", "000", "0", "r", "run:0"):
            with pytest.raises(UnknownName) as folded:
                find(board, word)
            with pytest.raises(UnknownName) as asked:
                await from_projector(bus, partial(projected_thing, word=word))
            assert str(asked.value) == str(folded.value)

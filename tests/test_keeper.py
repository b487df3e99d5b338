"""Runs that the queue has lost are asked for again: by the curator's rule, and with real workers and a rogue."""

import datetime as dt
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import anyio
import nats
import pytest
from msgspec.structs import replace

from agents.curation.keeper import LEASES, QueueKeeper
from mesh import events as e
from mesh.agent.owner_reader import OwnerReader
from mesh.agent.queue_reader import QueueReader
from mesh.board import Board
from mesh.bus import ArenaBus, HandedOut
from mesh.changes import ChangeReader
from mesh.jetstream import connect
from mesh.jetstream.queue import JetStreamDelivery
from mesh.memory import MemoryHub
from mesh.server import embedded
from tests.support.folding import folded, rows
from tests.support.history import T1, Fact, entries, finish, proposal, request
from tests.support.member_hub import member_hub
from tests.test_bus import request as post_of_request
from tests.test_hand_outs import GPU7, GPU8, STRICT, end, start
from tests.test_leases import a_gate

LEASE_S = 5.0
ASKED: list[Fact] = [
    ("op", STRICT),
    ("gpu7", GPU7),
    ("gpu8", GPU8),
    ("ann", proposal(T1)),
    ("cur", replace(request("r", T1), deadline_s=300.0)),
]
KILLED: Fact = ("gateway", e.WorkerLeft(boot="b7", reason="does not answer", silent=True))


def board_of(history: Sequence[Fact]) -> Board:
    board = Board(arena="a")
    for entry in entries(history):
        board.fold(entry)
    return board


def asked_after(board: Board, *seconds: float, floor: int = 100) -> list[list[e.AnyEvent]]:
    """Return what a keeper says at these times, if the queue has handed out all up to the entry `floor`."""
    keeper, queue = QueueKeeper(), {"explore": HandedOut(floor, LEASE_S)}
    return [keeper.decide(board, board.time + dt.timedelta(seconds=after_s), queue) for after_s in seconds]


def test_a_run_that_nobody_has_and_that_is_not_finished_is_asked_for_again_after_two_leases() -> None:
    asked = ASKED[-1][1]
    assert isinstance(asked, e.RunRequested)
    again = replace(asked, run="r-k1", instead_of="r")
    assert asked_after(board_of(ASKED), 0, LEASES * LEASE_S - 0.1, LEASES * LEASE_S) == [[], [], [again]]


def test_a_run_that_the_queue_still_has_is_left_alone() -> None:
    board = board_of(ASKED)
    assert asked_after(board, 0, 1e6, floor=board.runs["r"].seq - 1) == [[], []]
    assert QueueKeeper().decide(board, board.time, {}) == []


def test_a_run_whose_worker_is_there_has_the_time_that_it_may_take() -> None:
    board = board_of([*ASKED, ("gpu7", start())])
    most_s = 300.0 + board.spec.score.deadline_s
    early, late = asked_after(board, 0, most_s - 1)[1], asked_after(board, 0, most_s)[1]
    assert early == []
    [again] = late
    assert isinstance(again, e.RunRequested)
    assert (again.run, again.instead_of, again.avoid) == ("r-k1", "r", "b7")


def test_a_run_whose_worker_is_gone_has_two_leases() -> None:
    gone = board_of([*ASKED, ("gpu7", start()), KILLED])
    another_life = board_of([*ASKED, ("gpu7", start()), ("gpu7", replace(GPU7, boot="b9"))])
    for board in (gone, another_life):
        [again] = asked_after(board, 0, LEASES * LEASE_S)[1]
        assert isinstance(again, e.RunRequested)
        assert (again.run, again.avoid) == ("r-k1", "")


def test_the_run_that_takes_its_place_is_the_one_that_is_awaited() -> None:
    again = replace(request("r-k1", T1), instead_of="r")
    history: list[Fact] = [*ASKED, ("gpu7", start()), KILLED, ("cur", again)]
    board = board_of(history)
    assert list(board.unfinished) == ["r-k1"]
    assert [run.requested.run for run in board.current_runs(T1)] == ["r-k1"]
    history += [("gpu8", start("b8", run="r-k1")), ("gpu8", end("b8", 2.0, "r-k1"))]
    assert board_of(history).scores(T1) == [2.0]
    assert sorted(board_of([*history, ("gpu7", end(value=3.0))]).scores(T1)) == [2.0, 3.0]
    crashed = replace(finish("r", T1, e.Failed(reason="crash", message="")), worker="b7")
    assert board_of([*history, ("gpu7", crashed)]).current_runs(T1) == board_of(history).current_runs(T1)


def test_a_run_that_is_lost_again_and_again_gets_new_names_and_its_worker_is_named_once() -> None:
    again = replace(request("r-k1", T1), instead_of="r")
    history: list[Fact] = [*ASKED, ("gpu7", start()), KILLED, ("cur", again)]
    history += [("gpu7", replace(GPU7, boot="b9")), ("gpu7", start("b9", run="r-k1"))]
    history += [("gateway", e.WorkerLeft(boot="b9", silent=True))]
    request_, note = asked_after(board_of(history), 0, LEASES * LEASE_S)[1]
    assert isinstance(request_, e.RunRequested)
    assert (request_.run, request_.instead_of) == ("r-k2", "r-k1")
    assert isinstance(note, e.NotePosted)
    assert note.text.startswith("worker gpu7: the queue has lost 2 runs that it began, the last one r-k1; ")
    history += [("cur", request_), ("gpu7", replace(GPU7, boot="c1")), ("gpu7", start("c1", run="r-k2"))]
    history += [("gateway", e.WorkerLeft(boot="c1", silent=True))]
    [third] = asked_after(board_of(history), 0, LEASES * LEASE_S)[1]
    assert isinstance(third, e.RunRequested)
    assert third.run == "r-k3"


async def test_sql_says_that_a_lost_run_was_replaced(tmp_path: Path) -> None:
    history: list[Fact] = [*ASKED, ("gpu7", start()), ("cur", replace(request("r-k1", T1), instead_of="r"))]
    async with folded(tmp_path / "a.duckdb", history) as queries:
        assert await rows(queries, "SELECT run, state FROM runs ORDER BY seq") == [
            ["r", "replaced"],
            ["r-k1", "requested"],
        ]


async def check_handed_out(bus: ArenaBus) -> None:
    explore = "run.requested.explore"
    assert await bus.handed_out("others", [explore]) == {}
    await bus.post_all(post_of_request(f"r{number}") for number in range(3))
    with anyio.fail_after(150):
        async with aclosing(bus.work("others", [explore], lease_s=30)) as jobs:
            one, two, three = await anext(jobs), await anext(jobs), await anext(jobs)
            for taken, seq in ((two, 0), (one, 2), (three, 3)):
                await taken.done()
                found = await bus.handed_out("others", [explore, "run.requested.audit"])
                assert found == {explore: HandedOut(seq, 30.0)}


async def test_a_queue_in_memory_says_how_far_it_is() -> None:
    await check_handed_out(await MemoryHub().arena("a", create=True))


async def test_a_queue_of_a_server_says_how_far_it_is(tmp_path: Path) -> None:
    async with embedded(tmp_path) as server, connect(server.url) as hub:
        await check_handed_out(await hub.arena("a", create=True))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("whose", ["of another", "its own"])
async def test_a_rogue_ends_a_job_in_the_queue_and_the_run_is_finished_all_the_same(home: Path, whose: str) -> None:
    async with a_gate(home) as gate:
        client = await nats.connect(gate.on.server.url)
        if whose == "of another":
            await gate.worker("gpu7")
            await gate.ask("r1")
            await gate.begun(1)
            # the subject of an acknowledgement can be guessed: it is made of numbers
            seq = gate.on.follower.board.runs["r1"].seq
            await client.publish(f"$JS.ACK.MESH_tiny.workers_run-requested-explore.1.{seq}.1.1.0", b"+TERM")
            await client.flush()
            await gate.on.swarm.kill("gpu7")
        else:
            await gate.ask("r1")
            with anyio.fail_after(150):
                async with aclosing(gate.on.bus.work("workers", ["run.requested.explore"])) as jobs:
                    job = await anext(jobs)
                    assert isinstance(job, JetStreamDelivery)
                    await client.request(job._reply, b"+TERM", timeout=60)
        await gate.on.swarm.start("curator")
        await gate.worker("gpu7")
        gate.open()
        await gate.on.until(lambda board: "r1-k1" in board.runs and board.runs["r1-k1"].finished is not None)
        board = gate.on.follower.board
        assert isinstance(board.runs["r1-k1"].finished and board.runs["r1-k1"].finished.outcome, e.Scored)
        assert board.runs["r1"].finished is None
        assert "r1" not in board.unfinished
        await client.close()


def test_a_replaced_run_is_a_change_only_once_it_ends() -> None:
    reader = ChangeReader()
    history: list[Fact] = [*ASKED, ("gpu7", start())]
    log = entries([*history, ("cur", replace(request("r-k1", T1), instead_of="r")), ("gpu7", end(value=3.0))])
    board = Board(arena="a")
    for entry in log[:-2]:
        board.fold(entry)
    assert reader.look(board).ended == []
    board.fold(log[-2])
    assert (reader.look(board).ended, board.doubts.replaced) == ([], {"r": None})
    board.fold(log[-1])
    assert (reader.look(board).ended, board.doubts.replaced) == (["r"], {})


async def test_a_curator_that_is_a_member_may_not_ask_how_far_the_queue_is_and_does_without(tmp_path: Path) -> None:
    with member_hub(tmp_path) as members:
        async with connect(members.url, credentials=members.owner) as hub:
            bus = await hub.arena("a", create=True)
            assert await QueueReader(bus).handed_out() == dict.fromkeys(e.LANES, HandedOut(0, LEASE_S))
            async with connect(members.url, credentials=members.member("curator", "cura")) as own:
                reader, owners = QueueReader(await own.arena("a")), OwnerReader(own)
                with anyio.fail_after(150):
                    assert (await reader.handed_out(), await owners.owners()) == ({}, {})

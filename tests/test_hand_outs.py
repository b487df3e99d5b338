"""Whose starts and finishes of runs count: on a board, in SQL, and with real workers whose runs a stranger claims."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import nats
import pytest
from msgspec.structs import replace

from analytics.projection import Projection
from analytics.projector import replay
from analytics.sql_server import SqlServer
from mesh import events as e
from mesh import wire
from mesh.board import Board
from mesh.hand_outs import BY_STARTER
from mesh.live_curves import believed_run, curve_topic
from mesh.memory import MemoryHub
from mesh.wire import HUB_AUTHOR, Post
from tests.support.folding import rows
from tests.support.history import T1, T2, Fact, entries, finish, opened, proposal, request
from tests.test_leases import a_gate

CLAIMS = ("run.started", "run.finished", "worker.left", "agent.left")
STRICT = replace(opened(), rules=BY_STARTER)
GPU7 = e.WorkerJoined(boot="b7", worker_class="cpu", device="cpu", slots=1)
GPU8 = replace(GPU7, boot="b8")
ASKED: list[Fact] = [
    ("op", STRICT),
    ("gpu7", GPU7),
    ("gpu8", GPU8),
    ("ann", proposal(T1)),
    ("cur", request("r", T1)),
]


def start(boot: str = "b7", attempt: int = 1, run: str = "r") -> e.RunStarted:
    return e.RunStarted(run=run, attempt=attempt, worker=boot)


def end(boot: str = "b7", value: float = 1.0, run: str = "r") -> e.RunFinished:
    return replace(finish(run, T1, value), worker=boot)


def board_of(history: Sequence[Fact]) -> tuple[Board, list[bool]]:
    """Return the board of a history, and whether each of its facts counts."""
    board = Board(arena="a")
    return board, [board.fold(entry) for entry in entries(history)]


@pytest.mark.parametrize(
    ("author", "fact"),
    [
        ("gpu8", end()),  # a life of somebody else
        ("gpu8", end("b8")),  # its own life, which has not begun the run
        ("eve", end("b9")),  # a life that has not joined
    ],
)
def test_a_finish_counts_only_from_the_worker_that_began_the_run(author: str, fact: e.RunFinished) -> None:
    board, counted = board_of([*ASKED, ("gpu7", start()), (author, fact), ("gpu7", end(value=2.0))])
    assert counted[-3:] == [True, False, True]
    assert board.scores(T1) == [2.0]


def test_a_finish_before_the_start_does_not_count() -> None:
    board, counted = board_of([*ASKED, ("gpu7", end()), ("gpu7", start()), ("gpu7", end(value=2.0))])
    assert counted[-3:] == [False, True, True]
    assert board.scores(T1) == [2.0]


def test_a_start_before_the_request_does_not_count() -> None:
    board, counted = board_of([*ASKED[:4], ("gpu7", start()), ASKED[4], ("gpu7", end())])
    assert counted[-3:] == [False, True, False]
    assert list(board.unfinished) == ["r"]


@pytest.mark.parametrize(
    ("author", "fact"),
    [
        ("eve", start("b9")),  # nobody's life
        ("gpu8", start("b7")),  # a life of somebody else
        ("gpu7", start(attempt=2)),  # not the next attempt
        ("gpu7", start(attempt=1_000_000)),
        ("gpu7", start(run="gone")),
    ],
)
def test_a_start_counts_only_from_the_life_that_it_names_and_as_the_next_attempt(
    author: str, fact: e.RunStarted
) -> None:
    board, counted = board_of([*ASKED, (author, fact), ("gpu7", start())])
    assert counted[-2:] == [False, True]
    assert (board.runs["r"].attempts, board.runs["r"].begun) == (1, ("b7",))


def test_the_worker_that_a_run_was_given_to_again_finishes_it_and_so_may_the_first() -> None:
    history = [*ASKED, ("gpu7", start()), ("gpu8", start("b8", 2))]
    assert board_of([*history, ("gpu8", end("b8", 3.0))])[0].scores(T1) == [3.0]
    assert board_of([*history, ("gpu7", end("b7", 4.0)), ("gpu8", end("b8", 3.0))])[0].scores(T1) == [4.0]


def test_any_worker_may_say_that_a_killed_run_ended_and_nothing_else_of_it() -> None:
    killed: list[Fact] = [*ASKED, ("op", e.RunKilled(run="r", by="operator"))]
    ended = replace(finish("r", T1, e.Failed(reason="killed", message="")), worker="b8")
    crashed = replace(finish("r", T1, e.Failed(reason="crash", message="")), worker="b8")
    told: list[Fact] = [("gpu8", end("b8")), ("gpu8", crashed), ("eve", ended), ("gpu8", ended)]
    assert board_of([*killed, *told])[1][-4:] == [False, False, False, True]
    assert board_of([*ASKED, *told])[1][-4:] == [False, False, False, False]


def test_a_version_of_before_counts_every_start_and_finish_as_it_did() -> None:
    history: list[Fact] = [("op", opened()), *ASKED[1:], ("eve", start("b9", 3)), ("eve", end("b9"))]
    board, counted = board_of(history)
    assert all(counted)
    assert (board.runs["r"].attempts, board.scores(T1)) == (3, [1.0])


def test_the_rules_are_those_of_the_version_in_force() -> None:
    again = replace(STRICT, version=2)
    history: list[Fact] = [("op", opened()), *ASKED[1:], ("op", again), ("eve", end("b9")), ("cur", request("q", T1))]
    history += [("gpu7", start(run="q")), ("gpu7", end(run="q"))]
    board, counted = board_of(history)
    assert counted[-4:] == [False, True, True, True]
    assert list(board.unfinished) == ["r"]


class History:
    """A random history of workers, of whom some claim what is not theirs."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.runs = [f"r{number}" for number in range(self.rng.randrange(1, 7))]
        self.boots = {f"b{number}": f"gpu{number % 3}" for number in range(5)}

    def facts(self) -> Iterator[Fact]:
        rng = self.rng
        version = 1
        yield "op", STRICT
        yield "ann", proposal(T1)
        yield "ann", proposal(T2)
        for _ in range(rng.choice((20, 60, 120))):
            run, boot = rng.choice(self.runs), rng.choice(list(self.boots))
            author = self.boots[boot] if rng.random() < 0.8 else rng.choice(("eve", *self.boots.values()))
            draw = rng.random()
            if draw < 0.2:
                yield author, replace(GPU7, boot=boot)
            elif draw < 0.3:
                yield "cur", replace(request(run, rng.choice((T1, T2))), lane=rng.choice(("explore", "confirm")))
            elif draw < 0.33:
                yield "cur", e.RunKilled(run=run, by="rule")
            elif draw < 0.36:
                who = rng.choice((author, HUB_AUTHOR))
                yield who, e.WorkerLeft(boot=boot, silent=rng.random() < 0.5)
            elif draw < 0.38:
                agent = rng.choice(("ann", "bob"))
                joins = rng.random() < 0.5
                yield agent, e.AgentJoined(boot=f"a{boot}", role="critic") if joins else e.AgentLeft(boot=f"a{boot}")
            elif draw < 0.65:
                yield author, start(boot, rng.choice((1, 1, 1, 2, 3)), run)
            elif draw < 0.97:
                ended = end(boot, float(rng.randrange(9)), run)
                killed = replace(ended, outcome=e.Failed(reason="killed", message=""))
                yield author, killed if rng.random() < 0.2 else ended
            else:
                version += 1
                yield "op", replace(STRICT, version=version)


def test_the_board_and_sql_count_the_same_starts_and_finishes_wherever_a_batch_ends(tmp_path: Path) -> None:
    path, claimed = tmp_path / "a.duckdb", 0
    for seed in range(24):
        history = list(History(seed).facts())
        board, counted = board_of(history)
        log, rng = entries(history), random.Random(seed)
        expected = [entry.seq for entry, counts in zip(log, counted, strict=True) if counts]
        projection = Projection.open(path)
        projection.checkpoint("a", f"log {seed}", len(log))
        while log:
            batch, log = log[: (size := rng.choice((5, 20, 200)))], log[size:]
            projection.append("a", f"log {seed}", batch)
            if rng.random() < 0.1:
                projection.close()
                projection = Projection.open(path)
        with projection.cursor() as db:
            kinds = f"kind IN {CLAIMS}"
            found = db.execute(f"SELECT seq FROM internal.posts WHERE counts AND {kinds} ORDER BY seq").fetchall()
            here = db.execute("SELECT worker FROM workers WHERE state = 'here' ORDER BY worker").fetchall()
            runs = db.execute("SELECT run, attempts, value FROM runs ORDER BY seq").fetchall()
        projection.close()
        ours = {entry.seq for entry in entries(history) if entry.subject.kind in CLAIMS}
        assert [seq for (seq,) in found] == [seq for seq in expected if seq in ours], seed
        assert runs == [(name, run.attempts, run.value) for name, run in board.runs.items()], seed
        lives = {life.name: life for life in board.workers.values()}  # the last of each
        assert [name for (name,) in here] == sorted(name for name, life in lives.items() if not life.left), seed
        claimed += len(history) - len(expected)
    assert claimed > 200


async def test_what_does_not_count_is_shown_with_the_reason(tmp_path: Path) -> None:
    history: list[Fact] = [
        *ASKED,
        ("eve", start("b9")),
        ("eve", end("b9")),
        ("gpu7", start()),
        ("gpu7", end()),
        ("gpu8", end("b8")),
        ("gpu8", end("b8", run="gone")),
        ("bob", proposal(T1)),
    ]
    bus = await MemoryHub().arena("a", create=True)
    for author, fact in history:  # as a client of another make posts: over the keys of others
        post = Post.new(author, fact)
        bus.append_raw(wire.subject_of("a", post), wire.encode(post))
    await replay(bus, tmp_path / "a.duckdb")
    projection = Projection.open(tmp_path / "a.duckdb")
    found = await rows(SqlServer(projection), "SELECT author, kind, run, why FROM not_counted ORDER BY seq")
    projection.close()
    assert found == [
        ["eve", "run.started", "r", "its author may not begin this attempt"],
        ["eve", "run.finished", "r", "its author had not begun the run"],
        ["gpu8", "run.finished", "r", "the run had finished"],
        ["gpu8", "run.finished", "gone", "nobody had requested the run"],
        ["bob", "proposal.posted", None, "a fact before it has its key"],
    ]


def test_a_curve_is_believed_from_the_worker_that_began_the_run_last() -> None:
    board, _ = board_of([*ASKED, ("gpu7", start())])
    assert curve_topic("r", "gpu7") == "curve.r.gpu7"
    assert believed_run(board, "curve.r.gpu7") == "r"
    for topic in ("curve.r", "curve.r.gpu8", "curve.r.gpu7.more", "curve.q.gpu7", "curve.", "curve.r."):
        assert believed_run(board, topic) == ""
    board, _ = board_of([*ASKED, ("gpu7", start()), ("gpu8", start("b8", 2))])
    assert (believed_run(board, "curve.r.gpu7"), believed_run(board, "curve.r.gpu8")) == ("", "r")
    board, _ = board_of([*ASKED, ("gpu7", start()), ("gpu7", end())])
    assert believed_run(board, "curve.r.gpu7") == ""
    board, _ = board_of([("op", opened()), *ASKED[1:], ("gpu7", start())])
    assert (believed_run(board, "curve.r"), believed_run(board, "curve.r.gpu7")) == ("r", "r")


@pytest.mark.timeout(300)
async def test_a_stranger_claims_runs_of_a_real_worker_and_changes_nothing(home: Path) -> None:
    async with a_gate(home) as gate:
        await gate.worker("gpu7")
        await gate.ask("r1")
        await gate.begun(1)
        await gate.ask("r2")
        board = gate.on.follower.board
        tree = board.runs["r1"].requested.proposal
        claims: list[e.AnyEvent] = [start(f"x{number}", number, "r2") for number in (1, 2, 3)]
        claims += [replace(end("x1", -100.0, run), proposal=tree) for run in ("r1", "r2")]
        client = await nats.connect(gate.on.server.url)
        for claim in claims:
            post = Post.new("eve", claim)
            await client.publish(wire.subject_of("tiny", post), wire.encode(post))
        await client.flush()
        await gate.on.until(lambda board: len(board.void) >= len(claims))
        gate.open()
        for run in ("r1", "r2"):
            done = await gate.finished(run)
            assert board.workers[done.worker].name == "gpu7"
            assert done.outcome == e.Scored(value=1.0, metrics={"loss": 1.0})
            assert board.runs[run].attempts == 1
        assert board.scores(tree) == [1.0, 1.0]
        await client.close()

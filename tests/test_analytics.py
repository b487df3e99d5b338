"""The projection: rows of the views, rebuilding, bytes of any kind, and queries that are refused or interrupted."""

import datetime as dt
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from analytics.projection import Projection, view_sources
from analytics.projector import project, replay
from analytics.protocol import SERVICE, Answer, Query, Refusal, decode_query, decode_reply, encode
from analytics.queries import Queries
from mesh import events as e
from mesh import wire
from mesh.bus import ArenaBus
from mesh.errors import BadInput, QueryError
from mesh.jetstream import connect
from mesh.memory import MemoryBus, MemoryHub
from mesh.server import EmbeddedServer
from mesh.wire import Post

SPEC = e.ArenaSpec(
    name="a",
    objective=e.ObjectiveSpec(metric="loss", direction="minimize"),
    artifact=e.ArtifactSpec(editable=("train.py",)),
    trial=e.TrialSpec(command=("python", "train.py"), budget_s=1, deadline_s=2),
    score=e.ScoreSpec(how="command", command=("python", "score.py")),
)


def opened(version: int = 1, evaluator: str = "ev") -> e.ArenaOpened:
    return e.ArenaOpened(version=version, spec=SPEC, base_commit="c0", base_tree="t0", evaluator=evaluator)


def proposal(tree: str, *parents: str, how: Any = "sampler") -> e.ProposalPosted:
    origin = e.Origin(how=how)
    return e.ProposalPosted(tree=tree, commit=f"c-{tree}", parents=parents, title=f"title {tree}", origin=origin)


def request(run: str, tree: str, seed: int = 1) -> e.RunRequested:
    return e.RunRequested(
        run=run, lane="explore", proposal=tree, commit="c", seed=seed, budget_s=1, deadline_s=2, evaluator="ev"
    )


def finish(run: str, tree: str, outcome: float | e.Failed) -> e.RunFinished:
    scored = e.Scored(value=outcome) if isinstance(outcome, float) else outcome
    return e.RunFinished(run=run, proposal=tree, outcome=scored, worker="w", worker_class="cpu", trial_s=2.0)


def promote(tree: str, met: str, number: int) -> e.ProposalPromoted:
    return e.ProposalPromoted(proposal=tree, round=number, met=met, mean=0.0)


HISTORY: list[tuple[str, e.AnyEvent]] = [
    ("op", opened()),
    ("ann", e.AgentJoined(boot="b1", role="explorer")),
    ("w", e.WorkerJoined(boot="b2", worker_class="cpu", device="cpu", slots=1)),
    ("ann", proposal("t1", how="baseline")),
    ("ann", proposal("t2", "t1")),
    ("bob", proposal("t3", "t1", "t2")),
    ("cid", e.CritiquePosted(target="t2", verdict="endorse")),
    ("dan", e.CritiquePosted(target="t2", verdict="block")),
    ("cur", request("r1", "t1")),
    ("w", e.RunStarted(run="r1", attempt=1, worker="w")),
    ("w", finish("r1", "t1", 3.0)),
    ("cur", promote("t1", "", 1)),
    ("cur", request("r2", "t2", 1)),
    ("cur", request("r3", "t2", 2)),
    ("cur", request("r4", "t3")),
    ("cur", request("r5", "t3", 2)),
    ("w", finish("r2", "t2", 1.0)),
    ("w", finish("r3", "t2", 2.0)),
    ("w", finish("r4", "t3", e.Failed(reason="crash", message="boom"))),
    ("cur", e.RunKilled(run="r5", by="rule")),
    ("cur", promote("t2", "t1", 2)),
    ("cur", promote("t3", "t1", 3)),  # stale: t1 is champion no more
    ("cur", e.ProposalRetired(proposal="t3", round=4, why="failed")),
    ("ann", e.NotePosted(channel="general", text="hello\x00there")),
]


async def tell(bus: MemoryBus) -> None:
    for author, event in HISTORY:
        await bus.post(Post.new(author, event))
    again = Post.new("liar", finish("r2", "t2", -100.0))
    bus.append_raw(wire.subject_of("a", again), wire.encode(again))


async def a_bus(hub: MemoryHub) -> MemoryBus:
    bus = await hub.arena("a", create=True)
    await tell(bus)
    return bus


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Queries]:
    """Queries about the history."""
    await replay(await a_bus(MemoryHub()), tmp_path / "a.duckdb")
    projection = Projection.open(tmp_path / "a.duckdb")
    yield Queries(projection)
    projection.close()


async def rows(queries: Queries, sql: str) -> list[list[Any]]:
    return (await queries.answer(Query(sql))).rows


@asynccontextmanager
async def projecting(hub: MemoryHub, path: Path) -> AsyncIterator[None]:
    ready = anyio.Event()

    async def answer(projection: Projection, bus: ArenaBus) -> None:
        await bus.answer(SERVICE, Queries(projection).handle)

    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await project(hub, path, on_ready=ready.set, beside=answer)

        tasks.start_soon(run)
        with anyio.fail_after(20):
            await ready.wait()
        yield
        tasks.cancel_scope.cancel()


async def ask(bus: MemoryBus, sql: str, **limits: Any) -> Answer | Refusal:
    return decode_reply(await bus.ask(SERVICE, encode(Query(sql, **limits)), timeout_s=30))


async def ask_until(bus: MemoryBus, seq: int) -> None:
    """Return once the projection stands at `seq`."""
    with anyio.fail_after(20):
        while True:
            reply = await ask(bus, "SELECT 1")
            if isinstance(reply, Answer) and reply.as_of.get("a", 0) >= seq:
                return


def dump(path: Path) -> list[Any]:
    projection = Projection.open(path)
    try:
        with projection.cursor() as db:
            tables = ["checkpoints", *(name for name, _ in view_sources())]
            return [(name, sorted(map(repr, db.execute(f"FROM {name}").fetchall()))) for name in tables]
    finally:
        projection.close()


async def test_the_leaderboard_ranks_means_in_the_direction_of_the_arena(told: Queries) -> None:
    assert await rows(told, "SELECT rank, proposal, mean, seeds, best, worst, state, origin FROM leaderboard") == [
        [1, "t2", 1.5, 2, 1.0, 2.0, "champion", "sampler"],
        [2, "t1", 3.0, 1, 3.0, 3.0, "past_champion", "baseline"],
    ]


async def test_the_first_finish_of_a_run_counts(told: Queries) -> None:
    assert await rows(told, "SELECT run, state, reason, value, attempts, worker FROM runs ORDER BY run") == [
        ["r1", "scored", None, 3.0, 1, "w"],
        ["r2", "scored", None, 1.0, 0, "w"],
        ["r3", "scored", None, 2.0, 0, "w"],
        ["r4", "failed", "crash", None, 0, "w"],
        ["r5", "killed", "rule", None, 0, None],
    ]
    assert await rows(told, "SELECT count(*) FROM events WHERE kind = 'run.finished' AND key = 'r2'") == [[2]]


async def test_a_promotion_that_met_a_past_champion_does_not_count(told: Queries) -> None:
    assert await rows(told, "SELECT proposal, met, reigns FROM champions ORDER BY reign") == [
        ["t1", "", False],
        ["t2", "t1", True],
    ]
    assert await rows(told, "SELECT proposal, state, why FROM proposals ORDER BY proposal") == [
        ["t1", "past_champion", None],
        ["t2", "champion", None],
        ["t3", "retired", "failed"],
    ]


async def test_a_champion_can_come_back_and_a_skipped_promotion_leads_nowhere(tmp_path: Path) -> None:
    bus = await MemoryHub().arena("a", create=True)
    moves = [("t2", "t1"), ("t1", ""), ("t3", "t2"), ("t2", "t1"), ("t1", "t1"), ("t9", "t2"), ("t1", "t2")]
    events: list[e.AnyEvent] = [
        opened(),
        *map(proposal, ("t1", "t2", "t3")),
        *(promote(t, met, n) for n, (t, met) in enumerate(moves)),
    ]
    await bus.post_all([Post.new("cur", event) for event in events])
    await replay(bus, tmp_path / "a.duckdb")
    found = dict(dump(tmp_path / "a.duckdb"))["champions"]
    assert [row.split(", ")[1:3] for row in found] == [["1", "'t1'"], ["2", "'t2'"], ["3", "'t1'"]]


async def test_the_other_views_tell_the_history(told: Queries) -> None:
    assert await rows(told, "SELECT proposal, parent, gain FROM lineage ORDER BY ALL") == [
        ["t2", "t1", 1.5],
        ["t3", "t1", None],
        ["t3", "t2", None],
    ]
    assert await rows(told, "SELECT run, best FROM frontier") == [["r1", 3.0], ["r2", 1.0]]
    assert await rows(told, "SELECT critic, endorsed, blocked, blocked_champions FROM critics") == [
        ["cid", 1, 0, 0],
        ["dan", 0, 1, 1],
    ]
    assert await rows(told, "SELECT agent, state, proposals, promoted FROM agents") == [["ann", "here", 2, 2]]
    assert await rows(told, "SELECT worker, runs, scored, failed, trial_s FROM workers") == [["w", 4, 3, 1, 8.0]]
    assert await rows(told, "SELECT proposals, runs, round(sd, 3) FROM noise") == [[1, 2, 0.707]]
    assert await rows(told, "SELECT what, who, count, usd, usd_unknown FROM cost WHERE what = 'run'") == [
        ["run", "w", 4, None, 4]
    ]
    assert await rows(told, "SELECT channel, text FROM board") == [["general", "hello\x00there"]]


async def test_scores_of_an_older_evaluator_do_not_rank(tmp_path: Path) -> None:
    bus = await a_bus(MemoryHub())
    await bus.post(Post.new("op", opened(2, "new")))
    await replay(bus, tmp_path / "a.duckdb")
    found = dict(dump(tmp_path / "a.duckdb"))
    assert found["leaderboard"] == []
    assert len(found["runs"]) == 5


async def test_every_view_begins_with_what_it_is() -> None:
    for name, sql in view_sources():
        assert sql.startswith("-- "), name
        assert f"CREATE OR REPLACE VIEW {name} AS" in sql


async def test_folding_anew_equals_folding_live(tmp_path: Path) -> None:
    hub = MemoryHub()
    bus = await hub.arena("a", create=True)
    async with projecting(hub, tmp_path / "live.duckdb"):
        await tell(bus)
        await ask_until(bus, await bus.head())
    assert await replay(bus, tmp_path / "anew.duckdb", until=9) == 9
    assert await replay(bus, tmp_path / "anew.duckdb") == await bus.head()
    assert dump(tmp_path / "live.duckdb") == dump(tmp_path / "anew.duckdb")


async def test_rows_of_another_log_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    await replay(await a_bus(MemoryHub()), path)
    other = await MemoryHub().arena("a", create=True)
    await other.post(Post.new("op", opened()))
    assert await replay(other, path) == 1
    assert len(dict(dump(path))["events"]) == 1
    assert await replay(other, path, until=0) == 0
    assert dict(dump(path))["events"] == []


async def test_an_arena_that_is_opened_later_is_followed_too(tmp_path: Path) -> None:
    hub = MemoryHub()
    async with projecting(hub, tmp_path / "a.duckdb"):
        bus = await hub.arena("a", create=True)
        await bus.post(Post.new("op", opened()))
        with anyio.fail_after(20):
            while not bus._services.get(SERVICE):
                await anyio.lowlevel.checkpoint()
        await ask_until(bus, 1)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00\xff\xfe", b"[" * 5000, b'{"id":"\\ud800"}', b'{"event":{"kind":"future.fact","x":1}}', b"nan"],
)
async def test_bytes_of_any_kind_are_kept_and_stop_nothing(data: bytes, tmp_path: Path) -> None:
    bus = await a_bus(MemoryHub())
    bus.append_raw("mesh.a.future.fact.key.zoe", data)
    bus.append_raw("nonsense", data)
    bus.append_raw("mesh.a.run.finished.r1.\ud800", data)
    huge = wire.encode(Post.new("cur", request("r9", "t1"))).replace(b'"seed":1', b'"seed":1' + b"0" * 40)
    bus.append_raw("mesh.a.run.requested.explore.r9.cur", huge)
    lone = wire.encode(Post.new("ann", e.NotePosted(channel="general", text="x"))).replace(b'"x"', b'"\\ud800"')
    bus.append_raw("mesh.a.note.posted.k.ann", lone)
    far = wire.encode(Post.new("ann", opened(9))).replace(str(dt.datetime.now(dt.UTC).year).encode(), b"0001", 1)
    bus.append_raw("mesh.a.arena.opened.9.ann", far)
    path = tmp_path / "a.duckdb"
    assert await replay(bus, path) == await bus.head() == len(HISTORY) + 7
    found = dict(dump(path))
    assert len(found["events"]) == len(HISTORY) + 7
    assert any("'future.fact', 'key'" in row and "False" in row for row in found["events"])
    assert len(found["runs"]) == 6  # a seed of 41 digits is an odd fact, but one


REFUSED = {
    "two statements": "SELECT 1; SELECT 2",
    "none": "",
    "a syntax error": "SELEC 1",
    "insert": "INSERT INTO checkpoints VALUES ('b', 'x', 1)",
    "update": "UPDATE posts SET seq = 0",
    "delete": "DELETE FROM posts",
    "drop": "DROP TABLE posts",
    "create": "CREATE TABLE t (a INT)",
    "create temp": "CREATE TEMP TABLE t (a INT)",
    "delete in with": "WITH d AS (DELETE FROM posts RETURNING *) FROM d",
    "explain analyze delete": "EXPLAIN ANALYZE DELETE FROM posts",
    "explain analyze insert": "EXPLAIN ANALYZE INSERT INTO posts FROM posts",
    "explain analyze copy": "EXPLAIN ANALYZE COPY posts TO '{tmp}/x.csv'",
    "copy": "COPY posts TO '{tmp}/x.csv'",
    "copy of a query": "COPY (SELECT 1) TO '{tmp}/x.csv'",
    "export": "EXPORT DATABASE '{tmp}/x'",
    "attach": "ATTACH '{tmp}/x.duckdb'",
    "detach": "DETACH a",
    "use": "USE a",
    "pragma": "PRAGMA table_info('posts')",
    "set": "SET memory_limit = '10GB'",
    "reset": "RESET memory_limit",
    "set variable": "SET VARIABLE x = 1",
    "call": "CALL pragma_version()",
    "prepare": "PREPARE p AS SELECT 1",
    "execute": "EXECUTE p",
    "begin": "BEGIN",
    "commit": "COMMIT",
    "checkpoint": "CHECKPOINT",
    "vacuum": "VACUUM",
    "load": "LOAD httpfs",
    "install": "INSTALL httpfs",
    "nextval": "SELECT nextval('s')",
    "getenv": "SELECT getenv('HOME')",
    "read_csv": "FROM read_csv('/etc/passwd')",
    "read_text": "FROM read_text('/etc/passwd')",
    "read_blob": "FROM read_blob('/etc/passwd')",
    "read_json": "FROM read_json('{tmp}/f.json')",
    "read_parquet": "FROM read_parquet('{tmp}/f.parquet')",
    "a file as table": "FROM '{tmp}/f.csv'",
    "sniff_csv": "FROM sniff_csv('/etc/passwd')",
    "glob": "FROM glob('/*')",
    "secrets": "FROM duckdb_secrets()",
    "query()": "FROM query('DELETE FROM posts')",
    "a Python variable": "FROM REFUSED",
    "profiling": "FROM enable_profiling()",
    "logging": "FROM enable_logging()",
    "a macro": "CREATE MACRO m() AS 1",
    "time zones": "SELECT now()",
    "too long": "SELECT 1 --" + "x" * 60_000,
    "too deep": "SELECT " + "(" * 20_000 + "1" + ")" * 20_000,
    "too much memory": "SELECT len(list(range)) FROM range(1000000000)",
}


@pytest.mark.parametrize("way", REFUSED)
async def test_what_does_not_only_read_the_projection_is_refused(way: str, told: Queries, tmp_path: Path) -> None:
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(QueryError):
        await told.answer(Query(REFUSED[way].replace("{tmp}", str(tmp_path))))
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert await rows(told, "SELECT count(*), max(seq) FROM events") == [[len(HISTORY) + 1] * 2]


@pytest.mark.parametrize(
    "sql",
    [
        "EXPLAIN FROM runs",
        "EXPLAIN ANALYZE FROM runs",
        "SHOW TABLES",
        "DESCRIBE runs",
        "SUMMARIZE runs",
        "FROM runs;",
    ],
)
async def test_what_only_reads_is_answered(sql: str, told: Queries) -> None:
    answer = await told.answer(Query(sql))
    assert answer.rows
    assert answer.as_of == {"a": len(HISTORY) + 1}
    assert len(answer.columns) == len(answer.types) == len(answer.rows[0])


async def test_a_query_sees_no_more_rows_than_asked_for(told: Queries) -> None:
    answer = await told.answer(Query("FROM range(100)", max_rows=7))
    assert ([row[0] for row in answer.rows], answer.truncated) == (list(range(7)), True)
    assert not (await told.answer(Query("FROM range(7)", max_rows=7))).truncated


async def test_values_that_json_lacks_are_sent_as_what_it_has(told: Queries) -> None:
    sql = """SELECT
             'nan'::DOUBLE, DATE '2026-01-02', TIMESTAMP '2026-01-02 03:04:05', 1.5::DECIMAL(3, 1), INTERVAL 1 DAY,
             'x'::BLOB, 2::HUGEINT ** 2, 170141183460469231731687303715884105727, [1, NULL], {'a': 1e999::DOUBLE}"""
    reply = decode_reply(await told.handle(encode(Query(sql))))
    assert isinstance(reply, Answer)
    assert reply.rows == [
        [None, "2026-01-02", "2026-01-02 03:04:05", 1.5, 86400.0, "78", 4.0, str(2**127 - 1), [1, None], {"a": None}]
    ]


async def test_a_question_that_is_none_is_refused(told: Queries) -> None:
    for data in (b"", b"\xff", b"[]", b'{"sql": 1}'):
        assert isinstance(decode_reply(await told.handle(data)), Refusal)
        with pytest.raises(BadInput):
            decode_query(data)
        with pytest.raises(BadInput):
            decode_reply(data)


RUNAWAY = "SELECT count(*) FROM range(10000000000) a, range(10000000000) b"


async def test_a_runaway_query_is_interrupted_while_projecting_goes_on(tmp_path: Path) -> None:
    hub = MemoryHub()
    bus = await a_bus(hub)
    replies: list[Answer | Refusal] = []
    async with projecting(hub, tmp_path / "a.duckdb"):

        async def runaway() -> None:
            replies.append(await ask(bus, RUNAWAY, timeout_s=2.0))

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(runaway)
                await anyio.lowlevel.checkpoint()
                seq = await bus.post(Post.new("ann", e.NotePosted(channel="general", text="on")))
                await ask_until(bus, seq)
                assert not replies
    assert isinstance(replies[0], Refusal)
    assert "interrupted after 2 s" in replies[0].error


async def test_a_query_ends_with_whoever_waits_for_it(told: Queries) -> None:
    with anyio.fail_after(10), anyio.move_on_after(0.2) as scope:
        await told.answer(Query(RUNAWAY, timeout_s=60))
    assert scope.cancelled_caught


async def test_a_damaged_file_is_moved_aside_and_folded_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.duckdb"
    path.write_bytes(b"garbage" * 1000)
    bus = await a_bus(MemoryHub())
    assert await replay(bus, path) == len(HISTORY) + 1
    assert "moved to a.duckdb.damaged-1" in capsys.readouterr().err
    assert (tmp_path / "a.duckdb.damaged-1").read_bytes().startswith(b"garbage")


async def test_a_file_that_cannot_be_one_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "a.duckdb"):
        with pytest.raises(BadInput):
            Projection.open(path)


async def test_a_second_projector_is_told_in_one_sentence(tmp_path: Path, server: EmbeddedServer) -> None:
    path = tmp_path / "a.duckdb"
    projection = Projection.open(path)
    command = [sys.executable, "-m", "analytics", "--nats", server.url, "--db", str(path)]
    with anyio.fail_after(60):
        done = await anyio.run_process(command, check=False)
    projection.close()
    said = f"analytics: {path} is in use by another projector: stop that one, or name another --db\n"
    assert (done.returncode, done.stderr.decode()) == (2, said)


async def test_the_process_folds_answers_and_ends_when_told(tmp_path: Path, server: EmbeddedServer) -> None:
    command = [sys.executable, "-m", "analytics", "--nats", server.url, "--db", str(tmp_path / "a.duckdb")]
    with anyio.fail_after(60):
        async with connect(server.url) as hub:
            bus = await hub.arena("a", create=True)
            await bus.post_all([Post.new(author, event) for author, event in HISTORY])
            async with await anyio.open_process(command) as process:
                assert process.stderr
                assert b"is up to date" in await process.stderr.receive()
                data = await bus.ask(SERVICE, encode(Query("SELECT proposal FROM leaderboard")))
                reply = decode_reply(data)
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0
    assert isinstance(reply, Answer)
    assert (reply.rows, reply.as_of) == ([["t2"], ["t1"]], {"a": len(HISTORY)})

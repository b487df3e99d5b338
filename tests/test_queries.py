"""SqlServer of strangers: what is answered, what is refused, and what is interrupted."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from analytics.projection import Projection
from analytics.sql_server import MAX_OPEN, SqlServer
from mesh import events as e
from mesh.errors import BadInput, QueryError
from mesh.memory import MemoryHub
from mesh.sql_protocol import STOP, Answer, More, Query, Refusal, decode_query, decode_reply, encode
from mesh.wire import Post
from tests.support.folding import ask, ask_until, bus_with, folded_once, projecting, rows
from tests.support.history import HISTORY


@pytest.fixture(scope="module")
def projection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Projection]:
    with folded_once(tmp_path_factory.mktemp("projection") / "a.duckdb") as projection:
        yield projection


@pytest.fixture
async def queries(projection: Projection) -> AsyncIterator[SqlServer]:
    queries = SqlServer(projection)
    yield queries
    queries.close()


REFUSED = {
    "two statements": "SELECT 1; SELECT 2",
    "none": "",
    "a syntax error": "SELEC 1",
    "insert": "INSERT INTO internal.checkpoints VALUES ('b', 'x', 1)",
    "update": "UPDATE internal.posts SET seq = 0",
    "delete": "DELETE FROM internal.posts",
    "drop": "DROP TABLE internal.posts",
    "create": "CREATE TABLE t (a INT)",
    "create temp": "CREATE TEMP TABLE t (a INT)",
    "delete in with": "WITH d AS (DELETE FROM internal.posts RETURNING *) FROM d",
    "explain analyze delete": "EXPLAIN ANALYZE DELETE FROM internal.posts",
    "explain analyze insert": "EXPLAIN ANALYZE INSERT INTO internal.posts FROM internal.posts",
    "explain analyze copy": "EXPLAIN ANALYZE COPY internal.posts TO '{tmp}/x.csv'",
    "copy": "COPY internal.posts TO '{tmp}/x.csv'",
    "copy of a query": "COPY (SELECT 1) TO '{tmp}/x.csv'",
    "copy from": "COPY internal.posts FROM '{tmp}/x.csv'",
    "import": "IMPORT DATABASE '{tmp}/x'",
    "alter": "ALTER TABLE internal.posts ADD COLUMN x INT",
    "merge": "MERGE INTO internal.posts USING internal.posts p ON false WHEN NOT MATCHED THEN INSERT",
    "comment": "COMMENT ON TABLE internal.posts IS 'x'",
    "http": "FROM read_csv('http://127.0.0.1:1/x.csv')",
    "a URL as table": "FROM 'https://127.0.0.1:1/x.parquet'",
    "update extensions": "UPDATE EXTENSIONS",
    "parquet metadata": "FROM parquet_metadata('/etc/passwd')",
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
    "query()": "FROM query('DELETE FROM internal.posts')",
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
async def test_what_does_not_only_read_the_projection_is_refused(way: str, queries: SqlServer, tmp_path: Path) -> None:
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(QueryError):
        await queries.answer(Query(REFUSED[way].replace("{tmp}", str(tmp_path))))
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert await rows(queries, "SELECT count(*), max(seq) FROM events") == [[len(HISTORY) + 1] * 2]


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
async def test_what_only_reads_is_answered(sql: str, queries: SqlServer) -> None:
    answer = await queries.answer(Query(sql))
    assert answer.rows
    assert answer.as_of == {"a": len(HISTORY) + 1}
    assert len(answer.columns) == len(answer.types) == len(answer.rows[0])


async def test_a_query_sees_no_more_rows_than_asked_for(queries: SqlServer) -> None:
    answer = await queries.answer(Query("FROM range(100)", max_rows=7))
    assert ([row[0] for row in answer.rows], answer.truncated) == (list(range(7)), True)
    assert not (await queries.answer(Query("FROM range(7)", max_rows=7))).truncated


async def test_values_that_json_lacks_are_sent_as_what_it_has(queries: SqlServer) -> None:
    sql = """SELECT
             'nan'::DOUBLE, DATE '2026-01-02', TIMESTAMP '2026-01-02 03:04:05', 1.5::DECIMAL(3, 1), INTERVAL 1 DAY,
             'x'::BLOB, 2::HUGEINT ** 2, 170141183460469231731687303715884105727, [1, NULL], {'a': 1e999::DOUBLE}"""
    reply = decode_reply(await queries.handle(encode(Query(sql))))
    assert isinstance(reply, Answer)
    assert reply.rows == [
        [None, "2026-01-02", "2026-01-02 03:04:05", 1.5, 86400.0, "78", 4.0, str(2**127 - 1), [1, None], {"a": None}]
    ]


async def test_a_question_that_is_none_is_refused(queries: SqlServer) -> None:
    for data in (b"", b"\xff", b"[]", b'{"sql": 1}'):
        assert isinstance(decode_reply(await queries.handle(data)), Refusal)
        with pytest.raises(BadInput):
            decode_query(data)
        with pytest.raises(BadInput):
            decode_reply(data)


RUNAWAY = "SELECT count(*) FROM range(10000000000) a, range(10000000000) b"


async def test_a_runaway_query_is_interrupted_while_projecting_goes_on(tmp_path: Path) -> None:
    hub = MemoryHub()
    bus = await bus_with(hub)
    async with projecting(hub, tmp_path / "a.duckdb"):
        for timeout_s in (2.0, 10.0, 50.0):  # on a busy machine, both may take long
            replies: list[Answer | Refusal] = []

            async def runaway() -> None:
                replies.append(await ask(bus, RUNAWAY, timeout_s=timeout_s))  # noqa: B023

            with anyio.fail_after(200):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(runaway)
                    await anyio.lowlevel.checkpoint()
                    seq = await bus.post(Post.new("ann", e.NotePosted(channel="general", text="on")))
                    await ask_until(bus, seq)
                    went_on = not replies
            assert isinstance(replies[0], Refusal)
            assert f"interrupted after {timeout_s:g} s" in replies[0].error
            if went_on:
                break
        assert went_on


@pytest.mark.parametrize("way", ["insert", "copy", "read_csv", "two statements", "set", "attach"])
async def test_what_is_refused_at_once_is_refused_in_pages(way: str, queries: SqlServer, tmp_path: Path) -> None:
    with pytest.raises(QueryError):
        await queries.first(Query(REFUSED[way].replace("{tmp}", str(tmp_path)), id="i"))
    with pytest.raises(QueryError, match="the rest of the answer has expired"):
        await queries.more(More("i"))


async def test_an_answer_comes_in_pages_without_a_gap(queries: SqlServer) -> None:
    for limit, count, truncated in ((0, 12_345, False), (10_000, 10_000, True), (12_345, 12_345, False)):
        page = await queries.first(Query("SELECT range FROM range(12345)", max_rows=limit, id="i"))
        found = [row[0] for row in page.rows]
        while page.more:
            assert (page.more, page.truncated) == (queries.service, False)
            page = await queries.more(More("i"))
            found += [row[0] for row in page.rows]
        assert (found, page.truncated) == (list(range(count)), truncated)


async def test_a_page_of_large_values_is_small(queries: SqlServer) -> None:
    page = await queries.first(Query("SELECT repeat('x', 100000) FROM range(1000)", max_rows=0, id="i"))
    assert (len(page.rows), page.more) == (11, queries.service)
    queries.close()


@pytest.mark.parametrize(
    "values", ["repeat('x', 40000000)", "list(range)::VARCHAR FROM range(4000000)", "repeat('x', 17000000)"]
)
async def test_a_row_that_is_too_long_is_refused_and_never_cut(values: str, queries: SqlServer) -> None:
    for name in ("", "pages"):
        reply = decode_reply(await queries.handle(encode(Query(f"SELECT {values}", id=name))))
        assert isinstance(reply, Refusal)
        assert "characters; at most 16,000,000 can be sent" in reply.error
    for name in ("", "more"):  # each row fits, all of them do not: what comes says that it is not all
        reply = decode_reply(
            await queries.handle(encode(Query("SELECT repeat('x', 15000000) FROM range(20)", id=name)))
        )
        assert isinstance(reply, Answer)
        assert (len(reply.rows) < 20, reply.truncated or bool(reply.more)) == (True, True)


async def test_an_answer_is_bounded_as_it_is_encoded(queries: SqlServer) -> None:
    escaped = Query("SELECT repeat(chr(1), 15000000) FROM range(3)")
    reply = decode_reply(await queries.handle(encode(escaped)))
    assert isinstance(reply, Refusal)
    assert "bytes; at most 100,000,000 can be sent at once" in reply.error


async def test_pages_over_the_bus_are_of_one_projector_and_can_be_stopped(tmp_path: Path) -> None:
    hub = MemoryHub()
    bus = await bus_with(hub)
    async with projecting(hub, tmp_path / "a.duckdb"):
        page = await ask(bus, "FROM range(50000)", max_rows=0, id="i")
        assert isinstance(page, Answer)
        again = decode_reply(await bus.ask(page.more, encode(More("i"))))
        assert isinstance(again, Answer)
        assert again.rows[0] == [len(page.rows)]
        await bus.tell(STOP, b"i")
        with anyio.fail_after(50):
            while not isinstance(refusal := decode_reply(await bus.ask(page.more, encode(More("i")))), Refusal):
                await anyio.lowlevel.checkpoint()
        assert "has expired" in refusal.error


async def test_a_query_that_works_is_stopped_by_whoever_asked_it(queries: SqlServer) -> None:
    refusals: list[str] = []

    async def run() -> None:
        with pytest.raises(QueryError) as refused:
            await queries.first(Query(RUNAWAY, timeout_s=60, id="i"))
        refusals.append(str(refused.value))

    with anyio.fail_after(50):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await anyio.lowlevel.checkpoint()
            queries.stop("another")
            queries.stop("i")
    assert refusals == ["the query was stopped by its client"]


async def test_an_answer_that_nobody_goes_on_reading_gives_up_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics.sql_server.IDLE_S", 600.0)
    hub = MemoryHub()
    bus = await bus_with(hub)
    async with projecting(hub, tmp_path / "a.duckdb"):
        with anyio.fail_after(90):  # less than an answer is kept that somebody reads
            asked = 0
            while isinstance(told := await ask(bus, "FROM range(50000)", max_rows=0, id=f"i{asked}"), Answer):
                asked += 1
            assert asked == MAX_OPEN
            assert isinstance(told, Refusal)
            assert "sending 8 large answers" in told.error
            monkeypatch.setattr("analytics.sql_server.IDLE_S", 2.0)
            while isinstance(await ask(bus, "FROM range(50000)", max_rows=0, id="one-more"), Refusal):
                await anyio.lowlevel.checkpoint()


async def test_a_query_ends_with_whoever_waits_for_it(queries: SqlServer) -> None:
    with anyio.fail_after(50), anyio.move_on_after(0.2) as scope:
        await queries.answer(Query(RUNAWAY, timeout_s=60))
    assert scope.cancelled_caught

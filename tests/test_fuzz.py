"""More than five thousand odd inputs, from fixed seeds: no traceback, no hang, and no answer with status 500.

An input is taken, or refused with an error of ours that is one sentence.
"""

import datetime as dt
import inspect
import io
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from random import Random

import anyio
import httpx
import msgspec
import pytest

from analytics.projection import Projection, view_sources
from analytics.sql_server import fold_and_answer
from analytics.web.app import Page, make_app
from analytics.web.event_stream import Feed
from analytics.web.view_cache import ViewCache
from mesh import wire
from mesh.arena import evaluator_hash, load_arena
from mesh.board import Board
from mesh.board_bytes import from_bytes, to_bytes
from mesh.code import CodeStore
from mesh.errors import MeshError
from mesh.follow import Follower
from mesh.foreign_folder import describe
from mesh.memory import MemoryHub
from mesh.roll_call import Watchman
from mesh.sql_protocol import Query
from mesh.testing import opened
from mesh.wire import Post
from mesh_cli.__main__ import ORDER, app, main
from mesh_cli.history.import_results import Source, import_results
from mesh_cli.history.result_rows import read_history
from tests.support.arenas import ARENA, write_arena
from tests.support.folding import bus_with, folded
from tests.support.fuzzing import ODD, mutations
from tests.support.history import RICH_HISTORY, T1
from tests.test_cli import serving
from tests.test_golden import GOLDEN

ROOT = Path(__file__).parents[1]
SLOWEST_S = 30.0
"""Seconds that one input may take on a loaded machine; most take a thousandth."""


@contextmanager
def one(what: object) -> Iterator[None]:
    """Take one input: nothing but an error of ours with one sentence leaves it, and it ends soon."""
    began = time.monotonic()
    try:
        yield
    except MeshError as error:
        if "\n" in str(error) or not str(error):
            pytest.fail(f"{what!r:.300} is refused with {str(error)!r}, which is not one sentence")
    except Exception as error:
        pytest.fail(f"{what!r:.2000} ends in {type(error).__name__}: {error}")
    assert time.monotonic() - began < SLOWEST_S, what


def test_1000_files_of_an_arena(tmp_path: Path) -> None:
    folder = write_arena(tmp_path)
    for name in (
        "predict.py",
        "prepare.py",
        "README.md",
        "world.py",
        "draw.py",
        "match.py",
        "text.jsonl.xz",
        "rank.py",
        "manuals.jsonl.xz",
    ):
        (folder / name).touch()
    texts = [ARENA, *(path.read_text(encoding="utf-8") for path in sorted((ROOT / "arenas").glob("*/arena.toml")))]
    taken = 0
    for text in mutations(1, texts, 1000):
        (folder / "arena.toml").write_bytes(text.encode("utf-8", "surrogatepass"))
        with one(text):
            spec = load_arena(folder)
            taken += 1
            evaluator_hash(spec, {"train.py": b"", "score.py": b"x"})
            data = wire.encode(Post.new("op", opened(spec)))  # what is taken can be posted, and is understood
            assert wire.entry(1, dt.datetime.now(dt.UTC), f"mesh.{spec.name}.arena.opened.1.op", data).post
    assert 100 < taken < 900


TSV = (
    "commit\tval_bpb\tmemory_gb\tstatus\tdescription\na1b2c3d\t0.9979\t44.0\tkeep\tbaseline\n"
    "b2c3d4e\t0.9932\t44.2\tkeep\tincrease LR to 0.04\nc3d4e5f\t1.005\t44.0\tdiscard\tswitch to GeLU\n"
    "d4e5f6g\t0.000000\t0.0\tcrash\tdouble model width (OOM)\n"
)


async def test_800_files_of_results(home: Path, tmp_path: Path) -> None:
    hub = MemoryHub()
    for number, text in enumerate(mutations(2, [TSV, TSV.replace("\n", "\r\n"), TSV * 3], 800)):
        data = text.encode("utf-8", "surrogatepass")
        with one(text):
            read_history(data, "results.tsv")
            if number % 10 == 0:
                path = tmp_path / "results.tsv"
                path.write_bytes(data)
                await import_results(hub, Source(path, name=f"r{number}"))


FOREIGN = (
    "evaluator:\n  timeout: 60\n  cascade_evaluation: true\n  cascade_thresholds: [0.5, 0.75]\nllm:\n  models: []\n",
    "max_iterations: 10\nevaluator: {timeout: 7.5, parallel: 2}\n",
    "a: &a\n  timeout: 5\nevaluator: *a\n",
)
_FILES = """evaluator.py initial_program.py initial_program.rs evaluate.py initial.py initial.cpp program.md prepare.py
train.py README.md évaluator.py initial_program. -x"""
FILES = tuple(_FILES.split())


def test_600_folders_of_other_systems(tmp_path: Path) -> None:
    rng, taken = Random(3), 0
    for number, config in enumerate(mutations(3, FOREIGN, 600)):
        name = rng.choice(("task", "a b", "é", "--", "x" * 200, "[arena]", 'a"b', "..."))
        folder = tmp_path / str(number) / name
        folder.mkdir(parents=True)
        for file in rng.sample(FILES, rng.randrange(1, len(FILES))):
            (folder / file).write_text("x = 1\n", encoding="utf-8")
        (folder / "config.yaml").write_bytes(config.encode("utf-8", "surrogatepass"))
        with one((name, sorted(path.name for path in folder.iterdir()), config)):
            if describe(folder):
                load_arena(folder)
                taken += 1
    assert taken > 50


COMMANDS = tuple(name for names in ORDER.values() for name in names)
_OPTIONS = """--json --arena --nats --help -n --since --until --author --kind --to-seq --csv --format --text --every
--timeout --limit --stat --name --home --depth --dot champion base run:x a tiny general hello x.sql use add list #3 1111
t2 nats://127.0.0.1:1"""
WORDS = (*ODD, *_OPTIONS.split())
VALUES = tuple(word for word in WORDS if not word.startswith("-"))
ENDLESS = ("up", "web", "top", "doctor", "open", "snapshot", "completion", "wait")
"""Commands that start processes, serve, or look at the whole machine: these get no words that could start them."""


def _lines(seed: int, count: int, commands: Sequence[str]) -> Iterator[list[str]]:
    """Yield command lines: each command with its own arguments and options and odd values, sometimes a word more."""
    rng = Random(seed)
    for number in range(count):
        command = commands[number % len(commands)]
        words = [command]
        known = inspect.signature(app[command].default_command or print).parameters.values()
        for parameter in known:
            if parameter.kind is not parameter.KEYWORD_ONLY:
                words += rng.choices(VALUES, k=rng.choice((0, 1, 1, 1, 2)))
            elif rng.random() < 0.3 and parameter.name != "nats":
                value = [] if parameter.annotation is bool or parameter.default is False else [rng.choice(VALUES)]
                words += [_option(parameter.name), *value]
        words += rng.choices(WORDS, k=rng.choice((0, 0, 0, 0, 1)))
        yield [*words, "--no-such-option"] if command in ENDLESS else words


def _option(name: str) -> str:
    return f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"


def _run(words: list[str], output: io.StringIO) -> object:
    with redirect_stdout(output), redirect_stderr(output), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"hello\n")))
        try:
            main(words)
        except SystemExit as ended:
            return ended.code
    return "no exit code"


def test_600_command_lines_without_a_server(home: Path, tmp_path: Path) -> None:
    _command_lines(_lines(4, 600, COMMANDS), tmp_path)


_READING = "status leaderboard show diff lineage children leaves post reply channels kill tail"
READING = tuple(_READING.split())


def test_200_command_lines_with_a_server(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(home) as url:
        monkeypatch.setenv("MESH_NATS", url)
        monkeypatch.setenv("MESH_ARENA", "a")

        async def fill() -> None:
            from mesh.jetstream import connect

            async with connect(url) as hub:
                bus = await hub.arena("a", create=True)
                await bus.post_all([Post.new(author, event) for author, event in RICH_HISTORY])

        anyio.run(fill)
        _command_lines(_lines(5, 200, READING), tmp_path)


def _command_lines(lines: Iterator[list[str]], folder: Path) -> None:
    (folder / "here").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "here")
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        for words in lines:
            output = io.StringIO()
            with one(words):
                code = _run(words, output)
                assert isinstance(code, int), code
                assert "Traceback" not in output.getvalue()


PATHS = ("/", "/api/state", "/api/dots", "/api/dag", f"/api/proposal/{T1}", "/api/board", "/api/events", "/api/note",
         "/api/sql", "/static/app.js", "/static/", "/api/proposal/", "/api/nothing")  # fmt: skip
BODIES = ('{"sql": "SELECT 1"}', '{"text": "x", "channel": "general", "reply_to": 3}', "[]", "null", "{}")


async def test_1000_requests_to_the_page(tmp_path: Path) -> None:
    hub = MemoryHub()
    bus = await bus_with(hub, RICH_HISTORY)
    follower = Follower(bus)
    await follower.catch_up()
    feed = Feed(bus, follower)
    watchman = Watchman(bus, lambda: follower.board)
    views, code = ViewCache(bus, follower, feed, watchman), CodeStore(tmp_path / "code", bus)
    page = Page(bus, follower, feed, views, code, watchman, "op", "t" * 20)
    transport = httpx.ASGITransport(make_app(page, ("localhost",)), raise_app_exceptions=True)
    rng, bodies = Random(6), mutations(6, BODIES, 1000)
    ready = anyio.Event()
    async with (
        anyio.create_task_group() as tasks,
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):

        async def answer() -> None:
            await fold_and_answer(hub, tmp_path / "a.duckdb", on_ready=ready.set)

        tasks.start_soon(answer)
        tasks.start_soon(feed.follow)
        await ready.wait()
        for body in bodies:
            path = rng.choice(PATHS)
            if rng.random() < 0.3:
                path = path.rsplit("/", 1)[0] + "/" + rng.choice(ODD)
            query = (
                f"?{rng.choice(('n', 'after', 'limit', 'before', 'x'))}={rng.choice(ODD)}" if rng.random() < 0.5 else ""
            )
            method = rng.choice(("GET", "GET", "POST", "HEAD", "PUT", "OPTIONS", "X"))
            kinds = ("application/json", "text/plain", "", "application/json; charset=x")
            headers = {"content-type": rng.choice(kinds), "authorization": rng.choice(("", "Bearer " + "t" * 20, "x"))}
            headers |= {"host": rng.choice(("localhost", "localhost", "localhost", "evil.example"))}
            with one((method, path, query, headers, body)):
                target = httpx.URL("http://localhost", raw_path=_quoted(path + query))
                with anyio.move_on_after(0.2 if path == "/api/events" else SLOWEST_S):  # a stream does not end
                    reply = await http.request(method, target, headers=headers, content=body.encode("utf-8", "replace"))
                    assert reply.status_code != 500, reply.text
                    if (
                        reply.status_code >= 400
                        and method != "HEAD"
                        and "json" in reply.headers.get("content-type", "")
                    ):
                        assert set(reply.json()) == {"error"}
        tasks.cancel_scope.cancel()


def _quoted(path: str) -> bytes:
    raw = path.encode("utf-8", "surrogatepass")
    return b"".join(bytes([b]) if 32 < b < 127 and b not in b"#" else b"%%%02X" % b for b in raw)


STATEMENTS = tuple(re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "sql.md").read_text(encoding="utf-8"), re.DOTALL))
_CLAUSES = """FROM|events|scores|SELECT *|COPY posts TO '/tmp/x'|read_csv('/etc/passwd')|ATTACH 'x'|;|DROP VIEW events
INSERT INTO layout VALUES (1)|PRAGMA database_list|SET threads = 9|range(10000000000)|::TIMESTAMPTZ|::INTERVAL|1/0
::UUID|sqrt(-1)|CAST('x' AS INT)|body::JSON|unnest([1,2])|MAP {1: 2}|'infinity'::DATE|'290000-01-01'::TIMESTAMP|::BIT
WITH RECURSIVE t AS (SELECT 1 UNION ALL FROM t) FROM t|repeat('x', 100000000)|::UNION(a INT, b TEXT)|INSTALL httpfs
LOAD json|EXPLAIN ANALYZE|DESCRIBE|SHOW TABLES|getenv('HOME')|current_setting('threads')|$1|?|CALL x()|VACUUM
CHECKPOINT|BEGIN|EXPORT DATABASE 'x'|::BLOB"""
CLAUSES = (*ODD, *_CLAUSES.replace("\n", "|").split("|"))


async def test_800_statements_of_sql(tmp_path: Path) -> None:
    views = [f"FROM {name}" for name, _ in view_sources()]
    async with folded(tmp_path / "a.duckdb", RICH_HISTORY) as queries:
        for sql in mutations(7, [*STATEMENTS, *views], 800, CLAUSES):
            sql = sql.encode("utf-8", "replace").decode()  # a query travels as JSON
            with one(sql):
                answer = await queries.answer(Query(sql, max_rows=50, timeout_s=0.3))
                msgspec.json.encode(answer)
        assert (await queries.answer(Query("SELECT count(*) FROM events"))).rows == [[len(RICH_HISTORY)]]


def test_1500_facts(tmp_path: Path) -> None:
    texts = [line.decode() for path in sorted(GOLDEN.parent.glob("*.jsonl")) for line in path.read_bytes().splitlines()]
    lines = [msgspec.json.decode(line) for line in texts]
    posts = {msgspec.json.encode(line["post"]).decode(): line["subject"] for line in lines}
    rng, now = Random(8), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    log: list[wire.Entry] = []
    for text in (*posts, *mutations(8, list(posts), 1500)):
        subject = posts.get(text) or rng.choice(list(posts.values()))
        with one(text):
            if text not in posts:  # most mutations keep their subject's kind and key
                found = re.search(r'"kind":"([a-z.]+)"', text)
                subject = next((s for s in posts.values() if found and f".{found[1]}." in s), subject)
            log.append(wire.entry(len(log) + 1, now, subject, text.encode("utf-8", "surrogatepass")))
    board = Board(arena="a")
    for entry in log:
        with one(entry.raw):
            board.fold(entry)
    assert from_bytes(to_bytes(board)) == board
    assert 50 < sum(entry.post is not None for entry in log) < 1400
    projection = Projection.open(tmp_path / "a.duckdb")
    projection.checkpoint("a", "log", 0)
    projection.append("a", "log", log)
    with projection.cursor() as db:
        for name, _ in view_sources():
            db.execute(f"FROM {name}").fetchall()
    projection.close()

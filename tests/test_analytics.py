"""The projection: rows of the views, rebuilding, bytes of any kind, damaged files, and the process."""

import datetime as dt
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from analytics.projection import Projection, view_sources
from analytics.projector import replay
from analytics.sql_server import SqlServer
from mesh import events as e
from mesh import wire
from mesh.errors import BadInput
from mesh.jetstream import connect
from mesh.memory import MemoryHub
from mesh.server import EmbeddedServer
from mesh.sql_protocol import SERVICE, Answer, Query, decode_reply, encode
from mesh.wire import Post
from tests.support.folding import ask_until, bus_with, folded, projecting, rows, write
from tests.support.history import HISTORY, T1, T2, T3, T9, finish, opened, promote, proposal, request


@pytest.fixture
async def queries(tmp_path: Path) -> AsyncIterator[SqlServer]:
    async with folded(tmp_path / "a.duckdb") as queries:
        yield queries


def dump(path: Path) -> list[Any]:
    projection = Projection.open(path)
    try:
        with projection.cursor() as db:
            tables = ["internal.checkpoints", *(name for name, _ in view_sources())]
            return [(name, sorted(map(repr, db.execute(f"FROM {name}").fetchall()))) for name in tables]
    finally:
        projection.close()


async def test_the_leaderboard_ranks_means_in_the_direction_of_the_arena(queries: SqlServer) -> None:
    assert await rows(queries, "SELECT rank, proposal, mean, seeds, best, worst, state, origin FROM leaderboard") == [
        [1, T2, 1.5, 2, 1.0, 2.0, "champion", "sampler"],
        [2, T1, 3.0, 1, 3.0, 3.0, "past_champion", "baseline"],
    ]


async def test_the_first_finish_of_a_run_counts(queries: SqlServer) -> None:
    assert await rows(queries, "SELECT run, state, reason, value, attempts, worker FROM runs ORDER BY run") == [
        ["r1", "scored", None, 3.0, 1, "w"],
        ["r2", "scored", None, 1.0, 0, "w"],
        ["r3", "scored", None, 2.0, 0, "w"],
        ["r4", "failed", "crash", None, 0, "w"],
        ["r5", "killed", "rule", None, 0, None],
    ]
    assert await rows(queries, "SELECT count(*) FROM events WHERE kind = 'run.finished' AND key = 'r2'") == [[2]]


async def test_a_promotion_that_met_a_past_champion_does_not_count(queries: SqlServer) -> None:
    assert await rows(queries, "SELECT proposal, met, reigns FROM champions ORDER BY reign") == [
        [T1, "", False],
        [T2, T1, True],
    ]
    assert await rows(queries, "SELECT proposal, state, why FROM proposals ORDER BY proposal") == [
        [T1, "past_champion", None],
        [T2, "champion", None],
        [T3, "retired", "failed"],
    ]


async def test_a_champion_can_come_back_and_a_skipped_promotion_leads_nowhere(tmp_path: Path) -> None:
    bus = await MemoryHub().arena("a", create=True)
    moves = [(T2, T1), (T1, ""), (T3, T2), (T2, T1), (T1, T1), (T9, T2), (T1, T2)]
    events: list[e.AnyEvent] = [
        opened(),
        *map(proposal, (T1, T2, T3)),
        *(promote(t, met, n) for n, (t, met) in enumerate(moves)),
    ]
    await bus.post_all([Post.new("cur", event) for event in events])
    await replay(bus, tmp_path / "a.duckdb")
    found = dict(dump(tmp_path / "a.duckdb"))["champions"]
    assert [row.split(", ")[1:3] for row in found] == [["1", repr(T1)], ["2", repr(T2)], ["3", repr(T1)]]


async def test_the_other_views_tell_the_history(queries: SqlServer) -> None:
    assert await rows(queries, "SELECT proposal, parent, gain FROM lineage ORDER BY ALL") == [
        [T2, T1, 1.5],
        [T3, T1, None],
        [T3, T2, None],
    ]
    assert await rows(queries, "SELECT run, best FROM frontier") == [["r1", 3.0], ["r2", 1.0]]
    assert await rows(queries, "SELECT critic, endorsed, blocked, blocked_champions FROM critics") == [
        ["cid", 1, 0, 0],
        ["dan", 0, 1, 1],
    ]
    assert await rows(queries, "SELECT agent, role, state, proposals, promoted FROM agents") == [
        ["ann", "explorer", "here", 2, 2],
        ["bob", "agent", "guest", 1, 0],
        ["cid", "critic", "guest", 0, 0],
        ["dan", "critic", "guest", 0, 0],
    ]
    assert await rows(queries, "SELECT worker, runs, scored, failed, trial_s FROM workers") == [["w", 4, 3, 1, 8.0]]
    assert await rows(queries, "SELECT proposals, runs, round(sd, 3) FROM noise") == []  # of search alone
    assert await rows(queries, "SELECT what, who, count, usd, usd_unknown FROM cost WHERE what = 'run'") == [
        ["run", "w", 4, None, 4]
    ]
    assert await rows(queries, "SELECT channel, text FROM board") == [["general", "hello\x00there"]]


async def test_lineage_says_on_how_many_seeds_a_proposal_met_its_parent(tmp_path: Path) -> None:
    events: list[e.AnyEvent] = [opened(), proposal(T1), proposal(T2, T1), proposal(T3, T2)]
    scores = [(T1, 1, 3.0), (T1, 2, 5.0), (T1, 3, 4.0), (T2, 2, 4.5), (T2, 3, 3.0), (T2, 9, 9.0), (T3, 4, 1.0)]
    for number, (tree, seed, score) in enumerate(scores):
        events += [
            msgspec.structs.replace(request(f"r{number}", tree, seed), lane="confirm"),
            finish(f"r{number}", tree, score),
        ]
    async with folded(tmp_path / "a.duckdb", [("ann", event) for event in events]) as queries:
        found = await rows(queries, "SELECT proposal, gain, common_seeds FROM lineage ORDER BY proposal")
    assert found == [[T2, -1.5, 2], [T3, 4.5, 0]]


async def test_scores_of_an_older_evaluator_do_not_rank(tmp_path: Path) -> None:
    bus = await bus_with(MemoryHub())
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
        await write(bus)
        await ask_until(bus, await bus.head())
    assert await replay(bus, tmp_path / "anew.duckdb", until=9) == 9
    assert await replay(bus, tmp_path / "anew.duckdb") == await bus.head()
    assert dump(tmp_path / "live.duckdb") == dump(tmp_path / "anew.duckdb")


async def test_rows_of_another_log_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    await replay(await bus_with(MemoryHub()), path)
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
        await ask_until(bus, 1)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00\xff\xfe", b"[" * 5000, b'{"id":"\\ud800"}', b'{"event":{"kind":"future.fact","x":1}}', b"nan"],
)
async def test_bytes_of_any_kind_are_kept_and_stop_nothing(data: bytes, tmp_path: Path) -> None:
    bus = await bus_with(MemoryHub())
    bus.append_raw("mesh.a.future.fact.key.zoe", data)
    bus.append_raw("nonsense", data)
    bus.append_raw("mesh.a.run.finished.r1.\ud800", data)
    huge = wire.encode(Post.new("cur", request("r9", T1))).replace(b'"seed":1', b'"seed":1' + b"0" * 40)
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
    assert len(found["runs"]) == 5  # a seed of 41 digits is not understood


async def test_a_damaged_file_is_moved_aside_and_folded_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.duckdb"
    path.write_bytes(b"garbage" * 1000)
    bus = await bus_with(MemoryHub())
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
    with anyio.fail_after(150):
        done = await anyio.run_process(command, check=False)
    projection.close()
    said = f"analytics: {path} is in use by another projector: stop that one, or name another --db\n"
    assert (done.returncode, done.stderr.decode()) == (2, said)


async def test_the_process_folds_answers_and_ends_when_told(tmp_path: Path, server: EmbeddedServer) -> None:
    command = [sys.executable, "-m", "analytics", "--nats", server.url, "--db", str(tmp_path / "a.duckdb")]
    with anyio.fail_after(150):
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
    assert (reply.rows, reply.as_of) == ([[T2], [T1]], {"a": len(HISTORY)})

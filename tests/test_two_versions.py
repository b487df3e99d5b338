"""Two versions of the product on one log: the older one keeps what it does not understand, and goes on."""

import json
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import duckdb
import msgspec
import pytest

from analytics.projector import replay
from mesh import spec, wire
from mesh.board import Board
from mesh.board_bytes import from_bytes, to_bytes
from mesh.events import Failed, NotePosted, RunFinished, Scored
from mesh.follow import Follower
from mesh.jetstream import JetStreamBus, connect
from mesh.jetstream.link import Link
from mesh.server import EmbeddedServer
from mesh.wire import Entry, Post
from tests.support.history import HISTORY
from tests.test_golden import GOLDEN, Line

DEFAULTS = GOLDEN.with_name("defaults.json")
"""What a field of a specification is where the log does not have it: a release adds its new ones, and changes none."""

MAPS = {"metrics", "bounds", "params", "means", "lows", "highs"}
"""Names of fields whose keys are data, not fields."""


def with_news(value: Any, name: str = "") -> Any:
    """Return a post as a newer version would write it: each object in it has one more field."""
    match value:
        case dict() if name != "spec":
            news = {} if name in MAPS else {"zz_newer": {"of": ["a", 1, None]}}
            return {key: with_news(inner, key) for key, inner in value.items()} | news
        case list():
            return [with_news(inner) for inner in value]
    return value


@pytest.mark.parametrize("log", sorted(GOLDEN.parent.glob("*.jsonl")), ids=lambda path: path.stem)
def test_fields_of_a_newer_version_change_nothing_of_what_is_read_and_stay_in_the_log(log: Path) -> None:
    for line in log.read_bytes().splitlines():
        row = msgspec.json.decode(line, type=Line)
        post = json.loads(bytes(row.post))
        newer = json.dumps(with_news(post)).encode()
        read = wire.entry(row.seq, row.time, row.subject, newer)
        assert read.post == wire.decode(row.subject, bytes(row.post)), row.subject
        assert read.raw == newer


def keys_of(value: Any, at: str = "spec") -> set[str]:
    """Return the place of every field in a specification."""
    if not isinstance(value, dict):
        return set()
    return {f"{at}.{key}" for key in value} | {k for key, inner in value.items() for k in keys_of(inner, f"{at}.{key}")}


def test_an_arena_that_asks_for_nothing_new_has_no_field_that_the_first_release_refuses() -> None:
    """A specification is refused as a whole where it has an unknown field: nobody runs what he does not understand."""
    first = json.loads(next(line for line in GOLDEN.read_bytes().splitlines() if b"arena.opened" in line))
    post = wire.decode(first["subject"], json.dumps(first["post"]).encode())
    assert post
    written = json.loads(wire.encode(post))
    assert keys_of(written["event"]["spec"]) < keys_of(first["post"]["event"]["spec"])
    assert wire.decode(first["subject"], json.dumps(written).encode()) == post
    written["event"]["spec"]["money"] = {"usd": 20}
    assert wire.decode(first["subject"], json.dumps(written).encode()) is None


def defaults() -> dict[str, Any]:
    """Return the default of every field of a specification that has one."""
    found = {}
    for name, table in vars(spec).items():
        if isinstance(table, type) and issubclass(table, msgspec.Struct):
            for field in msgspec.structs.fields(table):
                has_factory = field.default_factory is not msgspec.NODEFAULT
                value = field.default_factory() if has_factory else field.default
                if not field.required and not isinstance(value, msgspec.Struct):
                    found[f"{name}.{field.encode_name}"] = msgspec.to_builtins(value)
    return found


def test_no_default_of_a_specification_changes_ever_because_the_log_leaves_defaults_out() -> None:
    kept: dict[str, Any] = json.loads(DEFAULTS.read_bytes())
    now = json.loads(json.dumps(defaults()))
    assert {name: now.get(name, "gone") for name in kept} == kept


def newer_than(post: Post, subject: str, **event: Any) -> tuple[str, bytes]:
    """Return subject and bytes of a post of which a newer version has changed the fact."""
    body = json.loads(wire.encode(post))
    body["event"] |= event
    return subject, json.dumps(body).encode()


async def store(link: Link, subject: str, data: bytes) -> None:
    """Post as any process does, whatever its version."""
    headers = {"Nats-Msg-Id": json.loads(data)["id"], "Nats-Expected-Last-Subject-Sequence": "0"}
    ack, _ = await link.append(subject, data, headers)
    assert ack.error is None


NOTE = Post.new("ann", NotePosted(channel="general", text="hello"))
SEEN = newer_than(NOTE, f"mesh.a.robot.seen.{NOTE.id}.ann", kind="robot.seen", robot="r2", wheels=4)
POSTS = [Post.new(author, event) for author, event in HISTORY]
FINISHED = next(
    post for post in POSTS if isinstance(post.event, RunFinished) and isinstance(post.event.outcome, Scored)
)


def unknown_reason(post: Post) -> tuple[str, bytes]:
    outcome = {"kind": "failed", "reason": "abducted", "message": "by a newer version"}
    return newer_than(post, wire.subject_of("a", post), outcome=outcome)


async def test_an_older_process_keeps_the_facts_of_a_newer_one_and_works_on(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    async with connect(server.url) as hub:
        bus = await hub.arena("a", create=True)
        await bus.post_all(post for post in POSTS if post is not FINISHED)
        abducted = unknown_reason(FINISHED)
        for subject, data in (SEEN, abducted):
            await store(hub.link, subject, data)
        log = [entry async for batch in bus.read() for entry in batch]
        seen, ended = log[-2:]
        # then both are there as they were written, for whoever understands them later
        assert [(entry.post, entry.raw) for entry in (seen, ended)] == [(None, SEEN[1]), (None, abducted[1])]
        assert (seen.subject.kind, ended.subject.kind) == ("robot.seen", "run.finished")
        board = await folded(bus)
        assert board.unknown == 2
        assert from_bytes(to_bytes(board)) == board
        # then the older version goes on: what it does not understand has taken no key from it
        follower = Follower(bus)
        await follower.catch_up()
        ended_here = FINISHED.event
        assert isinstance(ended_here, RunFinished)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follower.follow)
            lost = msgspec.structs.replace(ended_here, outcome=Failed(reason="lost", message="by nobody"))
            await follower.post_once(Post.new("bob", lost))
            tasks.cancel_scope.cancel()
        finish = (await folded(bus)).runs[ended_here.run].finished
        assert finish
        assert isinstance(finish.outcome, Failed)
        await replay(bus, tmp_path / "a.duckdb", until=await bus.head())
    with duckdb.connect(str(tmp_path / "a.duckdb"), read_only=True) as db:
        kept = db.sql("SELECT kind, raw FROM events WHERE NOT decoded ORDER BY seq").fetchall()
    assert kept == [("robot.seen", SEEN[1].decode()), ("run.finished", abducted[1].decode())]


async def folded(bus: JetStreamBus) -> Board:
    board = Board(arena=bus.arena)
    async with aclosing(bus.read()) as batches:
        async for batch in batches:
            for entry in batch:
                board.fold(entry)
    return board


async def test_the_board_of_messages_shows_what_it_does_not_understand(server: EmbeddedServer, home: Path) -> None:
    async with connect(server.url) as hub:
        await hub.arena("a", create=True)
        await store(hub.link, *SEEN)
    tail = [sys.executable, "-m", "mesh_cli", "tail", "--nats", server.url, "--arena", "a", "--no-follow"]
    plain, rows = [(await anyio.run_process([*tail, *more])).stdout.decode() for more in ((), ("--json",))]
    assert "robot.seen (not understood)" in plain
    assert json.loads(json.loads(rows)["post"])["event"]["wheels"] == 4


def test_what_is_not_understood_is_counted_once_and_never_twice() -> None:
    entry = wire.entry(1, NOTE.at, *SEEN)
    board = Board(arena="a")
    assert isinstance(entry, Entry)
    assert not board.fold(entry)
    assert (board.unknown, list(board.void)) == (1, [1])

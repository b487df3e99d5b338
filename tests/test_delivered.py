"""What a server says of many messages at once is what it says of each, and a hole between them is not passed over."""

import datetime as dt
import random

import anyio
import msgspec
import pytest

from mesh import events as e
from mesh import wire
from mesh.bounds import MAX_INTEGER
from mesh.jetstream import JetStreamBus, connect
from mesh.jetstream.delivered import MessageInfo, message_info, messages_info
from mesh.server import EmbeddedServer
from mesh.testing import git_hash
from mesh.wire import Entry, Post, Subject
from tests.test_bus import note, request

NOW = dt.datetime(2026, 11, 28, 4, 30, 0, 123456, tzinfo=dt.UTC)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
BEFORE, AFTER = "$JS.ACK.MESH_a.read-1", "$JS.ACK.hub.account.MESH_a.read-1"


@pytest.mark.parametrize(("prefix", "suffix"), [(BEFORE, ""), (AFTER, ""), (AFTER, ".token"), (AFTER, ".17")])
@pytest.mark.parametrize("last_second", [2**31, 2**33, 2**34])
def test_the_data_of_many_messages_is_that_of_each(prefix: str, suffix: str, last_second: int) -> None:
    dice = random.Random(f"{prefix}{suffix}{last_second}")
    told, replies = list[MessageInfo](), list[str]()
    for number in range(2000):
        nanoseconds = dice.randrange(last_second * 10**9)
        time = EPOCH + dt.timedelta(microseconds=nanoseconds // 1000)
        told.append(MessageInfo(dice.randrange(2**40), time, dice.randrange(1, 4), number, dice.randrange(2**20)))
        seq, _, attempt, place, pending = told[-1]
        replies.append(f"{prefix}.{attempt}.{seq}.{place}.{nanoseconds}.{pending}{suffix}")
    seqs, times, places, pending = messages_info(replies)
    assert [*map(message_info, replies)] == told
    assert (seqs, times, places, pending) == (
        [each.seq for each in told],
        [each.time for each in told],
        [each.place for each in told],
        told[-1].pending,
    )


def read_alone(seq: int, subject: str, data: bytes) -> Entry:
    """Return an entry as the words of `wire.log_entries` have it, one check after the other."""
    where = wire.parse_subject(subject)
    post: Post | None = None
    if where and len(data) <= wire.MAX_POST_BYTES:
        try:
            post = msgspec.json.decode(data, type=Post)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            post = None
    if where and post:
        key = post.key.split(".")
        is_told = (post.kind, post.key, post.author) == (where.kind, where.key, where.author)
        are_tokens = len(key) == post.event.key_tokens and all(map(wire._TOKEN.fullmatch, [*key, post.author]))
        version = getattr(post.event, "version", 0) if isinstance(post.event, e.ArenaOpened | e.ArenaClosed) else 0
        if not (is_told and are_tokens and 1900 <= post.at.year <= 2999 and version <= seq):
            post = None
    return Entry(seq, NOW, where or Subject(arena="", kind=subject, key="", author=""), post, data)


def test_many_entries_are_read_as_each_alone() -> None:
    posts = [
        note("hello"),
        request("r1"),
        note("years", "bob"),
        Post.new("ann", e.ArenaClosed(version=3, reason="time")),
    ]
    posts += [
        Post.new("w", e.RunStarted(run="r1", attempt=1, worker="w")),
        Post.new("x", e.HoldoutOpened(version=1, look=1, proposal=git_hash("p"))),
    ]
    dice, rows = random.Random(7), list[tuple[str, bytes]]()
    for _ in range(4000):
        post, arena = dice.choice(posts), dice.choice(["a", "a", "a", "b", "a.b", "a*", ""])
        subject, data = wire.subject_of(arena, post), msgspec.json.encode(post)
        match dice.randrange(12):
            case 0:
                subject = subject.replace(post.author, dice.choice(["bob", "eve", "", "e.ve", "é"]))
            case 1:
                data = data.replace(
                    b'"author":"' + post.author.encode(), b'"author":"' + dice.choice([b"b.b", b"", b"y" * 129, b"bob"])
                )
            case 2:
                subject, data = subject.replace("r1", "r 1"), data.replace(b"r1", b"r 1")
            case 3:
                subject, data = subject.replace("r1", "r.1"), data.replace(b"r1", b"r.1")
            case 4:
                data = data[: dice.randrange(len(data))]
            case 5:
                data = data.replace(b'"at":"2', dice.choice([b'"at":"1', b'"at":"9', b'"at":"3']))
            case 6:
                data += b" " * wire.MAX_POST_BYTES
            case 7:
                subject = dice.choice(
                    ["", "mesh", "mesh.a", "mesh.a.note", "live.a.x", subject.upper(), f"{subject}.z", f"x{subject}"]
                )
            case 8:
                data = data.replace(b"ann", b"\xff\xfe").replace(b"r1", b"r\x00")
        rows.append((subject, data))
    subjects, data_of_all = [subject for subject, _ in rows], [data for _, data in rows]
    found = wire.log_entries(range(1, 4001), [NOW] * 4000, subjects, data_of_all)
    assert found == [read_alone(seq, *row) for seq, row in enumerate(rows, 1)]
    assert found == [wire.entry(seq, NOW, *row) for seq, row in enumerate(rows, 1)]
    assert {entry.post is None for entry in found} == {True, False}
    assert wire.decode(*rows[0]) == wire.entry(MAX_INTEGER, NOW, *rows[0]).post


async def test_a_reader_reads_over_the_holes_of_a_damaged_store(server: EmbeddedServer) -> None:
    holes = {1, 2, 5, 6, 700, 1999}
    async with connect(server.url) as hub:
        config = {"name": "MESH_a", "subjects": [wire.arena_filter("a")], "allow_direct": True}
        await hub.link.call("$JS.API.STREAM.CREATE.MESH_a", config)
        bus = JetStreamBus(hub.link, "a")
        await bus.post_all(note(str(number)) for number in range(2000))
        for seq in holes:
            answer = await hub.link.call("$JS.API.STREAM.MSG.DELETE.MESH_a", {"seq": seq})
            assert answer.get("success"), answer
        with anyio.fail_after(60):
            found = [entry.seq async for batch in bus.read() for entry in batch]
            later = [entry.seq async for batch in bus.read(3, until=1999) for entry in batch]
    assert found == [seq for seq in range(1, 2001) if seq not in holes]
    assert later == found[1:-1]

"""Settings of a stream that somebody has changed are restored, or refused in one sentence; no fact is lost."""

from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from mesh import wire
from mesh.errors import BusRefused
from mesh.jetstream import JetStreamBus, JetStreamHub, connect
from mesh.jetstream.streams import MAX_MESSAGE_BYTES, log_stream
from mesh.server import EmbeddedServer
from tests.support.member_hub import member_hub
from tests.test_bus import note, request


async def edit(operator: JetStreamHub, stream: str = "MESH_a", **changes: Any) -> None:
    """Change settings, as `nats stream edit` does."""
    answer = await operator.link.call(f"$JS.API.STREAM.UPDATE.{stream}", await settings(operator, stream) | changes)
    assert "error" not in answer, answer


async def settings(operator: JetStreamHub, stream: str = "MESH_a") -> dict[str, Any]:
    answer = await operator.link.call(f"$JS.API.STREAM.INFO.{stream}", {})
    return dict(answer["config"])


async def sequences(bus: JetStreamBus) -> list[int]:
    async with aclosing(bus.read()) as batches:
        return [entry.seq async for batch in batches for entry in batch]


async def facts(bus: JetStreamBus) -> None:
    for number in range(10):
        await bus.post(note(str(number)))
        await bus.post(request(f"r{number}"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_age": 3_600_000_000_000}, "had max_age 3600000000000 instead of 0"),
        ({"max_msgs": 1000}, "had max_msgs 1000 instead of -1"),
        ({"max_msgs_per_subject": 1}, "had max_msgs_per_subject 1 instead of -1"),
        ({"max_msgs_per_subject": 1, "discard_new_per_subject": True}, "discard_new_per_subject true instead of false"),
        ({"sources": [{"name": "OTHER"}]}, "had sources [{'name': 'OTHER'}] instead of nothing"),
        ({"discard": "old", "max_bytes": 10_000_000}, "had discard old instead of new"),
        ({"subjects": ["mesh.a.note.>"]}, "had subjects ['mesh.a.note.>'] instead of ['mesh.a.>']"),
        ({"subjects": ["mesh.a.>", "other.>"]}, "instead of ['mesh.a.>']"),
        ({"retention": "interest"}, "had retention interest instead of limits"),
        ({"no_ack": True}, "had no_ack true instead of false"),
        ({"subject_transform": {"src": "mesh.a.>", "dest": "elsewhere.>"}}, "had subject_transform"),
        ({"max_msg_size": 500}, ""),
        ({"republish": None}, ""),
        ({"allow_direct": False}, ""),
        ({"duplicate_window": 100_000_000}, ""),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
async def test_what_was_changed_is_restored_by_whoever_comes_next(
    server: EmbeddedServer,
    changes: dict[str, Any],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with connect(server.url) as operator:
        await facts(await operator.arena("a", create=True))
        before = await settings(operator)
        await edit(operator, **changes)
        async with connect(server.url) as hub:
            bus = await hub.arena("a")
            told = capsys.readouterr().err
            assert told.startswith("mesh: stream MESH_a had ") == bool(words)
            assert words in told
            now = await settings(operator)
            assert {key: now.get(key) for key in log_stream("a")} == {key: before.get(key) for key in log_stream("a")}
            assert await sequences(bus) == list(range(1, 21))
            assert await bus.post(note("more")) == 21


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"allow_msg_ttl": True}, "has allow_msg_ttl true instead of false"),
        ({"sealed": True}, "has sealed true instead"),
    ],
)
async def test_what_the_server_does_not_change_back_is_refused(
    server: EmbeddedServer, changes: dict[str, Any], words: str
) -> None:
    async with connect(server.url) as operator:
        bus = await operator.arena("a", create=True)
        await facts(bus)
        await edit(operator, **changes)
        async with connect(server.url) as hub:
            with pytest.raises(
                BusRefused, match=f"^stream MESH_a {words}.*so facts may be lost.*: open a new arena instead$"
            ):
                await hub.arena("a")
        assert await sequences(bus) == list(range(1, 21))


async def test_an_arena_of_an_earlier_version_is_ready_for_members_once_its_hub_has_come(
    server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async with connect(server.url) as operator:
        early = {
            **{"name": "MESH_a", "subjects": [wire.arena_filter("a")], "storage": "file", "retention": "limits"},
            **{"discard": "new", "deny_delete": True, "deny_purge": True, "allow_direct": True},
        }
        await operator.link.call("$JS.API.STREAM.CREATE.MESH_a", early)
        await facts(bus := JetStreamBus(operator.link, "a"))
        async with connect(server.url) as hub:
            await hub.arena("a")
            assert capsys.readouterr().err == ""
        now = await settings(operator)
        assert now["republish"] == {"src": "mesh.a.>", "dest": "tail.mesh.a.>"}
        assert now["max_msg_size"] == MAX_MESSAGE_BYTES
        answer = await operator.link.call("$JS.API.CONSUMER.NAMES.MESH_a", {"offset": 0})
        lanes = ("audit", "confirm", "control", "explore", "sealed")
        assert sorted(answer["consumers"]) == [f"workers_run-requested-{lane}" for lane in lanes]
        assert await sequences(bus) == list(range(1, 21))


@pytest.mark.parametrize("stream", ["MESHOBJ_a", "MESHGRP_a"])
async def test_settings_of_objects_are_restored_too(
    server: EmbeddedServer, stream: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with connect(server.url) as operator:
        bus = await operator.arena("a", create=True)
        await bus.put("name", b"bytes")
        await edit(operator, stream, max_age=3_600_000_000_000)
        async with connect(server.url) as hub:
            assert await (await hub.arena("a")).get("name") == b"bytes"
        assert f"stream {stream} had max_age 3600000000000 instead of 0" in capsys.readouterr().err
        assert (await settings(operator, stream))["max_age"] == 0


async def test_objects_that_no_server_may_delete_stay_so(server: EmbeddedServer) -> None:
    async with connect(server.url) as operator:
        kept = {"name": "MESHOBJ_a", "subjects": [wire.objects_filter("a")], "deny_delete": True, "allow_direct": True}
        await operator.link.call("$JS.API.STREAM.CREATE.MESHOBJ_a", kept)
        bus = await operator.arena("a", create=True)
        await bus.put("name", b"bytes")
        assert await bus.get("name") == b"bytes"
        assert (await settings(operator, "MESHOBJ_a"))["deny_delete"]


async def test_somebody_without_the_right_changes_nothing_and_works(tmp_path: Path) -> None:
    with member_hub(tmp_path / "hub") as hub:
        async with (
            connect(hub.url, credentials=hub.owner) as owner,
            connect(hub.url, credentials=hub.member("agent", "ann")) as member,
        ):
            await owner.arena("a", create=True)
            await edit(owner, max_age=3_600_000_000_000)
            theirs = await member.arena("a")
            assert await theirs.post(note("1")) == 1
            assert (await settings(owner))["max_age"] == 3_600_000_000_000
            await owner.arena("a")
            assert (await settings(owner))["max_age"] == 0


async def test_where_the_account_demands_bounds_each_stream_has_one(tmp_path: Path) -> None:
    with member_hub(tmp_path / "hub") as hub:
        async with connect(hub.url, credentials=hub.owner) as owner:
            for name in ("a", "b", "c"):
                await owner.arena(name, create=True)
            for stream in ("MESH_a", "MESHOBJ_b", "MESHGRP_c", "MESHCALL_a"):
                assert (await settings(owner, stream))["max_bytes"] > 16_000_000

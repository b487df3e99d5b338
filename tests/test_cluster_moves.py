"""Logs move from one server to three and back: what was stored on one stands on the others."""

from pathlib import Path

import anyio

from benchmarks.parts.three_servers import three_servers
from mesh.events import NotePosted
from mesh.jetstream import JetStreamHub, connect
from mesh.server import EmbeddedServer, embedded
from mesh.wire import Entry, Post
from mesh_cli.history.hub_backup import back_up, checked_backup, restore_streams


async def all_of(hub: JetStreamHub) -> list[Entry]:
    bus = await hub.arena("a")
    assert await bus.get("x" * 64) == b"data"
    return [entry async for batch in bus.read() for entry in batch]


async def moved(source: JetStreamHub, target: JetStreamHub, folder: Path) -> None:
    await back_up(source, folder, None)
    await restore_streams(target, checked_backup(folder), folder)


async def test_logs_move_from_one_server_to_three_and_back(server: EmbeddedServer, tmp_path: Path) -> None:
    with anyio.fail_after(200):
        async with (
            three_servers(tmp_path / "three") as servers,
            embedded(tmp_path / "last") as last,
            connect(server.url) as one,
            connect(servers.url) as three,
            connect(last.url) as back,
        ):
            bus = await one.arena("a", create=True)
            await bus.put("x" * 64, b"data")
            await bus.post_all(Post.new("ann", NotePosted(channel="general", text=str(n))) for n in range(100))
            log = await all_of(one)
            await moved(one, three, tmp_path / "to-three")
            await servers.until_current(three, "a")
            assert await all_of(three) == log
            await moved(three, back, tmp_path / "to-one")
            assert await all_of(back) == log
            assert (await back.state("a")).copies == {}

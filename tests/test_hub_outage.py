"""Members speak TLS with their hub; whoever posts outlives a server that is away for longer than a connection lasts."""

import os
import signal
from pathlib import Path

import anyio
import anyio.abc

from mesh.bus import ArenaBus
from mesh.events import NotePosted
from mesh.jetstream import connect
from mesh.jetstream.link import RENEW_AFTER_S
from mesh.wire import Post
from tests.support.arenas import write_arena
from tests.support.own_hub import RunningHub, joining, new_hub, running

_AT_ONCE = 20


async def _away(hub: RunningHub, seconds: float) -> None:
    """Kill the server of a hub, and have it started again after so many seconds."""
    server = int((hub.folder.folder / "server.pid").read_text().split()[0])
    hub.process.send_signal(signal.SIGSTOP)
    os.kill(server, signal.SIGKILL)
    await anyio.sleep(seconds)
    hub.process.send_signal(signal.SIGCONT)


async def _post(bus: ArenaBus, posted: list[int], name: int) -> None:
    """Post long notes, one after the other, for ever."""
    while True:
        posted.append(await bus.post(Post.new("hub", NotePosted(channel=f"c{name}", text="x" * 2000))))


async def test_who_posts_and_a_worker_outlive_a_server_that_is_away_for_long(tmp_path: Path) -> None:
    async with running(new_hub(tmp_path / "hub")) as hub:
        await hub.say("open", str(write_arena(tmp_path / "arena")))
        home = tmp_path / "worker"
        home.mkdir()
        words = [await hub.invite("worker"), "--name", "gpu7", "--device", "cpu", "--price", "0"]
        folder = hub.folder
        async with (
            joining(home, words, shows="takes runs of arena tiny") as worker,
            connect(folder.own_url, name="test", outage_s=200, credentials=folder.hub_creds) as own,
            anyio.create_task_group() as tasks,
        ):
            bus, posted = await own.arena("tiny"), list[int]()
            for name in range(_AT_ONCE):
                tasks.start_soon(_post, bus, posted, name)
            for _ in range(2):
                with anyio.fail_after(120):
                    while len(posted) < _AT_ONCE:
                        await anyio.sleep(0.1)
                await _away(hub, RENEW_AFTER_S + 4)
                posted.clear()
            with anyio.fail_after(200):
                while len(posted) < 2 * _AT_ONCE:
                    await anyio.sleep(0.1)
            assert worker.returncode is None, (home / "join.log").read_text()
            assert "Traceback" not in (home / "join.log").read_text()
            tasks.cancel_scope.cancel()

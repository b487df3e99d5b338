"""The embedded server in trouble: a full disk, a lost lock, a lost home, a silent server, and homes with odd names."""

import os
import shutil
import signal
import sys
from pathlib import Path

import anyio
import psutil
import pytest

from mesh import server_health
from mesh.errors import BadInput, HostTrouble
from mesh.events import NotePosted
from mesh.jetstream import connect
from mesh.server import EmbeddedServer, address_of, embedded
from mesh.store_lock import acquire
from mesh.wire import Post
from tests.support.small_disk import small_disk
from tests.test_server import died, note, served, texts

ODD = [
    "josé",
    "日本 語",
    'it\'s "quoted"',
    "$HOME ${X}",
    "100%",
    "#5;{x}",
    "-v",
    "back\\slash",
    "two\nlines",
    "tab\t\x07",
]


@pytest.mark.parametrize("name", ODD)
async def test_a_home_may_have_any_name(tmp_path: Path, name: str) -> None:
    with anyio.fail_after(200):
        async with embedded(tmp_path / name / "server") as server, connect(server.url) as hub:
            assert await (await hub.arena("a", create=True)).post(note("kept")) == 1
            assert (tmp_path / name / "server" / "store" / "jetstream").is_dir()
        assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("how", ["deleted", "replaced"])
async def test_a_lost_lock_file_does_not_free_the_store(tmp_path: Path, how: str) -> None:
    with anyio.fail_after(200):
        async with embedded(tmp_path) as first:
            (tmp_path / "store.lock").unlink()
            if how == "replaced":
                (tmp_path / "store.lock").write_text("")
            assert acquire(tmp_path) is None
            await anyio.sleep(1.2)  # two rounds of the watch, which would start a second server
            async with embedded(tmp_path) as second:
                assert (second.address, second.starts, first.starts) == (first.address, 0, 1)
            with anyio.fail_after(100):
                await first.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux locks bytes for a process and those that inherit them")
async def test_a_folder_made_again_at_the_path_of_a_living_store_waits_for_its_server(tmp_path: Path) -> None:
    folder, other = tmp_path / "home" / "server", tmp_path / "other"
    folder.mkdir(parents=True)
    other.mkdir()
    first = acquire(folder)
    assert first
    folder.rename(tmp_path / "gone")
    folder.mkdir()
    assert acquire(folder) is None
    (tmp_path / "link").symlink_to(folder)
    assert acquire(tmp_path / "link") is None
    elsewhere = acquire(other)
    assert elsewhere
    elsewhere.close()
    first.close()
    again = acquire(folder)
    assert again
    again.close()


@pytest.mark.parametrize("how", ["deleted", "replaced"])
async def test_a_store_that_is_lost_ends_the_block_and_its_server(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "home" / "server"

    async def serve() -> None:
        async with embedded(folder) as server:
            pids.append(server.address.pid)
            shutil.rmtree(tmp_path / "home", ignore_errors=True)  # the server may write meanwhile
            shutil.rmtree(tmp_path / "home", ignore_errors=True)
            if how == "replaced":
                folder.mkdir(parents=True, exist_ok=True)
            await anyio.sleep_forever()

    pids: list[int] = []
    why = "No such file or directory" if how == "deleted" else "it was replaced while the server ran; start again"
    with anyio.fail_after(200), pytest.raises(BadInput, match=f"cannot be used for the store of a server: {why}$"):
        await serve()
    assert not psutil.pid_exists(pids[0])


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\x00" * 500, b"[]", b'{"url":"x:y","name":"","pid":-1,"started":0,"owner":1,"owner_started":0}'],
)
async def test_a_damaged_address_is_written_again(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "server.json").write_bytes(text)
    with anyio.fail_after(200):
        async with embedded(tmp_path) as server:
            assert address_of(tmp_path) == server.address


async def test_a_start_on_a_full_disk_names_the_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4) as disk, anyio.fail_after(200):
        disk.fill()
        sentence = rf"^the disk of {disk.folder}/server is full: 0 bytes free; free some space$"
        with pytest.raises(HostTrouble, match=sentence):
            await EmbeddedServer(disk.folder / "server", "always").ensure()
        (disk.folder / "server").mkdir(exist_ok=True)
        with pytest.raises(HostTrouble, match=sentence):
            await EmbeddedServer(disk.folder / "server", "always").ensure()
        disk.free()
        async with embedded(disk.folder / "server"):
            pass


async def test_a_server_stores_again_after_its_disk_was_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", 24) as disk, anyio.fail_after(200):
        folder = disk.folder / "server"
        async with embedded(folder) as server, connect(server.url, outage_s=200) as hub:
            bus = await hub.arena("a", create=True)
            await bus.post(note("before"))
            began = server.address
            disk.fill()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(bus.post, Post.new("ann", NotePosted(channel="general", text="x" * 8000)))
                await anyio.sleep(3)
                assert server.address == began
                disk.free()
            assert (await served(folder, other_than=began)).url == began.url
            assert [text[:6] for text in await texts(server.url)] == ["before", "xxxxxx"]
    assert f"the disk of {folder} is full: 0 bytes free; free some space" in capsys.readouterr().err


async def test_a_write_that_failed_unseen_is_found_in_the_log_of_the_server(tmp_path: Path) -> None:
    with anyio.fail_after(200):
        async with embedded(tmp_path) as server:
            before = server.address
            with (tmp_path / "server.log").open("a") as log:
                log.write("[1] [ERR] JetStream failed to store a msg on stream '$G > MESH_a': input/output error\n")
            assert (await served(tmp_path, other_than=before)).url == before.url


async def test_a_server_that_stays_silent_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_health, "PROBE_EVERY_S", 0.2)
    monkeypatch.setattr("mesh.server_process.STOP_WITHIN_S", 0.5)
    with anyio.fail_after(200):
        async with embedded(tmp_path) as server:
            assert await server_health.stores(server.url)
            before = server.address
            os.kill(before.pid, signal.SIGSTOP)
            with monkeypatch.context() as impatient:
                impatient.setattr(server_health, "_PROBE_WITHIN_S", 0.2)
                await died(before)
            assert (await served(tmp_path, other_than=before)).url == before.url
            assert await server_health.stores(server.url)
            async with connect(server.url) as hub:
                assert await hub.arenas() == []  # the probe's stream is not an arena

"""A backup of a hub: what is restored is what was there, byte for byte, and half a backup is none."""

import hashlib
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.lowlevel
import msgspec
import pytest

from mesh.accounts.hub_folder import HubFolder
from mesh.accounts.hub_init import init_hub, write_configs
from mesh.errors import BadInput, BusRefused
from mesh.events import NotePosted
from mesh.jetstream import JetStreamBus, JetStreamHub, connect
from mesh.jetstream.stream_copy import stream_names
from mesh.server import embedded
from mesh.wire import Post
from mesh_cli.exit import ExitCode
from mesh_cli.history.hub_backup import (
    BACKUP_LIST,
    BackupList,
    CopiedFile,
    back_up,
    checked_backup,
    restore_keys,
    restore_streams,
)
from tests.support.small_disk import small_disk
from tests.test_cli import Mesh, mesh, refused

__all__ = ["mesh"]

OBJECT = bytes(range(256)) * 4096  # a megabyte: several chunks
STREAMS = {"MESH_a", "MESH_b", "MESHOBJ_a", "MESHOBJ_b"}
Message = tuple[int, str, bytes, bytes, str]


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[JetStreamHub]:
    async with embedded(folder, sync="1m") as running, connect(running.url) as hub:
        yield hub


async def post(bus: JetStreamBus, count: int, word: str) -> None:
    await bus.post_all([Post.new("ann", NotePosted(channel="general", text=f"{word} {n}")) for n in range(count)])


async def filled(hub: JetStreamHub) -> JetStreamBus:
    for name in ("a", "b"):
        bus = await hub.arena(name, create=True)
        await post(bus, 500, name)
        await bus.put(f"object-{name}", OBJECT + name.encode())
    return await hub.arena("a")


async def messages(hub: JetStreamHub, stream: str, until: int) -> list[Message]:
    """Every message of a stream: sequence, subject, headers, bytes and time, as the server has them."""
    found = []
    for seq in range(1, until + 1):
        reply = await hub.link.call(f"$JS.API.STREAM.MSG.GET.{stream}", {"seq": seq})
        m = reply["message"]
        found.append((m["seq"], m["subject"], m.get("hdrs", "").encode(), m.get("data", "").encode(), m["time"]))
    return found


async def newest_post(bus: JetStreamBus, seq: int) -> Post:
    async with aclosing(bus.read(seq - 1, until=seq)) as batches:
        async for batch in batches:
            assert batch[0].post
            return batch[0].post
    raise AssertionError("the log has that entry")


async def test_a_restored_log_is_the_copied_one_byte_for_byte_while_posts_went_on(tmp_path: Path) -> None:
    target = tmp_path / "backup"
    async with server(tmp_path / "old") as hub:
        bus = await filled(hub)
        going_on = anyio.Event()

        async def go_on() -> None:
            for number in range(10_000):
                await post(bus, 5, f"later {number}")
                going_on.set()
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(go_on)
            await going_on.wait()
            listed = await back_up(hub, target, None)
            before = await bus.head()
            with anyio.fail_after(150):
                while await bus.head() == before:  # nobody was held back
                    await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        ends = {str(stream.about.config["name"]): stream.about.extent[1] for stream in listed.streams}
        assert ends.keys() >= STREAMS
        logs = [stream.startswith("MESH_") for stream in ends]
        assert logs == sorted(logs, reverse=True)  # a fact's objects are copied after it
        assert ends["MESH_a"] >= 505
        assert await bus.head() > ends["MESH_a"]
        copied = {stream: await messages(hub, stream, end) for stream, end in ends.items()}
        newest = await newest_post(bus, ends["MESH_a"])
    async with server(tmp_path / "new") as hub:
        assert await restore_streams(hub, checked_backup(target), target) == list(ends)
        assert {stream: await messages(hub, stream, end) for stream, end in ends.items()} == copied
        again = await hub.arena("a")
        assert await again.head() == ends["MESH_a"]
        assert await again.get("object-a") == OBJECT + b"a"
        assert await again.post(newest) == ends["MESH_a"]  # what the log has taken once it still does not take twice
        assert await again.post(Post.new("ann", NotePosted(channel="general", text="goes on"))) == ends["MESH_a"] + 1


async def test_a_restored_queue_goes_on_where_the_copied_one_was(tmp_path: Path) -> None:
    async def take(bus: JetStreamBus) -> str:
        async with aclosing(bus.work("readers", ["note.posted"])) as queue:
            async for delivery in queue:
                assert delivery.entry.post is not None
                assert isinstance(delivery.entry.post.event, NotePosted)
                await delivery.done()
                return delivery.entry.post.event.text
        raise AssertionError("the queue has notes")

    async with server(tmp_path / "old") as hub:
        bus = await filled(hub)
        with anyio.fail_after(150):
            assert await take(bus) == "a 0"
        await back_up(hub, tmp_path / "backup", None)
    async with server(tmp_path / "new") as hub:
        await restore_streams(hub, checked_backup(tmp_path / "backup"), tmp_path / "backup")
        with anyio.fail_after(150):
            assert await take(await hub.arena("a")) == "a 1"


async def test_a_restore_that_was_cut_off_is_said_again_and_one_over_other_logs_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "backup"
    async with server(tmp_path / "old") as hub:
        await filled(hub)
        await back_up(hub, target, None)
    async with server(tmp_path / "new") as hub:
        await hub.arena("b", create=True)  # what a hub makes when it starts, and nobody has used, gives way
        listed = checked_backup(target)
        assert {*await restore_streams(hub, listed, target)} >= STREAMS
        assert (await hub.link.call("$JS.API.STREAM.DELETE.MESHOBJ_b", {}))["success"]
        assert await restore_streams(hub, listed, target) == ["MESHOBJ_b"]
        await post(await hub.arena("a"), 1, "since then")
        with pytest.raises(BusRefused, match="another stream MESH_a already"):
            await restore_streams(hub, listed, target)


async def test_over_a_hub_with_another_log_of_a_name_nothing_is_restored(tmp_path: Path) -> None:
    target = tmp_path / "backup"
    async with server(tmp_path / "old") as hub:
        await filled(hub)
        listed = await back_up(hub, target, None)
    async with server(tmp_path / "other") as hub:
        await post(await hub.arena("b", create=True), 3, "another")
        before = await stream_names(hub.link)
        with pytest.raises(BusRefused, match="another stream MESH_b already"):
            await restore_streams(hub, listed, target)
        assert await stream_names(hub.link) == before
    async with server(tmp_path / "as-long") as hub:
        await post(await hub.arena("a", create=True), 500, "another")  # as many messages, and others
        with pytest.raises(BusRefused, match="another stream MESH_a already"):
            await restore_streams(hub, listed, target)


async def test_a_full_disk_ends_a_backup_and_a_restore_in_one_sentence(tmp_path: Path) -> None:
    target = tmp_path / "backup"
    with small_disk(tmp_path / "small", 6) as disk:
        async with server(tmp_path / "old") as hub:
            bus = await filled(hub)
            for number in range(12):
                await bus.put(f"large-{number}", os.urandom(1 << 20))
            with pytest.raises(BadInput, match="backup cannot be written: No space left on device"):
                await back_up(hub, disk.folder / "backup", None)
            assert [*disk.folder.iterdir()] == []
            listed = await back_up(hub, target, None)
        async with server(disk.folder / "new") as hub:
            with pytest.raises(BusRefused, match="does not restore stream MESHOBJ_a: insufficient storage"):
                await restore_streams(hub, listed, target)
            assert await stream_names(hub.link) == ["MESH_a", "MESH_b"]  # whole ones, which are passed over next time


async def test_what_is_not_a_whole_backup_is_refused_before_anything_is_restored(tmp_path: Path) -> None:
    target = tmp_path / "backup"
    async with server(tmp_path / "old") as hub:
        await filled(hub)
        await back_up(hub, target, None)
        with pytest.raises(BadInput, match="exists; name a new folder"):
            await back_up(hub, target, None)
    log = target / "streams" / "MESH_a.tar.s2"
    whole = log.read_bytes()
    log.write_bytes(whole[:-1])
    with pytest.raises(BadInput, match=r"MESH_a\.tar\.s2 is not as it was written"):
        checked_backup(target)
    log.write_bytes(whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
    with pytest.raises(BadInput, match=r"MESH_a\.tar\.s2 is not as it was written"):
        checked_backup(target)
    log.unlink()
    with pytest.raises(BadInput, match=r"MESH_a\.tar\.s2 cannot be read .* not whole"):
        checked_backup(target)
    log.write_bytes(whole)
    listed = (target / BACKUP_LIST).read_text()
    (target / BACKUP_LIST).write_text(listed.replace("streams/MESH_b.tar.s2", "../../etc/passwd"))
    with pytest.raises(BadInput, match=r"has stream MESH_b in '\.\./\.\./etc/passwd'"):
        checked_backup(target)
    for text in ("", "{}", listed[:-5]):
        (target / BACKUP_LIST).write_text(text)
        with pytest.raises(BadInput, match="not the list of a backup"):
            checked_backup(target)
    for old, new, why in [
        ('"last_seq": 500', '"last_seq": 501', "is not as it was written"),
        ('"name": "MESH_b"', '"name": "MESH_c"', "has stream MESH_c in 'streams/MESH_b.tar.s2'"),
        ('"name": "MESH_b"', '"name": "MESH_b.>"', "names the stream 'MESH_b.>'"),
        ('"name": "MESH_b",', "", "names the stream ''"),
        ('"name": "MESH_b"', '"name": "KV_b"', "names the stream 'KV_b'"),
    ]:
        assert old in listed
        (target / BACKUP_LIST).write_text(listed.replace(old, new, 1))
        with pytest.raises(BadInput, match=re.escape(f"{why}: the backup is damaged, or not one of the mesh")):
            checked_backup(target)
    with pytest.raises(BadInput, match="not a whole backup"):
        checked_backup(tmp_path)


@pytest.mark.parametrize(
    ("path", "mode", "why"),
    [
        ("hub/../x", 0o600, "names the file 'hub/../x', which is no part of a hub"),
        ("hub/keys/../../../backup/x", 0o600, "names the file"),
        ("hub/store/x", 0o600, "names the file 'hub/store/x', which is no part of a hub"),
        ("x", 0o600, "names the file 'x', which is no part of a hub"),
        ("/etc/hostname", 0o600, "names the file '/etc/hostname', which is no part of a hub"),
        ("hub//etc/hostname", 0o600, "names the file"),
        ("hub/keys/x", 0o4755, "gives hub/keys/x the mode 2541"),
        ("hub/keys/x", -1, "gives hub/keys/x the mode -1"),
        ("hub/hub.json", 0o600, "names hub/hub.json twice"),
        ("hub/keys/link", 0o600, "which is not in the backup"),
    ],
)
def test_a_list_that_names_other_places_than_those_of_a_hub_is_refused(
    tmp_path: Path, path: str, mode: int, why: str
) -> None:
    source = tmp_path / "backup"
    (source / "hub" / "keys").mkdir(parents=True)
    (tmp_path / "outside").write_bytes(b"seed")
    (source / "hub" / "keys" / "link").symlink_to(tmp_path / "outside")
    for name in ("x", "hub/hub.json", "hub/keys/x"):
        (source / name).write_bytes(b"seed")
    keys = [
        (CopiedFile(name, 4, hashlib.sha256(b"seed").hexdigest()), bits)
        for name, bits in [("hub/hub.json", 0o600), (path, mode)]
    ]
    listed = BackupList(1, "1", [], keys)
    (source / BACKUP_LIST).write_bytes(msgspec.json.encode(msgspec.structs.replace(listed, sha256=listed.digest)))
    with pytest.raises(BadInput, match=re.escape(why)):
        checked_backup(source)


def test_the_certificates_of_every_node_of_a_cluster_are_in_a_backup(tmp_path: Path, mesh: Mesh) -> None:
    nodes = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    hub, _ = init_hub(tmp_path / "hub", ["127.0.0.1"], port=4222, door_port=8443, disk_bytes=4 << 30, nodes=nodes)
    target, new = tmp_path / "backup", tmp_path / "restored"

    async def copy() -> None:
        async with server(tmp_path / "old") as running:
            await filled(running)
            await back_up(running, target, hub.folder)

    anyio.run(copy)
    assert restore_keys(checked_backup(target), target, new)
    again = HubFolder.open(new)
    write_configs(again)

    def files(folder: Path) -> dict[str, tuple[bytes, int]]:
        found = (path for path in folder.rglob("*") if path.is_file())
        return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mode & 0o777) for p in found}

    assert files(new) == files(hub.folder)
    assert again.server_cert.read_bytes().startswith(b"-----BEGIN CERTIFICATE-----")


def test_keys_are_restored_with_their_modes_into_a_new_folder_only(tmp_path: Path, mesh: Mesh) -> None:
    hub = tmp_path / "hub"
    for name, text in {
        "hub.json": "{}",
        "keys/HUB.nk": "seed",
        "tls/ca.pem": "ca",
        "store/x": "no",
        "nats.conf": "no",
    }.items():
        (hub / name).parent.mkdir(exist_ok=True, parents=True)
        (hub / name).write_text(text)
        (hub / name).chmod(0o644 if name == "tls/ca.pem" else 0o600)
    target = tmp_path / "backup"

    async def copy() -> None:
        async with server(tmp_path / "old") as running:
            await filled(running)
            await back_up(running, target, hub)

    anyio.run(copy)
    listed, new = checked_backup(target), tmp_path / "restored"
    assert restore_keys(listed, target, new)
    files = {str(path.relative_to(new)): path for path in new.rglob("*") if path.is_file()}
    assert {name: path.read_text() for name, path in files.items()} == {
        "hub.json": "{}",
        "keys/HUB.nk": "seed",
        "tls/ca.pem": "ca",
    }
    assert {name: path.stat().st_mode & 0o777 for name, path in files.items()} == {
        "hub.json": 0o600,
        "keys/HUB.nk": 0o600,
        "tls/ca.pem": 0o644,
    }
    assert not any(path.stat().st_mode & 0o077 for path in (target, target / "hub", new))
    assert not restore_keys(listed, target, new)  # they are there: now the logs are restored
    (new / "hub.json").write_text("another")
    with pytest.raises(BadInput, match="is not the hub of this backup"):
        restore_keys(listed, target, new)


def test_a_killed_backup_leaves_nothing_that_is_restored(tmp_path: Path, mesh: Mesh) -> None:
    target = tmp_path / "backup"

    async def kill() -> list[Path]:
        async with server(tmp_path / "home" / "server") as hub:
            bus = await filled(hub)
            for number in range(40):
                await bus.put(f"large-{number}", os.urandom(1 << 20))
            command = [sys.executable, "-m", "mesh_cli", "hub", "backup", str(target)]
            env = {**os.environ, "MESH_HOME": str(tmp_path / "home")}
            for _ in range(9):  # on a busy machine it may be over before it is killed
                async with await anyio.open_process(command, env=env) as backup:
                    with anyio.fail_after(100):
                        while not (left := list(tmp_path.glob(".backup.*.part/streams/*"))):
                            if backup.returncode is not None:
                                break
                            await anyio.sleep(0.001)
                    with suppress(ProcessLookupError):
                        backup.send_signal(signal.SIGKILL)
                if not target.exists():
                    break
                shutil.rmtree(target)
            return left

    assert anyio.run(kill)
    assert not target.exists()
    [left] = tmp_path.glob(".backup.*.part")
    refused(mesh("hub", "restore", left), ExitCode.BAD_INPUT, "is not a whole backup")


def test_a_home_is_backed_up_and_restored_by_two_commands(
    tmp_path: Path, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_HOME", str(tmp_path / "old"))
    refused(mesh("hub", "backup", tmp_path / "nothing"), ExitCode.NO_LOG, "no mesh runs")

    async def fill() -> None:
        async with server(tmp_path / "old" / "server") as hub:
            await filled(hub)

    anyio.run(fill)
    done = mesh("hub", "backup", tmp_path / "backup")
    assert (done.code, done.out) == (0, f"{tmp_path / 'backup'}\n")
    assert done.err.startswith("mesh: 1,0"), done.err
    assert done.err.endswith("no keys\n")
    refused(mesh("hub", "backup", tmp_path / "backup"), ExitCode.BAD_INPUT, "exists; name a new folder")
    refused(mesh("hub", "backup", tmp_path / "b2", "--dir", tmp_path), ExitCode.BAD_INPUT, "is not the folder of a hub")
    before = mesh("tail", "--no-follow", "--arena", "a", "--json", "-n", "1000").out
    monkeypatch.setenv("MESH_HOME", str(tmp_path / "new"))
    restored = mesh("hub", "restore", tmp_path / "backup", "--json")
    assert {*json.loads(restored.out)["streams"]} >= STREAMS
    assert mesh("tail", "--no-follow", "--arena", "a", "--json", "-n", "1000").out == before != ""

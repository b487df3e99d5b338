"""A hub of three servers: the folder of each runs by itself on its machine, and members are the same on all."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import anyio
import nats.errors
import pytest

from mesh.accounts.hub_folder import HubFolder
from mesh.accounts.hub_init import init_hub
from mesh.accounts.issuing import revoke_key
from mesh.cluster_config import node_name
from mesh.errors import BadInput
from mesh.jetstream.system import system_account
from mesh.ports import free_ports
from mesh.server import find_binary
from mesh_cli.exit import ExitCode
from tests.support.hub_of_members import JS, Speaker, is_stored, member_creds, speaker
from tests.test_cli import Mesh, mesh, refused

__all__ = ["mesh"]

MACHINES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


@contextmanager
def machine(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a node as its machine does, with nothing but its folder."""
    with subprocess.Popen([find_binary(), "-c", "nats.conf"], cwd=folder, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


async def listening(url: str) -> None:
    """Wait until a server takes connections."""
    host, _, port = url.removeprefix("tls://").rpartition(":")
    with anyio.fail_after(150):
        while True:
            try:
                async with await anyio.connect_tcp(host, int(port)):
                    return
            except OSError:
                await anyio.sleep(0.05)


async def keep_coming(hub: HubFolder, creds: Path, url: str) -> None:
    """Connect again and again, until a server refuses it."""
    while True:
        async with speaker(hub, creds, "ann", url=url):
            await anyio.sleep(0.1)


async def patiently(who: Speaker, subject: str, data: bytes) -> None:
    """Say something until it is stored: servers that have just met elect a leader first."""
    with anyio.fail_after(150):
        while not is_stored(await who.say(subject, data)):
            await anyio.sleep(0.1)


async def test_three_servers_that_know_only_their_own_folders_keep_the_log_and_the_members(tmp_path: Path) -> None:
    port, *ports = free_ports(1 + len(MACHINES))
    nodes = [f"{address}:{own}" for address, own in zip(MACHINES, ports, strict=True)]
    hub = init_hub(tmp_path / "hub", nodes=nodes, port=port, disk_bytes=1 << 30)[0]
    urls = hub.server_url.split(",")
    async with AsyncExitStack() as stack:
        processes = []
        for number in range(1, 4):
            place = tmp_path / f"machine-{number}"
            shutil.copytree(hub.config_file(number).parent, place)
            processes.append(stack.enter_context(machine(place)))
        hub.folder.rename(tmp_path / "away")
        hub = type(hub).open(tmp_path / "away")
        for url in urls:
            await listening(url)
        own = await stack.enter_async_context(speaker(hub, hub.hub_creds, "hub", inbox="_INBOX", url=urls[0]))
        config = {"name": "MESH_one", "subjects": ["mesh.one.>"], "storage": "file", "num_replicas": 3}
        with anyio.fail_after(150):
            asked = json.dumps(config | {"max_bytes": 1 << 20, "allow_direct": True}).encode()
            while "error" in (answer := await own.say(f"{JS}STREAM.CREATE.MESH_one", asked)) or "config" not in answer:
                await anyio.sleep(0.2)
        path, key = member_creds(hub, "agent", "ann", ["one"])
        members = [await stack.enter_async_context(speaker(hub, path, "ann", url=url)) for url in urls]
        for number, ann in enumerate(members):
            await patiently(ann, f"mesh.one.note.posted.n{number}.ann", b"{}")
        processes[0].kill()
        await patiently(members[1], "mesh.one.note.posted.later.ann", b"{}")
        async with system_account(urls[1], hub.sys_creds, patience_s=60) as system:
            found = await system.connections(servers=2)
            assert [each["member"] for each in found].count("ann") == 2
            await system.push_claims(revoke_key(hub, key.public))
            with anyio.fail_after(100):
                while not (members[1].nc.is_closed and members[2].nc.is_closed):
                    await anyio.sleep(0.01)
        for url in urls[1:]:
            with pytest.raises((nats.errors.Error, OSError)):
                async with speaker(hub, path, "ann", url=url):
                    pass
        stack.enter_context(machine(tmp_path / "machine-1"))  # it was away, and has to learn it from the others
        await listening(urls[0])
        with anyio.fail_after(150), pytest.raises((nats.errors.Error, OSError)):
            await keep_coming(hub, path, urls[0])


def test_the_files_of_a_node_name_it_and_have_no_key_of_the_hub(tmp_path: Path) -> None:
    hub = init_hub(
        tmp_path / "hub", ["hub.example.org"], nodes=["a.example.org", "b.example.org:7000", "c.example.org"]
    )[0]
    assert hub.server_url == "tls://a.example.org:4222,tls://b.example.org:4222,tls://c.example.org:4222"
    for number in range(1, 4):
        folder = hub.config_file(number).parent
        found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
        assert sorted(found) == ["nats.conf", "tls/ca.pem", "tls/server.key", "tls/server.pem"]
        assert f"server_name: {node_name(number)}\n" in found["nats.conf"]
        assert str(tmp_path) not in found["nats.conf"]
        for key in (hub.folder / "keys").glob("*.nk"):
            assert key.read_text().strip() not in "".join(found.values())


def test_nodes_that_make_no_cluster_are_refused(mesh: Mesh, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="2 hosts are named for a cluster: name 3 or 5"):
        init_hub(tmp_path / "hub", nodes=["a", "b"])
    done = mesh("hub", "init", "--dir", tmp_path / "hub", "--nodes", "3", "a", "b")
    refused(done, ExitCode.BAD_INPUT, "--nodes says 3 and names 2 hosts: name one for each server")
    assert list(tmp_path.iterdir()) == []

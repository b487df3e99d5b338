"""Where a hub listens, and what its door accepts: IPv6, TLS 1.3 alone, its own names alone; all processes are real."""

import socket
import ssl
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from mesh.accounts.hub_init import init_hub
from mesh.accounts.server_files import listens_on
from mesh.ports import free_ports
from mesh.web.listening import listen
from mesh_cli.hub.open_keys import keys_open_to_others
from tests.support.arenas import write_arena
from tests.support.hub import curl
from tests.support.own_hub import new_hub, run_mesh, running


@pytest.mark.parametrize(
    ("hosts", "address"),
    [
        (["localhost"], "127.0.0.1"),
        (["127.0.0.1", "::1"], "127.0.0.1"),
        (["::1"], "::1"),
        (["localhost", "::1"], "::1"),
        (["hub.example.org"], "0.0.0.0"),
        (["10.0.0.5"], "0.0.0.0"),
        (["2001:db8::5"], "::"),
        (["hub.example.org", "2001:db8::5"], "::"),
    ],
)
def test_a_hub_listens_where_its_hosts_are_reached(hosts: list[str], address: str) -> None:
    assert listens_on(hosts) == address


def test_all_addresses_of_ipv6_are_those_of_ipv4_too() -> None:
    with listen("::", 0) as listening:
        port = listening.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), 5).close()


async def test_a_hub_on_ipv6_loopback_runs_and_machines_join_it(tmp_path: Path) -> None:
    port, door_port = free_ports(2)
    hub, _ = init_hub(tmp_path / "hub", ["::1"], port=port, door_port=door_port, disk_bytes=4 << 30)
    assert (hub.own_url, hub.server_url) == (f"tls://[::1]:{port}", f"tls://[::1]:{port}")
    async with running(hub) as own:
        await own.say("open", str(write_arena(tmp_path / "arena")))
        joined = await run_mesh(tmp_path / "ann", "join", await own.invite("observer"), "--name", "ann")
        assert joined.code == 0, joined
        assert joined.err == f"mesh: ann joined [::1]:{door_port} as an observer of arena tiny\n"
        assert (await run_mesh(tmp_path / "ann", "status")).code == 0
        doctor = await run_mesh(tmp_path / "ann", "doctor")
        assert "settings from context ann" in doctor.out.splitlines()[0]
        door, ca = f"https://[::1]:{door_port}/healthz", str(hub.folder / "tls" / "ca.pem")
        answer = await curl(door, "--cacert", ca, "-H", "Host: evil.example")
        assert (answer.status, answer.json["error"]) == (
            421,
            "host 'evil.example' is not a name of this page: use one of ::1",
        )
        await anyio.to_thread.run_sync(_shake, "::1", door_port, ca, ssl.TLSVersion.TLSv1_3)
        with pytest.raises(ssl.SSLError, match=r"EOF|version"):
            await anyio.to_thread.run_sync(_shake, "::1", door_port, ca, ssl.TLSVersion.TLSv1_2)


def _shake(host: str, port: int, ca: str, most: ssl.TLSVersion) -> None:
    """Shake hands by TLS of at most this version."""
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, most
    with socket.create_connection((host, port), 10) as plain, context.wrap_socket(plain, server_hostname=host) as safe:
        assert safe.version() == "TLSv1.3"


async def test_the_log_and_the_door_need_a_port_each(tmp_path: Path) -> None:
    done = await run_mesh(tmp_path, "hub", "init", "--dir", "hub", "--port", "8443")
    assert (done.code, done.out) == (2, "")
    assert done.err == "mesh: --port and --door-port are both 8443: the log and the door need a port each\n"
    assert not (tmp_path / "hub").exists()


async def test_keys_that_others_can_read_are_said_when_a_hub_starts(tmp_path: Path) -> None:
    hub = new_hub(tmp_path / "hub")
    assert keys_open_to_others(hub) == []
    (hub.folder / "creds" / "hub.creds").chmod(0o644)
    assert keys_open_to_others(hub) == []  # nobody else can enter the folder
    hub.folder.chmod(0o755)
    (hub.folder / "keys" / "signer.nk").chmod(0o640)
    assert keys_open_to_others(hub) == ["creds/hub.creds", "keys/signer.nk"]
    (hub.folder / "hub.json").chmod(0o644)
    (hub.folder / "claims" / "MEMBERS.jwt").unlink()  # so that it ends at once
    done = await run_mesh(tmp_path, "hub", "start", "--dir", str(hub.folder))
    told = "mesh: other users of this machine can read 2 files with keys of the hub, such as creds/hub.creds: chmod"
    assert (done.code, done.err.splitlines()[0]) == (2, f"{told} -R go= {hub.folder}")

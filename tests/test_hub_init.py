"""`mesh hub init` makes a hub whole or not at all, once, and for nobody else to read."""

import os
import shutil
import signal
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from mesh.accounts.certificates import hash_of_certificate
from mesh.accounts.claims import claims_of, verified_claims
from mesh.accounts.hub_folder import ACCOUNTS, HubFolder
from mesh.accounts.hub_init import init_hub, write_configs
from mesh.accounts.issuing import issue, revoke_key, revoked_keys
from mesh.accounts.nkey import new_nkey
from mesh.accounts.rights import ROLE_NAMES
from mesh.errors import BadInput
from mesh.ports import free_ports
from mesh.server import find_binary
from mesh_cli.exit import ExitCode
from tests.support.hub_of_members import is_stored, member_creds, new_hub, server_of, speaker
from tests.test_cli import Mesh, mesh, refused

__all__ = ["mesh"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("nodes", [(), ("a.example.org", "b.example.org", "c.example.org")])
def test_the_files_are_those_of_the_operator_alone(tmp_path: Path, nodes: tuple[str, ...]) -> None:
    before = os.umask(0)
    try:
        hub = init_hub(tmp_path / "hub", nodes=nodes)[0]
    finally:
        os.umask(before)
    for path in (hub.folder, *hub.folder.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o644 if path.name == "ca.pem" else 0o600), path
    more = ["routes"] if nodes else []
    assert {path.stem for path in (hub.folder / "keys").iterdir()} == {
        "operator", "signer", *ACCOUNTS, "role-hub", *(f"role-{role}" for role in ROLE_NAMES), *more
    }  # fmt: skip


@pytest.mark.parametrize("host", ["fe80::1%eth0", '::1%"\nmax_payload: 5\n#', "::1%}", 'a"b', "a\nb", "a.b\n"])
def test_no_host_writes_into_the_configuration(tmp_path: Path, host: str) -> None:
    with pytest.raises(BadInput, match="is not the name or address of a machine"):
        init_hub(tmp_path / "hub", [host])
    assert not (tmp_path / "hub").exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::0", "0:0:0:0:0:0:0:0"])
def test_a_hub_is_not_told_as_all_addresses_of_a_machine(tmp_path: Path, host: str) -> None:
    with pytest.raises(BadInput, match=rf"nobody can reach {host}: name the address or the name by which"):
        init_hub(tmp_path / "hub", [host])
    assert not (tmp_path / "hub").exists()


def test_the_claims_are_signed_by_the_key_that_stays(tmp_path: Path) -> None:
    hub = init_hub(tmp_path / "hub")[0]
    assert verified_claims(hub.claims("operator"))["iss"] == hub.settings.operator == hub.key("operator").public
    assert verified_claims(hub.claims("operator"))["nats"]["signing_keys"] == [hub.key("signer").public]
    for name in ACCOUNTS:
        assert verified_claims(hub.claims(name))["iss"] == hub.key("signer").public
        assert claims_of(hub.claims(name))["sub"] == hub.settings.accounts[name] == hub.key(name).public


def test_the_certificate_is_good_for_the_hosts_and_for_loopback(tmp_path: Path) -> None:
    hub = init_hub(tmp_path / "hub", ["hub.example.org", "192.0.2.7"])[0]
    trusting = ssl.create_default_context(cadata=hub.ca)
    [authority] = trusting.get_ca_certs()
    assert hub.ca_hash == hash_of_certificate(hub.ca)
    assert len(hub.ca_hash) == 32
    assert authority["subject"] == authority["issuer"]
    for name in ("hub.example.org", "192.0.2.7", "localhost", "127.0.0.1", "::1"):
        assert _shakes_hands(hub, trusting, name), name
    for name in ("example.org", "192.0.2.8"):
        assert not _shakes_hands(hub, trusting, name), name


def _shakes_hands(hub: HubFolder, trusting: ssl.SSLContext, name: str) -> bool:
    """Tell whether a client takes the hub's certificate for that of `name`."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(hub.server_cert, hub.server_key)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname=name)
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    try:
        for _ in range(5):
            for side in (client, server):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
    except ssl.SSLCertVerificationError:
        return False
    return client.version() == "TLSv1.3"


def test_the_server_takes_the_configuration_and_listens_on_loopback_where_no_host_is_named(tmp_path: Path) -> None:
    for name, hosts, address in (("alone", [], "127.0.0.1"), ("many", ["hub.example.org"], "0.0.0.0")):
        hub = init_hub(tmp_path / name / 'a "hub" in ü', hosts)[0]
        command = [find_binary(), "-t", "-c", str(hub.config_file())]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert f'host: "{address}"' in hub.config_file().read_text()


def test_a_second_time_changes_nothing_and_another_hub_is_refused(tmp_path: Path) -> None:
    hub, is_new = init_hub(tmp_path / "hub", ["hub.example.org"], port=4333)
    before = contents(hub.folder)
    assert is_new
    again, is_new = init_hub(tmp_path / "hub", ["hub.example.org"], port=4333)
    assert (again.settings, is_new) == (hub.settings, False)
    for hosts, port in ((["other.example.org"], 4333), (["hub.example.org"], 4222)):
        with pytest.raises(BadInput, match=r"has a hub already, for hub\.example\.org and port 4333: give the same"):
            init_hub(tmp_path / "hub", hosts, port=port)
    assert contents(hub.folder) == before


def test_a_folder_with_something_else_is_refused_and_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(BadInput, match="full is not empty and not a hub: give another --dir"):
        init_hub(tmp_path / "full")
    assert contents(tmp_path / "full") == {"thesis.txt": b"mine"}
    with pytest.raises(BadInput, match=r"thesis\.txt is a file: give another --dir"):
        init_hub(tmp_path / "full" / "thesis.txt")
    with pytest.raises(BadInput, match="'no host!' is not the name or address of a machine"):
        init_hub(tmp_path / "hub", ["no host!"])
    (tmp_path / "empty").mkdir()
    assert init_hub(tmp_path / "empty")[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "full"]


def test_a_half_or_newer_hub_is_told_in_one_sentence(tmp_path: Path) -> None:
    hub = init_hub(tmp_path / "hub")[0]
    marker = hub.folder / "hub.json"
    whole = marker.read_text()
    for text, words in (
        ("{", "is damaged: restore it from a backup"),
        (whole.replace('"format": 1', '"format": 2'), "has format 2, which this version does not know: use a newer"),
    ):
        marker.write_text(text)
        with pytest.raises(BadInput, match=words):
            HubFolder.open(hub.folder)
    with pytest.raises(BadInput, match=r"there is no hub in .*none: make one with `mesh hub init`"):
        HubFolder.open(tmp_path / "none")


def test_who_is_killed_in_the_middle_leaves_nothing_half_and_nothing_behind(tmp_path: Path) -> None:
    """The process is stopped at several places of its work: at each, there is a whole hub or none."""
    for number in range(6):
        folder = tmp_path / f"hub{number}"
        code = f"""
import os, signal
from pathlib import Path
from mesh.accounts import hub_init
count = 0
def write(path, data, mode, whole=hub_init._write):
    global count
    count += 1
    if count == {1 + number * 5}:
        os.kill(os.getpid(), signal.SIGKILL)
    whole(path, data, mode)
hub_init._write = write
hub_init.init_hub(Path({str(folder)!r}))
"""
        done = subprocess.run([sys.executable, "-c", code], check=False)
        assert folder.exists() == (done.returncode == 0)
        assert done.returncode in (0, -signal.SIGKILL)
        assert init_hub(folder)[1] == (done.returncode != 0)
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
        shutil.rmtree(folder)


def test_the_keys_of_the_operator_and_the_authority_may_be_moved_away(tmp_path: Path) -> None:
    hub = init_hub(tmp_path / "hub")[0]
    for path in ("keys/operator.nk", "keys/MEMBERS.nk", "keys/HUB.nk", "tls/ca.key"):
        (hub.folder / path).rename(tmp_path / Path(path).name)
    hub = HubFolder.open(hub.folder)
    key = new_nkey("user").public
    token = issue(hub, name="ann", role="agent", arenas=["one"], public=key)
    assert verified_claims(token)["iss"] == hub.key("role-agent").public
    assert verified_claims(revoke_key(hub, key))["iss"] == hub.key("signer").public
    assert list(revoked_keys(hub)) == [key]
    write_configs(hub)
    with pytest.raises(BadInput, match=r"has no keys/operator.nk any more: put the file back"):
        hub.key("operator")


def test_many_who_revoke_at_once_revoke_all(tmp_path: Path) -> None:
    hub = init_hub(tmp_path / "hub")[0]
    keys = [new_nkey("user").public for _ in range(6)]
    code = (
        "import sys; from pathlib import Path; from mesh.accounts.hub_folder import HubFolder;"
        "from mesh.accounts.issuing import revoke_key;"
        "[revoke_key(HubFolder.open(Path(sys.argv[1])), key) for key in sys.argv[2:]]"
    )
    command = [sys.executable, "-c", code, str(hub.folder)]
    running = [subprocess.Popen([*command, *keys[part::3]]) for part in range(3)]
    assert [process.wait(200) for process in running] == [0, 0, 0]
    assert sorted(revoked_keys(hub)) == sorted(keys)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"name": "*"}, "cannot be that of a member"),
        ({"role": "king"}, "role is 'king'; use agent, curator, worker, observer"),
        ({"arenas": []}, "the arenas of 'ann' are none: name one at least"),
        ({"arenas": ["one", "_hub"]}, "the arenas of 'ann' are one, _hub: name one at least, by its name"),
        ({"arenas": ["a.b"]}, "arena is 'a.b'; use 1 to 128 letters"),
        ({"public": "U"}, "'U' is not the public key of a user"),
        ({"lifetime_s": 1e9}, "a token cannot hold for 1e\\+09 s: use more than 0 and at most 604,800"),
    ],
)
def test_a_token_with_a_value_that_is_not_valid_is_refused(tmp_path: Path, wish: dict[str, object], words: str) -> None:
    hub = init_hub(tmp_path / "hub")[0]
    whole = {"name": "ann", "role": "agent", "arenas": ["one"], "public": new_nkey("user").public} | wish
    with pytest.raises(BadInput, match=words):
        issue(hub, **whole)  # type: ignore[arg-type]


async def test_a_hub_that_was_moved_runs_at_its_new_place(tmp_path: Path) -> None:
    hub = new_hub(tmp_path / "hub")
    hub.folder.rename(tmp_path / "moved")
    hub = HubFolder.open(tmp_path / "moved")
    with server_of(hub):
        path, _ = member_creds(hub, "agent", "ann", ["one"])
        async with speaker(hub, hub.hub_creds, "hub", inbox="_INBOX") as own, speaker(hub, path, "ann") as ann:
            config = b'{"name":"MESH_one","subjects":["mesh.one.>"],"storage":"file","max_bytes":1000000}'
            assert "error" not in await own.say("$JS.API.STREAM.CREATE.MESH_one", config)
            assert is_stored(await ann.say("mesh.one.note.posted.x.ann", b"{}"))


def test_the_command_makes_a_hub_and_says_what_to_do_next(
    mesh: Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_HOME", str(tmp_path / "home"))
    port = str(free_ports(1)[0])
    done = mesh("hub", "init", "--host", "hub.example.org", "--port", port, "--disk-gb", "2")
    folder = tmp_path / "home" / "hub"
    assert (done.code, done.out) == (ExitCode.OK, f"{folder}\n")
    assert f"members reach it at tls://hub.example.org:{port}\n" in done.err
    assert f"--nats tls://localhost:{port} and MESH_CREDENTIALS={folder}/creds/hub.creds\n" in done.err
    assert f"move {folder}/keys/operator.nk to a place that is not on this machine" in done.err
    assert HubFolder.open(folder).settings.disk_bytes == 2_000_000_000
    again = mesh("hub", "init", "--host", "hub.example.org", "--port", port)
    assert (again.code, again.out) == (ExitCode.OK, f"{folder}\n")
    assert again.err == f"mesh: {folder} has this hub already; nothing was changed\n"
    refused(mesh("hub", "init", "--host", "a b"), ExitCode.BAD_INPUT, "'a b' is not the name or address of a machine")
    refused(mesh("hub", "init"), ExitCode.BAD_INPUT, "has a hub already, for hub.example.org")


def test_a_folder_that_cannot_be_made_and_a_missing_library_are_told_in_one_sentence(
    mesh: Mesh, tmp_path: Path
) -> None:
    refused(
        mesh("hub", "init", "--dir", "/proc/nowhere/hub"), ExitCode.BAD_INPUT, "of a hub cannot be made: No such file"
    )
    code = "import sys; sys.modules['cryptography'] = None; from mesh_cli.__main__ import main; main()"
    command = [sys.executable, "-c", code, "hub", "init", "--dir", str(tmp_path / "hub")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    words = "mesh: a hub needs cryptography, which is not installed: pip install 'mesh-swarm[hub]'\n"
    assert (done.returncode, done.stderr) == (ExitCode.BAD_INPUT, words)
    assert list(tmp_path.iterdir()) == []


def test_of_two_who_make_a_hub_at_once_one_makes_it_and_both_have_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from mesh.accounts.hub_init import init_hub;"
        "hub, is_new = init_hub(Path(sys.argv[1])); print(is_new, hub.settings.operator)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "hub")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate(timeout=100)[0].split() for process in running]
    assert sorted(is_new for is_new, _ in said) == ["False", "False", "False", "True"]
    assert {operator for _, operator in said} == {HubFolder.open(tmp_path / "hub").settings.operator}
    assert [path.name for path in tmp_path.iterdir()] == ["hub"]


async def test_the_products_own_client_reaches_a_hub_with_credentials_alone(tmp_path: Path) -> None:
    from mesh.jetstream import connect

    hub = new_hub(tmp_path / "hub")
    with server_of(hub):
        with anyio.fail_after(150):
            async with connect(hub.own_url, credentials=hub.hub_creds) as found:
                assert await found.arenas() == []

"""Credentials in a file: an nkey's seed or a JWT with its key open a server that lets nobody else in."""

import base64
import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nkeys
import pytest

from mesh.errors import BadInput
from mesh.jetstream import connect
from mesh.jetstream.credentials import proof
from mesh.jetstream.member import MemberCredentials, member_of, name_of
from mesh.server import find_binary
from mesh_cli.exit import ExitCode
from tests.test_cli import Mesh, mesh, refused

__all__ = ["mesh"]

UNLIMITED = ("subs", "data", "payload", "imports", "exports", "conn", "leaf", "mem_storage", "disk_storage")


def pair(kind: int) -> Any:
    return nkeys.from_seed(bytearray(nkeys.encode_seed(os.urandom(32), kind)))


def jwt(issuer: Any, subject: Any, name: str, nats: dict[str, Any]) -> str:
    """A token as nsc makes it: https://docs.nats.io/running-a-nats-service/configuration/securing_nats/jwt."""
    claims = {"iat": int(time.time()), "iss": issuer.public_key.decode(), "sub": subject.public_key.decode()}
    claims |= {"name": name, "nats": {"version": 2, **nats}}
    claims["jti"] = base64.b32encode(hashlib.sha256(json.dumps(claims).encode()).digest()).decode().rstrip("=")
    parts = [_part(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, claims)]
    return ".".join([*parts, _part(issuer.sign(".".join(parts).encode()))])


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@contextmanager
def serving(folder: Path, rules: str, jetstream: str = "") -> Iterator[str]:
    """Run a nats-server with JetStream, these rules of who may come in, and these settings of JetStream."""
    config = folder / "nats.conf"
    store = f'jetstream {{ store_dir: "{folder / "store"}"\n{jetstream} }}'
    config.write_text(f'host: "127.0.0.1"\nport: -1\n{store}\n{rules}')
    with subprocess.Popen([find_binary(), "-c", str(config)], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = ""
            while "Server is ready" not in said:
                line = process.stderr.readline()
                assert line, said
                said += line
            [port] = re.findall(r"client connections on 127.0.0.1:(\d+)", said)
            yield f"nats://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.communicate(timeout=100)


@contextmanager
def by_seed(folder: Path) -> Iterator[tuple[str, Path]]:
    user = pair(nkeys.PREFIX_BYTE_USER)
    path = folder / "user.nk"
    path.write_text(f"# a comment\n{user.seed.decode()}\n")
    with serving(folder, f"authorization {{ users: [{{ nkey: {user.public_key.decode()} }}] }}") as url:
        yield url, path


@contextmanager
def by_jwt(folder: Path) -> Iterator[tuple[str, Path]]:
    operator, user = pair(nkeys.PREFIX_BYTE_OPERATOR), pair(nkeys.PREFIX_BYTE_USER)
    account, system = pair(nkeys.PREFIX_BYTE_ACCOUNT), pair(nkeys.PREFIX_BYTE_ACCOUNT)
    limits = dict.fromkeys([*UNLIMITED, "streams", "consumer"], -1) | {"wildcards": True}
    mine = jwt(operator, account, "mine", {"type": "account", "limits": limits})
    plain = {name: -1 for name in UNLIMITED if "storage" not in name} | {"wildcards": True}
    its = jwt(operator, system, "SYS", {"type": "account", "limits": plain})
    token = jwt(account, user, "ann", {"type": "user", "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1})
    path = folder / "user.creds"
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )
    names = [key.public_key.decode() for key in (account, system)]
    top = jwt(operator, operator, "op", {"type": "operator", "system_account": names[1]})
    preload = f"resolver_preload: {{ {names[0]}: {mine}, {names[1]}: {its} }}"
    with serving(folder, f"operator: {top}\nsystem_account: {names[1]}\nresolver: MEMORY\n{preload}\n") as url:
        yield url, path


@pytest.mark.parametrize("guarded", [by_seed, by_jwt])
async def test_credentials_open_a_server_that_is_closed_without_them(guarded: Any, tmp_path: Path) -> None:
    with guarded(tmp_path) as (url, path):
        async with connect(url, credentials=path) as hub:
            await hub.arena("tiny", create=True)
            assert await hub.arenas() == ["tiny"]


def test_a_context_brings_its_credentials_along(tmp_path: Path, mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("MESH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MESH_NATS", raising=False)
    with by_seed(tmp_path) as (url, path):
        mesh("context", "add", "lab", "--nats", url, "--creds", path)
        mesh("context", "use", "lab")
        refused(mesh("status"), ExitCode.BAD_INPUT, "there is no arena yet; mesh open FOLDER opens one")
        refused(mesh("status", "--nats", url), ExitCode.NO_LOG, "refuses this user: check the credentials")
        monkeypatch.setenv("MESH_CREDENTIALS", str(path))
        refused(mesh("status", "--nats", url), ExitCode.BAD_INPUT, "there is no arena yet; mesh open FOLDER opens one")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "contain no valid key: use a user's JWT with its key"),
        ("hello", "contain no valid key: use a user's JWT with its key"),
        ("-----BEGIN NATS USER JWT-----\nx\n", "contain no valid key: use a user's JWT with its key"),
        ("SUAGEHEIM", "contain a damaged nkey seed"),
        ("é", "contain no valid key: use a user's JWT with its key"),
    ],
)
def test_a_file_without_credentials_is_one_sentence_that_shows_nothing_of_it(
    tmp_path: Path, text: str, sentence: str
) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(BadInput, match=sentence) as refusal:
        proof(path)
    assert "GEHEIM" not in str(refusal.value)


def test_without_a_file_there_is_nothing_to_prove(tmp_path: Path) -> None:
    assert proof(None) == {}
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        proof(tmp_path / "none")


def credentials(folder: Path, name: str, tags: list[str]) -> Path:
    account, user = pair(nkeys.PREFIX_BYTE_ACCOUNT), pair(nkeys.PREFIX_BYTE_USER)
    token = jwt(account, user, name, {"type": "user", "tags": tags})
    path = folder / "member.creds"
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )
    return path


def test_credentials_name_a_member_and_its_arenas(tmp_path: Path) -> None:
    member = member_of(credentials(tmp_path, "gpu7", ["role:worker", "arena:b", "arena:A", "arena:b"]))
    assert member == MemberCredentials("gpu7", ("A", "b"))
    assert member.inbox == "_INBOX_gpu7"
    assert (name_of(member, None), name_of(member, "gpu7"), name_of(None, "x")) == ("gpu7", "gpu7", "x")
    with pytest.raises(BadInput, match=r"^--name is 'gpu8', but the credentials are for 'gpu7': leave --name out$"):
        name_of(member, "gpu8")


def test_credentials_for_no_arena_are_those_of_no_member(tmp_path: Path) -> None:
    assert member_of(None) is None
    assert member_of(credentials(tmp_path, "owner", ["role:hub"])) is None
    (tmp_path / "seed").write_text(pair(nkeys.PREFIX_BYTE_USER).seed.decode())
    assert member_of(tmp_path / "seed") is None


def test_credentials_that_cannot_be_those_of_a_member_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"^credentials .* are for the name 'a\.>': use credentials for a name of 1 to 63"
    ):
        member_of(credentials(tmp_path, "a.>", ["arena:a"]))
    damaged = credentials(tmp_path, "ann", ["arena:a"])
    damaged.write_text(damaged.read_text().replace(".", ".x", 1))
    with pytest.raises(BadInput, match=r"contain a damaged JWT: use another copy of the file$"):
        member_of(damaged)

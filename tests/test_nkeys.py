"""Keys, tokens and files with credentials: what is damaged or signed by another is refused in one sentence."""

import base64
import json
import stat
import subprocess
import sys
from pathlib import Path

import nkeys
import pytest

from mesh.accounts.claims import check_member_name, claims_of, signed_claims, user_claims_of, verified_claims
from mesh.accounts.creds_file import read_creds, write_creds
from mesh.accounts.nkey import KeyKind, check_user_key, is_signed, new_nkey, nkey_of
from mesh.errors import BadInput

CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(("kind", "first"), [("operator", "O"), ("account", "A"), ("user", "U")])
def test_a_key_is_that_of_the_library_of_nats(kind: KeyKind, first: str) -> None:
    key = new_nkey(kind)
    theirs = nkeys.from_seed(bytearray(key.seed.encode()))
    assert (key.public[0], len(key.public), key.seed[:2]) == (first, 56, f"S{first}")
    assert theirs.public_key.decode() == key.public
    assert theirs.verify(b"words", key.sign(b"words"))
    assert is_signed(key.public, b"words", theirs.sign(b"words"))
    assert nkey_of(f"{key.seed}\n").public == key.public


def test_a_signature_of_other_words_or_of_another_key_is_none() -> None:
    key = new_nkey("user")
    proof = key.sign(b"words")
    assert not is_signed(key.public, b"other words", proof)
    assert not is_signed(new_nkey("user").public, b"words", proof)
    assert not is_signed(key.public, b"words", proof[:-1])
    assert not is_signed(key.public[:-1] + ("A" if key.public[-1] != "A" else "B"), b"words", proof)
    for damaged in ("", "U", "not a key", "U" * 56, "é" * 56, key.seed):
        assert not is_signed(damaged, b"words", proof)


def test_a_damaged_seed_or_key_is_refused_without_being_shown() -> None:
    seed = new_nkey("user").seed
    for damaged in (
        "",
        "SU",
        seed[:-2],
        seed[:10] + "A" + seed[11:] if seed[10] != "A" else seed[:10] + "B" + seed[11:],
    ):
        with pytest.raises(BadInput, match="the seed of an nkey is damaged") as caught:
            nkey_of(damaged)
        assert damaged == "" or damaged not in str(caught.value)
    for public in (new_nkey("account").public, "U" * 56, ""):
        with pytest.raises(BadInput, match="is not the public key of a user"):
            check_user_key(public)


def test_a_token_says_what_was_signed_and_no_bit_of_it_can_be_changed() -> None:
    issuer, user = new_nkey("account"), new_nkey("user")
    tags = ["arena:one", "other:x", "arena:Two"]
    token = signed_claims(issuer, user.public, "user", {"tags": tags}, name="ann", until_s=2e9, issued_s=1_900_000_000)
    found = user_claims_of(token)
    assert (found.name, found.public, found.issuer) == ("ann", user.public, issuer.public)
    assert (found.arenas, found.issued_s, found.until_s) == (("one", "Two"), 1_900_000_000, 2_000_000_000)
    assert verified_claims(token) == claims_of(token)
    head, body, proof = token.split(".")
    said = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    said["name"] = "eve"
    forged = base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")
    with pytest.raises(BadInput, match="the token of 'eve' is not signed by its issuer"):
        verified_claims(f"{head}.{forged}.{proof}")
    for text in ("", "a.b", "a.b.c", f"{head}.{body}", f"{body}.{body}.{proof}"):
        with pytest.raises(BadInput, match="this is not a token of NATS"):
            claims_of(text)


@pytest.mark.parametrize("name", ["*", "a.b", "", ">", "-a", "_a", "a" * 64, "é", "a b", "a\n"])
def test_a_name_that_cannot_be_one_token_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="cannot be that of a member: use 1 to 63 letters"):
        check_member_name(name)
    assert check_member_name("gpu-7_b") == "gpu-7_b"


def test_credentials_are_a_file_for_its_owner_alone_that_other_tools_read(tmp_path: Path) -> None:
    issuer, user = new_nkey("account"), new_nkey("user")
    token = signed_claims(issuer, user.public, "user", {}, name="ann")
    path = tmp_path / "ann.creds"
    path.write_text("older")
    path.chmod(0o644)
    write_creds(path, token, user, CA)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = read_creds(path)
    assert (found.jwt, found.seed, found.ca) == (token, user.seed, CA)
    from nats.aio.client import Client

    assert bytes(Client()._read_creds_user_jwt(path)).decode() == token
    assert bytes(Client()._read_creds_user_nkey(path)).decode().strip() == user.seed
    path.write_text(path.read_text().replace("BEGIN USER NKEY", "BEGIN NKEY"))
    with pytest.raises(BadInput, match="lack the token or the key of a user"):
        read_creds(path)
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        read_creds(tmp_path / "none.creds")


def test_the_libraries_of_keys_and_certificates_are_loaded_when_they_are_used() -> None:
    modules = (
        "certificates",
        "claims",
        "creds_file",
        "hub_folder",
        "hub_init",
        "issuing",
        "nkey",
        "rights",
        "server_files",
    )
    code = f"import sys; {'; '.join(f'import mesh.accounts.{name}' for name in modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"nkeys", "nacl", "cryptography", "nats"}.isdisjoint(done.stdout.split())

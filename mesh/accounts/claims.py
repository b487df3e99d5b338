"""Claims of NATS: JSON Web Tokens (version 2 of https://github.com/nats-io/jwt) that one nkey signs for another.

An operator signs accounts, an account or the key of one of its roles signs users. `rights` says what the roles may do.
"""

import base64
import binascii
import hashlib
import re
import time
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from mesh.accounts.nkey import Nkey, is_signed
from mesh.errors import BadInput

ClaimKind = Literal["operator", "account", "user"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_ARENA_TAG = "arena:"
_NO_TOKEN = "this is not a token of NATS: three parts of base64 with dots between them"


class UserClaims(msgspec.Struct, frozen=True):
    """What the token of a member says: its name, key, role and arenas, and from when until when it holds (0: for ever).

    The role is that of the key that signed it; a token does not name it, so who reads one has to know the hub.
    """

    name: str
    public: str
    issuer: str
    arenas: tuple[str, ...]
    issued_s: int
    until_s: int


def signed_claims(
    issuer: Nkey,
    subject: str,
    kind: ClaimKind,
    nats: Mapping[str, Any],
    *,
    name: str,
    until_s: float = 0.0,
    issued_s: int | None = None,
) -> str:
    """Return a token.

    Args:
        issuer: the key that signs.
        subject: the public key that the token is for.
        kind: what the subject is.
        nats: what the token says in the words of NATS.
        name: name of the subject.
        until_s: when it ends, in seconds since 1970; 0 is never.
        issued_s: when it was made; None is now.
    """
    issued = int(time.time()) if issued_s is None else issued_s
    claims: dict[str, Any] = {"iat": issued, "iss": issuer.public, "name": name, "sub": subject}
    if until_s:
        claims["exp"] = int(until_s)
    claims["nats"] = {**nats, "type": kind, "version": 2}
    claims["jti"] = base64.b32encode(hashlib.sha256(msgspec.json.encode(claims)).digest()).decode().rstrip("=")
    body = f"{_part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_part(claims)}"
    return f"{body}.{_base64(issuer.sign(body.encode()))}"


def claims_of(token: str) -> dict[str, Any]:
    """Return what a token says, whoever signed it.

    Raises:
        BadInput: it is not a token.
    """
    try:
        header, body, _ = token.strip().split(".")
        claims: dict[str, Any] = msgspec.json.decode(_bytes(body), type=dict[str, Any])
        algorithm = msgspec.json.decode(_bytes(header), type=dict[str, Any]).get("alg")
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise BadInput(_NO_TOKEN) from None
    if algorithm != "ed25519-nkey" or not isinstance(claims.get("nats"), dict):
        raise BadInput(_NO_TOKEN)
    return claims


def verified_claims(token: str) -> dict[str, Any]:
    """Return what a token says, if the key that it names has signed it.

    Raises:
        BadInput: it is not a token, or its signature is not that of its issuer.
    """
    claims = claims_of(token)
    body, _, signature = token.strip().rpartition(".")
    try:
        proof = _bytes(signature)
    except (ValueError, binascii.Error):
        proof = b""
    if not is_signed(str(claims.get("iss", "")), body.encode(), proof):
        raise BadInput(f"the token of {str(claims.get('name'))[:60]!r} is not signed by its issuer")
    return claims


def user_claims_of(token: str) -> UserClaims:
    """Return what the token of a member says, whoever signed it.

    Raises:
        BadInput: it is not a token of a user.
    """
    claims = claims_of(token)
    try:
        return UserClaims(
            name=str(claims["name"]),
            public=str(claims["sub"]),
            issuer=str(claims["iss"]),
            arenas=arenas_in(claims["nats"].get("tags") or ()),
            issued_s=int(claims["iat"]),
            until_s=int(claims.get("exp", 0)),
        )
    except (LookupError, TypeError, ValueError):
        raise BadInput("this token of NATS is not that of a user") from None


def check_member_name(name: str) -> str:
    """Return `name` if a member may have it: it is one token of a subject, and the name of its inbox.

    Raises:
        BadInput: it is not.
    """
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"the name {name[:70]!r} cannot be that of a member: use 1 to 63 letters, digits, '_' and '-', "
            "and a letter or digit first"
        )
    return name


def arena_tags(arenas: tuple[str, ...]) -> list[str]:
    """Return the tags that open these arenas to a member."""
    return [f"{_ARENA_TAG}{arena}" for arena in arenas]


def arenas_in(tags: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Return the arenas in the tags of a token."""
    return tuple(tag.removeprefix(_ARENA_TAG) for tag in tags if tag.startswith(_ARENA_TAG))


def _part(value: Any) -> str:
    return _base64(msgspec.json.encode(value))


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

"""Keys of NATS: ed25519 pairs whose text says what they are for (`O…` operator, `A…` account, `U…` user).

The library that signs and checks is PyNaCl, by way of `nkeys`, as nats-py uses them. It is loaded when it is used.
"""

import base64
import binascii
import os
from typing import Literal

from mesh.errors import BadInput

KeyKind = Literal["operator", "account", "user"]
_PREFIXES: dict[KeyKind, int] = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
_PUBLIC_BYTES = 1 + 32 + 2
"""What it is for, the key, and a checksum."""


class Nkey:
    """A key pair: `public` names it, `seed` is the secret."""

    def __init__(self, seed: str) -> None:
        import nkeys

        self.seed = seed
        self._pair = nkeys.from_seed(bytearray(seed.encode()))
        self.public: str = self._pair.public_key.decode()

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data`, 64 bytes."""
        return bytes(self._pair.sign(data))


def new_nkey(kind: KeyKind) -> Nkey:
    """Return a new key pair of 32 random bytes."""
    import nkeys

    return Nkey(nkeys.encode_seed(os.urandom(32), _PREFIXES[kind]).decode())


def nkey_of(seed: str) -> Nkey:
    """Return the key pair of a seed.

    Raises:
        BadInput: the seed is damaged.
    """
    try:
        found = Nkey(seed.strip())
    except Exception:  # nkeys raises many types, and their texts may contain the seed
        raise BadInput("the seed of an nkey is damaged: use another copy of it") from None
    if found.seed[:1] != "S" or _decoded(found.seed) is None:
        raise BadInput("the seed of an nkey is damaged: use another copy of it")
    return found


def is_signed(public: str, data: bytes, signature: bytes) -> bool:
    """Tell whether `signature` of `data` is that of the key `public`; a damaged key has signed nothing."""
    from nacl.exceptions import CryptoError
    from nacl.signing import VerifyKey

    body = _decoded(public)
    if body is None or len(body) != _PUBLIC_BYTES - 2:
        return False
    try:
        VerifyKey(body[1:]).verify(data, signature)
    except (CryptoError, ValueError, TypeError):
        return False
    return True


def check_user_key(public: str) -> str:
    """Return `public` if it is the public key of a user.

    Raises:
        BadInput: it is not.
    """
    body = _decoded(public)
    if body is None or len(body) != _PUBLIC_BYTES - 2 or body[0] != _PREFIXES["user"]:
        raise BadInput(f"{public[:60]!r} is not the public key of a user: use 56 characters that begin with U")
    return public


def _decoded(text: str) -> bytes | None:
    """Return the bytes of a key's text without their checksum, None if it is damaged."""
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        return None
    body, checksum = raw[:-2], raw[-2:]
    return body if binascii.crc_hqx(body, 0).to_bytes(2, "little") == checksum else None

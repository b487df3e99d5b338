"""The line that lets a machine join a hub: `mesh1_` and in base64 a secret, the hash of the hub's CA, its address.

The hash stands in the invitation, so that the secret is sent to nobody else than the hub that made it. Pure.
"""

import base64
import binascii
import re

import msgspec

from mesh.errors import BadInput

INVITATION_MARK = "mesh1_"
SECRET_BYTES, FINGERPRINT_BYTES = 16, 32
_END = b"/"
"""Ends the address, so that a port that lost its last digits is not taken for another one."""
_PLACE = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253}):(\d{1,5})")


class Invitation(msgspec.Struct, frozen=True):
    """What an invitation says.

    Attributes:
        secret: 16 bytes, which the hub knows by their hash alone.
        fingerprint: sha256 of the hub's CA, a certificate in DER.
        place: host and port at which the hub answers by https.
    """

    secret: bytes
    fingerprint: bytes
    place: str

    def __str__(self) -> str:
        """Return the line."""
        raw = self.secret + self.fingerprint + self.place.encode() + _END
        return INVITATION_MARK + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    def __repr__(self) -> str:
        """Return what may stand in a log: not the secret."""
        return f"Invitation(place={self.place!r})"


def read_invitation(text: str) -> Invitation:
    """Return what an invitation says.

    Raises:
        BadInput: the text is not a whole invitation.
    """
    line = text.strip()
    if not line.startswith(INVITATION_MARK):
        raise BadInput(
            f"{line[:12]!r} is not an invitation: it begins with {INVITATION_MARK}; mesh hub invite makes one"
        )
    body = line.removeprefix(INVITATION_MARK)
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        place = raw[SECRET_BYTES + FINGERPRINT_BYTES :].decode("ascii")
        place = place.removesuffix("/") if place.endswith("/") else ""
    except (binascii.Error, ValueError):
        raw, place = b"", ""
    if not (found := _PLACE.fullmatch(place)) or not 0 < int(found[2]) < 65536:
        raise BadInput(
            f"this is not a whole invitation: it has {len(line)} characters, and some are missing or wrong; copy the "
            "whole line that mesh hub invite printed"
        )
    return Invitation(raw[:SECRET_BYTES], raw[SECRET_BYTES:][:FINGERPRINT_BYTES], place)

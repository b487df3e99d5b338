"""How a machine becomes a member of a hub, and stays one: the requests to the hub's door, and the files of a member.

The CA of the hub is fetched without being believed, and compared with the hash in the invitation before anything else
is sent; all that follows goes over TLS 1.3 that is checked with that CA. The private key never leaves this machine.
"""

import base64
import datetime as dt
import email.utils
import hashlib
import hmac
import http.client
import json
import ssl
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from mesh.accounts.creds_file import read_creds, write_creds
from mesh.accounts.nkey import Nkey, new_nkey, nkey_of
from mesh.atomic_write import atomic_write
from mesh.errors import BadInput, BusRefused, BusUnavailable
from mesh.invitation import Invitation

SKEW_S = 60.0
"""Seconds by which the clocks of a member and of its hub may differ."""
_ANSWER_WITHIN_S = 20.0
"""Seconds that the hub has for an answer."""
_MOST_BYTES = 64 * 1024


class HubMembership(msgspec.Struct, frozen=True):
    """What a member keeps beside its credentials; nothing of it is secret.

    Attributes:
        name: the author of what it posts.
        role: `worker`, `agent`, `curator` or `observer`.
        arenas: where it takes part.
        nats: address of the hub's log.
        place: host and port of the hub's door, where the credentials are renewed.
    """

    name: str
    role: str
    arenas: tuple[str, ...]
    nats: str
    place: str


def join_words(name: str, nkey: str, at: float, secret: str) -> bytes:
    """Return what one who joins signs, which proves that it has the private key."""
    return f"mesh join\n{name}\n{nkey}\n{at:.3f}\n{hashlib.sha256(secret.encode()).hexdigest()}".encode()


def renewal_words(nkey: str, at: float) -> bytes:
    """Return what a member signs that renews its credentials."""
    return f"mesh renew\n{nkey}\n{at:.3f}".encode()


def two_clocks(ours: float, of_hub: float) -> str:
    """Return a sentence if two clocks differ too much, else ""."""
    if abs(ours - of_hub) <= SKEW_S:
        return ""
    here, there = (f"{dt.datetime.fromtimestamp(at, dt.UTC):%Y-%m-%d %H:%M:%S}" for at in (ours, of_hub))
    return (
        f"the clock of this machine says {here} UTC and that of the hub {there} UTC: they may differ by "
        f"{SKEW_S:.0f} s, so set the wrong one (timedatectl set-ntp true)"
    )


class Offer(msgspec.Struct, frozen=True):
    """What an invitation is for.

    Attributes:
        role: the role.
        arenas: where the member takes part.
        owner: who answers for it.
        costs: by arena, what a worker of this price is about to cost, in a line.
        unpaid: by arena, why its budget does not pay for such a worker, "" if it does.
    """

    role: str
    arenas: tuple[str, ...]
    owner: str = ""
    costs: dict[str, str] = {}
    unpaid: dict[str, str] = {}


def offer_of(
    invitation: Invitation, name: str, folder: Path, *, price_per_hour_usd: float | None = None, slots: int = 1
) -> tuple[Offer, str]:
    """Return what an invitation is for, and the hub's CA; nothing is used up.

    Args:
        invitation: the invitation.
        name: the name to be known by.
        folder: where the files of memberships are kept.
        price_per_hour_usd: what a worker costs, None if that is not known.
        slots: how many runs it takes at a time.

    Raises:
        BadInput: the hub's CA is another one, or a clock is wrong.
        BusRefused: the hub refuses the invitation.
        BusUnavailable: nothing answers at the hub's address.
    """
    ca = _fetch_ca(invitation)
    before = _key_there(credentials_file(folder, invitation, name))
    asked: dict[str, Any] = {"secret": invitation.secret.hex(), "name": name, "nkey": before.public if before else ""}
    asked |= {"price_per_hour_usd": price_per_hour_usd, "slots": slots}
    answer = _ask(invitation.place, ca, "/api/invitation", asked)
    try:
        return msgspec.convert(answer, Offer), ca
    except msgspec.ValidationError:
        raise _odd(invitation.place) from None


def redeem(invitation: Invitation, ca: str, name: str, folder: Path) -> tuple[HubMembership, Path]:
    """Join a hub and return the membership and the file with its credentials; what was cut off is taken up again.

    Args:
        invitation: the invitation.
        ca: the hub's CA, from `offer_of`.
        name: the name to be known by.
        folder: where the files of memberships are kept.

    Raises:
        BadInput: the hub's CA is another one, a clock is wrong, or the folder cannot be written.
        BusRefused: the hub refuses the invitation or the name.
        BusUnavailable: nothing answers at the hub's address.
    """
    file = credentials_file(folder, invitation, name)
    key = _key_there(file) or _new_key(file.with_suffix(".nk"))
    secret, at = invitation.secret.hex(), time.time()
    proof = key.sign(join_words(name, key.public, at, secret))
    wish = {"secret": secret, "name": name, "nkey": key.public, "at": at, "proof": base64.b64encode(proof).decode()}
    answer = _ask(invitation.place, ca, "/api/join", wish)
    try:
        membership = HubMembership(
            answer["name"], answer["role"], tuple(answer["arenas"]), answer["nats"], invitation.place
        )
        _keep(file, membership, answer["jwt"], key, ca)
    except (LookupError, TypeError):
        raise _odd(invitation.place) from None
    return membership, file


def credentials_file(folder: Path, invitation: Invitation, name: str) -> Path:
    """Return the file with the credentials of a member; members of other hubs may have the same name."""
    return folder / f"{invitation.fingerprint.hex()[:8]}-{name}.creds"


def renewed(file: Path) -> HubMembership:
    """Renew the credentials in a file that `redeem` made, and return the membership.

    Raises:
        BadInput: the file is not one of a membership, or a clock is wrong.
        BusRefused: the hub refuses: the member was revoked.
        BusUnavailable: nothing answers at the hub's address.
    """
    membership = membership_of(file)
    if membership is None:
        raise BadInput(f"{file} cannot be renewed: it was not made by mesh join")
    kept = read_creds(file)
    key, at = nkey_of(kept.seed), time.time()
    proof = base64.b64encode(key.sign(renewal_words(key.public, at))).decode()
    answer = _ask(membership.place, kept.ca, "/api/renew", {"nkey": key.public, "at": at, "proof": proof})
    try:
        renewed = msgspec.structs.replace(
            membership, nats=str(answer["nats"]), arenas=tuple(answer["arenas"]), role=str(answer["role"])
        )
        _keep(file, renewed, str(answer["jwt"]), key, kept.ca)
    except (LookupError, TypeError):
        raise _odd(membership.place) from None
    return renewed


def _keep(file: Path, membership: HubMembership, jwt: str, key: Nkey, ca: str) -> None:
    """Write the files of a membership, which only this user may read.

    Raises:
        BadInput: the folder cannot be written.
    """
    try:
        write_creds(file, jwt, key, ca)
        with atomic_write(file.with_suffix(".json"), private=True) as beside:
            beside.write_bytes(msgspec.json.encode(membership) + b"\n")
        file.with_suffix(".nk").unlink(missing_ok=True)
    except OSError as error:
        raise BadInput(f"{file} cannot be written: {error.strerror}") from None


def membership_of(file: Path) -> HubMembership | None:
    """Return the membership whose credentials are in a file; None where they are of another kind."""
    try:
        return msgspec.json.decode(file.with_suffix(".json").read_bytes(), type=HubMembership)
    except (OSError, msgspec.MsgspecError):
        return None


def _key_there(file: Path) -> Nkey | None:
    """Return the key with which this machine has joined, or was about to."""
    begun = file.with_suffix(".nk")
    try:
        if file.exists():
            return nkey_of(read_creds(file).seed)
        return nkey_of(begun.read_text(encoding="ascii").strip()) if begun.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{begun} cannot be read: {error}") from None


def _new_key(file: Path) -> Nkey:
    """Return a new key, which is kept first: an answer that is lost is then not the end."""
    key = new_nkey("user")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_write(file, private=True, durable=True) as beside:
            beside.write_text(key.seed + "\n", encoding="ascii")
    except OSError as error:
        raise BadInput(f"{file} cannot be written: {error.strerror}") from None
    return key


def _fetch_ca(invitation: Invitation) -> str:
    """Return the hub's CA, once it is the one of the invitation and the clocks agree."""
    place = invitation.place
    loose = ssl._create_unverified_context()
    loose.minimum_version = ssl.TLSVersion.TLSv1_3
    status, headers, data = _request(place, loose, "GET", "/ca.pem")
    try:
        certificate = ssl.PEM_cert_to_DER_cert(data.decode("ascii", "replace"))
    except ValueError:
        certificate = b""
    found = hashlib.sha256(certificate).digest()
    if status != 200 or not hmac.compare_digest(found, invitation.fingerprint):
        raise BadInput(
            f"the hub at {place} is not the one of this invitation: its certificate is another one; nothing was sent. "
            "Ask who invited you"
        )
    try:
        at = email.utils.parsedate_to_datetime(headers["date"]).timestamp() if headers.get("date") else time.time()
    except (ValueError, TypeError, OverflowError):
        raise _odd(place) from None
    if trouble := two_clocks(time.time(), at):
        raise BadInput(trouble)
    return ssl.DER_cert_to_PEM_cert(certificate)  # nothing else that stood beside it


def _ask(place: str, ca: str, path: str, wish: dict[str, Any]) -> dict[str, Any]:
    tight = ssl.create_default_context(cadata=ca)
    tight.minimum_version = ssl.TLSVersion.TLSv1_3
    status, _, data = _request(place, tight, "POST", path, json.dumps(wish).encode())
    try:
        answer = json.loads(data)
        if status not in (200, 201):
            said = str(answer["error"])[:400]
            raise BusUnavailable(f"the hub at {place}: {said}") if status >= 500 else BusRefused(said)
    except (ValueError, LookupError, TypeError, RecursionError):
        raise _odd(place) from None
    if not isinstance(answer, dict):
        raise _odd(place)
    return answer


def _request(
    place: str, context: ssl.SSLContext, method: str, path: str, body: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPSConnection(place, context=context, timeout=_ANSWER_WITHIN_S)
    try:
        with closing(connection):
            connection.request(method, path, body)
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, headers, answer.read(_MOST_BYTES)
    except ssl.SSLCertVerificationError as error:
        raise BadInput(f"the certificate of the hub at {place} does not hold: {error.verify_message}") from None
    except (OSError, http.client.HTTPException) as error:
        why = (error.strerror if isinstance(error, OSError) else "") or str(error) or "it does not speak https"
        raise BusUnavailable(
            f"no hub answers at {place}: {why}; check that mesh hub start runs there, and that this machine reaches it"
        ) from None


def _odd(place: str) -> BusUnavailable:
    return BusUnavailable(f"what answers at {place} does not speak as a hub does; check the address")

"""Lets members in and out: a token for a member's key, and the revocation of one.

A token needs the key of its role alone, a revocation the operator's signing key. The account with the revocation is
written into the folder first, so that a server that starts later refuses the member as well; whoever revokes then sends
it to the servers that run (`mesh.jetstream.system`).
"""

import fcntl
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mesh.accounts.account_claims import member_account_claims
from mesh.accounts.claims import arena_tags, check_member_name, claims_of, signed_claims
from mesh.accounts.hub_folder import HubFolder
from mesh.accounts.nkey import check_user_key
from mesh.accounts.rights import ROLE_NAMES, MemberRole
from mesh.atomic_write import atomic_write
from mesh.errors import BadInput
from mesh.wire import HUB_LOG, check_token

LIFETIME_S = 24 * 3600.0
"""Seconds for which a member's token holds; it is renewed long before."""
MOST_LIFETIME_S = 7 * LIFETIME_S
_CLOCK_AHEAD_S = 30 * 24 * 3600
"""Seconds by which the clock of the hub may have been ahead when it made a token.

A revocation is of all tokens of a key that were made until some time, and so of those that seem to be made after it.
"""


def issue(
    hub: HubFolder,
    *,
    name: str,
    role: MemberRole,
    arenas: Sequence[str],
    public: str,
    lifetime_s: float = LIFETIME_S,
) -> str:
    """Return the token of a member, which holds the rights of its role in its arenas; the member keeps its own key.

    Raises:
        BadInput: a value is not valid, or the key was revoked.
    """
    if role not in ROLE_NAMES:
        raise BadInput(f"role is {str(role)[:40]!r}; use {', '.join(ROLE_NAMES)}")
    if not 0 < lifetime_s <= MOST_LIFETIME_S:
        raise BadInput(f"a token cannot hold for {lifetime_s:g} s: use more than 0 and at most {MOST_LIFETIME_S:,.0f}")
    if not arenas or HUB_LOG in arenas:
        raise BadInput(
            f"the arenas of {name[:70]!r} are {', '.join(arenas)[:80] or 'none'}: name one at least, by its name"
        )
    tags = arena_tags(tuple(check_token("arena", arena) for arena in arenas))
    if check_user_key(public) in revoked_keys(hub):
        raise BadInput(f"the key {public} was revoked for good: use a new one")
    said = {"issuer_account": hub.settings.accounts["MEMBERS"], "tags": tags}
    signer, until = hub.key(f"role-{role}"), time.time() + lifetime_s
    return signed_claims(signer, public, "user", said, name=check_member_name(name), until_s=until)


def revoke_key(hub: HubFolder, public: str) -> str:
    """Revoke a member's key for good; return the token of the account of members, for the servers that run.

    Raises:
        BadInput: it is not a key, or the hub lacks a key to sign with.
        OSError: the folder cannot be written.
    """
    check_user_key(public)
    with _alone(hub):
        before = claims_of(hub.claims("MEMBERS"))
        now = time.time()
        revoked = {key: at for key, at in _revoked_in(before).items() if at > now - 2 * MOST_LIFETIME_S}
        revoked[public] = math.ceil(now) + _CLOCK_AHEAD_S
        token = member_account_claims(
            hub.key("signer"),
            hub.settings.accounts["MEMBERS"],
            hub.settings.accounts["HUB"],
            {role: hub.key(f"role-{role}").public for role in ROLE_NAMES},
            revoked,
            issued_s=max(int(now), int(before["iat"])),
        )
        with atomic_write(hub.folder / "claims" / "MEMBERS.jwt", private=True, durable=True) as beside:
            beside.write_text(token, encoding="ascii")
    return token


def revoked_keys(hub: HubFolder) -> dict[str, int]:
    """Return the keys that are revoked, with the second until which their tokens are refused."""
    return _revoked_in(claims_of(hub.claims("MEMBERS")))


def _revoked_in(claims: dict[str, object]) -> dict[str, int]:
    said = claims["nats"]
    found = said.get("revocations") if isinstance(said, dict) else None
    return {str(key): int(at) for key, at in (found or {}).items()}


@contextmanager
def _alone(hub: HubFolder) -> Iterator[None]:
    """Keep other processes from changing the claims while the block runs."""
    lock = os.open(hub.folder / "claims", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)

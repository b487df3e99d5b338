"""Lets members in and out: a token for a member's key, and the revocation of one.

A token needs the key of its role alone, a revocation the operator's signing key. The account with the revocation is
written into the folder first, so that a server that starts later refuses the member as well; whoever revokes then sends
it to the servers that run (`mesh.jetstream.system`). The accounts have the rights of all members, so the key also
renews them when a hub starts with another version, whose table of rights differs.
"""

import fcntl
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mesh.accounts.account_claims import hub_claims, member_account_claims
from mesh.accounts.claims import arena_tags, check_member_name, claims_of, signed_claims
from mesh.accounts.hub_folder import HubFolder
from mesh.accounts.nkey import Nkey, check_user_key, new_nkey
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
        token = _members(hub, hub.key("signer"), _keys_in(before), revoked, max(int(now), int(before["iat"])))
        _keep(hub, "MEMBERS", token)
    return token


def renew_accounts(hub: HubFolder) -> list[str]:
    """Sign the accounts again whose rights are those of another version; return their names.

    Raises:
        BadInput: there are such accounts, and the hub lacks a key to sign with.
        OSError: the folder cannot be written.
    """
    if not (names := outdated_accounts(hub)):
        return []
    with _alone(hub):
        for name in names:
            before = claims_of(hub.claims(name))
            issued_s = max(int(time.time()), int(before["iat"]) + 1)  # a server takes newer claims alone
            _keep(hub, name, _made(hub, name, hub.key("signer"), before, issued_s))
    return names


def outdated_accounts(hub: HubFolder) -> list[str]:
    """Return the names of the accounts whose claims give other rights than this version does.

    Raises:
        BadInput: the hub lacks a file.
    """
    nobody = new_nkey("operator")  # who signs does not change the rights
    found = []
    for name in _RENEWED:
        before = claims_of(hub.claims(name))
        if claims_of(_made(hub, name, nobody, before, 0))["nats"] != before["nats"]:
            found.append(name)
    return found


def revoked_keys(hub: HubFolder) -> dict[str, int]:
    """Return the keys that are revoked, with the second until which their tokens are refused."""
    return _revoked_in(claims_of(hub.claims("MEMBERS")))


_RENEWED = ("HUB", "MEMBERS")


def _made(hub: HubFolder, name: str, signer: Nkey, before: dict[str, Any], issued_s: int) -> str:
    """Return the claims of one of these accounts, with the keys and revocations that it had before."""
    keys, accounts, room = _keys_in(before), hub.settings.accounts, hub.settings.disk_bytes
    if name == "MEMBERS":
        return _members(hub, signer, keys, _revoked_in(before), issued_s)
    return hub_claims(signer, accounts["HUB"], accounts["MEMBERS"], keys["hub"], room, hub.copies, issued_s=issued_s)


def _members(hub: HubFolder, signer: Nkey, keys: Mapping[str, str], revoked: Mapping[str, int], issued_s: int) -> str:
    accounts, roles = hub.settings.accounts, {role: keys[role] for role in ROLE_NAMES}
    return member_account_claims(signer, accounts["MEMBERS"], accounts["HUB"], roles, revoked, issued_s=issued_s)


def _keys_in(claims: dict[str, Any]) -> dict[str, str]:
    """Return the public keys of the roles that an account has."""
    return {str(each["role"]): str(each["key"]) for each in claims["nats"]["signing_keys"]}


def _keep(hub: HubFolder, name: str, token: str) -> None:
    with atomic_write(hub.folder / "claims" / f"{name}.jwt", private=True, durable=True) as beside:
        beside.write_text(token, encoding="ascii")


def _revoked_in(claims: dict[str, Any]) -> dict[str, int]:
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

"""The claims of a hub's operator, accounts and own users: limits, what the accounts offer each other, and the roles."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mesh.accounts.claims import signed_claims
from mesh.accounts.nkey import Nkey
from mesh.accounts.rights import (
    MOST_PAYLOAD_BYTES,
    MOST_SUBSCRIPTIONS,
    OF_HUB,
    OF_MEMBERS,
    ROLE_NAMES,
    Export,
    MemberRole,
    rights_of,
)

MOST_MEMBER_CONNECTIONS = 2048
_MEMORY_BYTES = 256 << 20
_NO_LIMITS = {"subs": -1, "data": -1, "payload": -1}
_ANY = {"pub": {"allow": [">"]}, "sub": {"allow": [">"]}}


def operator_claims(operator: Nkey, signer: str, system: str) -> str:
    """Return the token of an operator whose key `signer` signs accounts, so that its own may be moved away."""
    said = {"system_account": system, "signing_keys": [signer]}
    return signed_claims(operator, operator.public, "operator", said, name="mesh")


def system_claims(signer: Nkey, system: str) -> str:
    """Return the token of the account that watches the servers."""
    limits = {**_NO_LIMITS, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": 0}
    return signed_claims(signer, system, "account", {"limits": limits, **_without_list("allow")}, name="SYS")


def hub_claims(
    signer: Nkey,
    hub: str,
    members: str,
    role: str,
    disk_bytes: int,
    copies: int = 1,
    issued_s: int | None = None,
) -> str:
    """Return the token of the account that has the log.

    Args:
        signer: the operator's key, or its signing key.
        hub: public key of the account.
        members: public key of the account of members.
        role: public key that signs the hub's own users.
        disk_bytes: bytes that all streams together may have; each of them must say how large it may become.
        copies: servers that keep each stream: the server counts the bytes of all copies.
        issued_s: when the token was made; None is now.
    """
    limits = {**_NO_LIMITS, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": 0}
    limits |= {"mem_storage": _MEMORY_BYTES, "disk_storage": disk_bytes * copies}
    limits |= {"disk_max_stream_bytes": disk_bytes * copies}
    limits |= {"streams": -1, "consumer": -1, "max_ack_pending": -1, "max_bytes_required": True}
    said = {
        "limits": limits,
        "exports": _exports(OF_HUB),
        "imports": _imports(OF_MEMBERS, members),
        "signing_keys": [_scope(role, "hub", {**_NO_LIMITS, **_ANY})],
        **_without_list("deny"),
    }
    return signed_claims(signer, hub, "account", said, name="HUB", issued_s=issued_s)


def member_account_claims(
    signer: Nkey,
    members: str,
    hub: str,
    roles: Mapping[MemberRole, str],
    revoked: Mapping[str, int],
    issued_s: int | None = None,
) -> str:
    """Return the token of the account of members.

    Args:
        signer: the operator's key, or its signing key.
        members: public key of the account.
        hub: public key of the account that has the log.
        roles: public keys that sign members, by role.
        revoked: seconds since 1970 by public key of a member: tokens that were issued until then are refused.
        issued_s: when the token was made; None is now.
    """
    limits = {**_NO_LIMITS, "imports": -1, "exports": -1, "wildcards": True, "leaf": 0}
    limits |= {"conn": MOST_MEMBER_CONNECTIONS}
    said = {
        "limits": limits,
        "exports": _exports(OF_MEMBERS),
        "imports": _imports(OF_HUB, hub),
        "signing_keys": [_scope(roles[role], role, _template(role)) for role in ROLE_NAMES],
        **_without_list("deny"),
        **({"revocations": dict(revoked)} if revoked else {}),
    }
    return signed_claims(signer, members, "account", said, name="MEMBERS", issued_s=issued_s)


def own_user_claims(signer: Nkey, public: str, account: str, name: str, *, is_scoped: bool) -> str:
    """Return the token of one of the hub's own users, which never ends; one that is not scoped may do everything."""
    said: dict[str, Any] = {} if account == signer.public else {"issuer_account": account}
    if not is_scoped:
        said |= {**_NO_LIMITS, "pub": {}, "sub": {}}
    return signed_claims(signer, public, "user", said, name=name)


def _template(role: MemberRole) -> dict[str, Any]:
    rights = rights_of(role)
    return {
        "subs": MOST_SUBSCRIPTIONS,
        "data": -1,
        "payload": MOST_PAYLOAD_BYTES,
        "pub": {"allow": list(rights.publish)},
        "sub": {"allow": list(rights.subscribe)},
    }


def _scope(public: str, role: str, template: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "user_scope", "key": public, "role": role, "template": dict(template)}


def _without_list(rule: Literal["allow", "deny"]) -> dict[str, Any]:
    """Return what a user may do for whom no role says it: everything, or nothing."""
    return {"default_permissions": {side: {rule: [">"]} for side in ("pub", "sub")}}


def _exports(offers: Sequence[Export]) -> list[dict[str, Any]]:
    return [_offer(each) | ({"response_type": each.answers} if each.answers else {}) for each in offers]


def _imports(offers: Sequence[Export], account: str) -> list[dict[str, Any]]:
    return [_offer(each) | {"account": account} for each in offers]


def _offer(each: Export) -> dict[str, Any]:
    return {"name": each.subject, "subject": each.subject, "type": each.kind}

"""A server with the accounts of a hub, and the credentials of its members, also of roles that only a test has.

`tests.support.hub_of_members` has whole hubs, as `mesh hub init` makes them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nkeys

from mesh.accounts.rights import (
    MOST_PAYLOAD_BYTES,
    MOST_SUBSCRIPTIONS,
    OF_HUB,
    OF_MEMBERS,
    ROLE_NAMES,
    Export,
    rights_of,
)
from tests.test_credentials import jwt, pair, serving

_FREE = dict.fromkeys(["subs", "data", "payload"], -1)
_ACCOUNT = _FREE | dict.fromkeys(["imports", "exports", "conn", "leaf"], -1) | {"wildcards": True}
_STORE = {"disk_storage": 2 << 30, "streams": 64, "consumer": 1000, "max_bytes_required": True}


Roles = dict[str, tuple[list[str], list[str]]]
ROLES: Roles = {role: ([*rights.publish], [*rights.subscribe]) for role in ROLE_NAMES for rights in [rights_of(role)]}
"""By role, the subjects on which a member may publish and to which it may subscribe."""


class MemberHub:
    """A running hub: its address, the credentials of its owner, and those that `member` makes."""

    def __init__(self, folder: Path, roles: Roles) -> None:
        self._roles = ROLES | roles
        kinds = {"operator": nkeys.PREFIX_BYTE_OPERATOR}
        names = ("operator", "SYS", "HUB", "MEMBERS", *self._roles)
        self._keys = {name: pair(kinds.get(name, nkeys.PREFIX_BYTE_ACCOUNT)) for name in names}
        self._folder = folder
        self.url = ""
        self.owner = self._write("owner", "HUB", "owner", {"pub": {}, "sub": {}, **_FREE})

    def member(self, role: str, name: str, arenas: Sequence[str] = ("a",)) -> Path:
        """Return the credentials of a member."""
        account = self._public("MEMBERS")
        return self._write(name, role, name, {"issuer_account": account, "tags": [f"arena:{a}" for a in arenas]})

    def rules(self) -> str:
        """Return the accounts as the server's configuration has them."""
        scopes = [
            {"kind": "user_scope", "key": self._public(role), "role": role, "template": _template(*lists)}
            for role, lists in self._roles.items()
        ]
        accounts: dict[str, dict[str, Any]] = {
            "SYS": {"limits": _ACCOUNT},
            "HUB": {
                "limits": _ACCOUNT | _STORE,
                "exports": _exports(OF_HUB),
                "imports": _imports(OF_MEMBERS, self._public("MEMBERS")),
            },
            "MEMBERS": {
                "limits": _ACCOUNT,
                "exports": _exports(OF_MEMBERS),
                "imports": _imports(OF_HUB, self._public("HUB")),
                "signing_keys": scopes,
            },
        }
        operator, system = self._keys["operator"], self._public("SYS")
        top = jwt(operator, operator, "op", {"type": "operator", "system_account": system})
        tokens = [
            f"{self._public(name)}: {jwt(operator, self._keys[name], name, {'type': 'account', **claims})}"
            for name, claims in accounts.items()
        ]
        preload = f"resolver_preload: {{ {', '.join(tokens)} }}"
        return f"operator: {top}\nsystem_account: {system}\nresolver: MEMORY\n{preload}\n"

    def _public(self, name: str) -> str:
        return str(self._keys[name].public_key.decode())

    def _write(self, file: str, issuer: str, name: str, claims: dict[str, Any]) -> Path:
        user = pair(nkeys.PREFIX_BYTE_USER)
        token = jwt(self._keys[issuer], user, name, {"type": "user", **claims})
        path = self._folder / f"{file}.creds"
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
        )
        return path


def _exports(offers: Sequence[Export]) -> list[dict[str, Any]]:
    return [_offer(each) | ({"response_type": each.answers} if each.answers else {}) for each in offers]


def _imports(offers: Sequence[Export], account: str) -> list[dict[str, Any]]:
    return [_offer(each) | {"account": account} for each in offers]


def _offer(each: Export) -> dict[str, Any]:
    return {"name": each.subject, "subject": each.subject, "type": each.kind}


def _template(publish: list[str], subscribe: list[str]) -> dict[str, Any]:
    limits = {"subs": MOST_SUBSCRIPTIONS, "data": -1, "payload": MOST_PAYLOAD_BYTES}
    return {"pub": {"allow": publish}, "sub": {"allow": subscribe}, **limits}


@contextmanager
def member_hub(folder: Path, roles: Roles | None = None, jetstream: str = "") -> Iterator[MemberHub]:
    """Run a hub with accounts in a folder, with these roles beside the usual ones and settings of JetStream."""
    folder.mkdir(parents=True, exist_ok=True)
    hub = MemberHub(folder, roles or {})
    with serving(folder, hub.rules(), jetstream) as hub.url:
        yield hub

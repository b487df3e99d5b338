"""A server with the accounts of a hub, and the credentials of its members: each has the subjects of its role alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nkeys

from mesh.accounts.rights import OF_HUB, OF_MEMBERS, ROLE_NAMES, Export, rights_of
from tests.test_credentials import jwt, pair, serving

_FREE = dict.fromkeys(["subs", "data", "payload"], -1)
_ACCOUNT = _FREE | dict.fromkeys(["imports", "exports", "conn", "leaf"], -1) | {"wildcards": True}
_STORE = {"disk_storage": 2 << 30, "streams": 64, "consumer": 1000, "max_bytes_required": True}


Roles = dict[str, tuple[list[str], list[str]]]
ROLES: Roles = {role: (list(rights_of(role).publish), list(rights_of(role).subscribe)) for role in ROLE_NAMES}
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
        ours, theirs = [_offer(each) for each in OF_HUB], [_offer(each) for each in OF_MEMBERS]
        scopes = [
            {"kind": "user_scope", "key": self._public(role), "role": role, "template": _template(*lists)}
            for role, lists in self._roles.items()
        ]
        accounts: dict[str, dict[str, Any]] = {
            "SYS": {"limits": _ACCOUNT},
            "HUB": {"limits": _ACCOUNT | _STORE, "exports": ours, "imports": self._imported(theirs, "MEMBERS")},
            "MEMBERS": {
                "limits": _ACCOUNT,
                "exports": theirs,
                "imports": self._imported(ours, "HUB"),
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

    def _imported(self, offers: list[dict[str, str]], account: str) -> list[dict[str, str]]:
        return [
            {name: offer[name] for name in ("name", "subject", "type")} | {"account": self._public(account)}
            for offer in offers
        ]

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


def _offer(each: Export) -> dict[str, str]:
    many = {"response_type": each.answers} if each.answers else {}
    return {"name": each.subject, "subject": each.subject, "type": each.kind, **many}


def _template(publish: list[str], subscribe: list[str]) -> dict[str, Any]:
    return {"pub": {"allow": publish}, "sub": {"allow": subscribe}, "subs": 512, "data": -1, "payload": 300_000}


@contextmanager
def member_hub(folder: Path, roles: Roles | None = None, jetstream: str = "") -> Iterator[MemberHub]:
    """Run a hub with accounts in a folder, with these roles beside the usual ones and settings of JetStream."""
    folder.mkdir(parents=True, exist_ok=True)
    hub = MemberHub(folder, roles or {})
    with serving(folder, hub.rules(), jetstream) as hub.url:
        yield hub

"""A server with the accounts of a hub, and the credentials of its members: each has the subjects of its role alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nkeys

from mesh.events import LANES
from tests.test_credentials import jwt, pair, serving

_API, _A, _N = "$JS.API.", "{{tag(arena)}}", "{{name()}}"
_STREAMS = ("MESH_", "MESHOBJ_", "MESHGRP_", "MESHCALL_")
_LANES = [f"MESH_{_A}.workers_run-requested-{lane}" for lane in LANES]
_FREE = dict.fromkeys(["subs", "data", "payload"], -1)
_ACCOUNT = _FREE | dict.fromkeys(["imports", "exports", "conn", "leaf"], -1) | {"wildcards": True}
_STORE = {"disk_storage": 2 << 30, "streams": 64, "consumer": 1000, "max_bytes_required": True}


def _facts(*kinds: str) -> list[str]:
    two = ("run.requested", "items.compared")
    return [f"mesh.{_A}.{kind}.{'*.*' if kind in two else '*'}.{_N}" for kind in kinds]


_READ = [
    f"{_API}INFO",
    *(f"{_API}STREAM.INFO.{stream}{_A}" for stream in _STREAMS),
    *(f"{_API}DIRECT.GET.{stream}{_A}{rest}" for stream in _STREAMS for rest in ("", ".>")),
    *(f"live.{_A}.{topic}" for topic in ("sql", "sql.>")),
]
_HEAR = [f"_INBOX_{_N}.>", f"tail.mesh.{_A}.>"]
_AGENT = _facts("agent.joined", "agent.left", "proposal.posted", "critique.posted", "note.posted", "model.asked")
_DECIDE = ("run.requested", "run.killed", "proposal.promoted", "proposal.retired", "items.compared", "holdout.opened")
_WORKER = _facts("worker.joined", "worker.left", "run.started", "run.finished", "note.posted")
_PULL = [f"{_API}CONSUMER.MSG.NEXT.{lane}" for lane in _LANES] + [f"$JS.ACK.{lane}.>" for lane in _LANES]
Roles = dict[str, tuple[list[str], list[str]]]
ROLES: Roles = {
    "agent": ([*_READ, *_AGENT, f"meshobj.{_A}.*.*", f"meshcall.{_A}.*"], [*_HEAR, f"live.{_A}.curve.>"]),
    "curator": ([*_READ, *_AGENT, *_facts(*_DECIDE), f"meshcall.{_A}.*"], [*_HEAR, f"live.{_A}.curve.>"]),
    "worker": (
        [*_READ, *_WORKER, *_PULL, f"meshobj.{_A}.*.*", f"live.{_A}.curve.>", f"live.{_A}.work.workers"],
        [*_HEAR, f"live.{_A}.work.workers"],
    ),
    "observer": (_READ, [*_HEAR, f"live.{_A}.curve.>"]),
}
"""By role, the subjects on which a member may publish and to which it may subscribe."""

_SERVICES = ["mesh.>", "meshobj.>", "meshcall.>", f"{_API}INFO", f"{_API}STREAM.INFO.*", "$JS.ACK.>"]
_OF_MANY_ANSWERS = [f"{_API}DIRECT.GET.>", f"{_API}CONSUMER.MSG.NEXT.*.*", "live.*.sql", "live.*.sql.>"]


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
        exports = [_offer(subject, "service") for subject in _SERVICES]
        exports += [_offer(subject, "service") | {"response_type": "Stream"} for subject in _OF_MANY_ANSWERS]
        exports.append(_offer("tail.mesh.>", "stream"))
        imports = [
            {"name": offer["name"], "subject": offer["subject"], "type": offer["type"], "account": self._public("HUB")}
            for offer in exports
        ]
        scopes = [
            {"kind": "user_scope", "key": self._public(role), "role": role, "template": _template(*lists)}
            for role, lists in self._roles.items()
        ]
        accounts: dict[str, dict[str, Any]] = {
            "SYS": {"limits": _ACCOUNT},
            "HUB": {"limits": _ACCOUNT | _STORE, "exports": exports},
            "MEMBERS": {"limits": _ACCOUNT, "imports": imports, "signing_keys": scopes},
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


def _offer(subject: str, kind: str) -> dict[str, Any]:
    return {"name": subject, "subject": subject, "type": kind}


def _template(publish: list[str], subscribe: list[str]) -> dict[str, Any]:
    return {"pub": {"allow": publish}, "sub": {"allow": subscribe}, "subs": 512, "data": -1, "payload": 300_000}


@contextmanager
def member_hub(folder: Path, roles: Roles | None = None, jetstream: str = "") -> Iterator[MemberHub]:
    """Run a hub with accounts in a folder, with these roles beside the usual ones and settings of JetStream."""
    folder.mkdir(parents=True, exist_ok=True)
    hub = MemberHub(folder, roles or {})
    with serving(folder, hub.rules(), jetstream) as hub.url:
        yield hub

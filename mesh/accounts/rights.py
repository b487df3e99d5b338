"""Who may say what: the roles of members, the facts that each may post, and the subjects that follow from them.

A server knows subjects, not facts. So the table of facts is the source, and the lists of subjects are derived from it.
`{{tag(arena)}}` stands for every arena in a member's token and `{{name()}}` for its name: one list serves all members
of a role, and nobody can speak under another name. What a subject cannot say, such as who a run was given to, the board
decides. `python -m mesh.accounts.rights_page` writes `docs/reference/rights.md` from this module.
"""

from typing import Literal

import msgspec

from mesh import wire
from mesh.bus import WORKERS
from mesh.events import KINDS, LANES

MemberRole = Literal["agent", "curator", "worker", "observer"]
ROLE_NAMES: tuple[MemberRole, ...] = ("agent", "curator", "worker", "observer")

_EVERYBODY_WHO_ACTS: tuple[MemberRole, ...] = ("agent", "curator", "worker")
_WHO_THINKS: tuple[MemberRole, ...] = ("agent", "curator")

WHO_POSTS: dict[str, tuple[MemberRole, ...]] = {
    "arena.opened": (),
    "arena.closed": (),
    "agent.joined": _WHO_THINKS,
    "agent.left": _WHO_THINKS,
    "worker.joined": ("worker",),
    "worker.left": ("worker",),
    "proposal.posted": _WHO_THINKS,
    "commit.pushed": (),
    "critique.posted": _WHO_THINKS,
    "run.requested": ("curator",),
    "run.started": ("worker",),
    "run.killed": ("curator",),
    "run.finished": ("worker",),
    "items.compared": ("curator",),
    "proposal.promoted": ("curator",),
    "proposal.retired": ("curator",),
    "holdout.opened": ("curator",),
    "note.posted": _EVERYBODY_WHO_ACTS,
    "model.asked": _WHO_THINKS,
    "budget.granted": (),
    "channel.opened": (),
    "member.invited": (),
    "member.admitted": (),
    "member.revoked": (),
}
"""By kind of fact, the roles whose members may post it; none: only the hub's own processes. Every kind has a row."""

MOST_SUBSCRIPTIONS, MOST_PAYLOAD_BYTES = 512, 300_000
"""Of one connection of a member; the server closes a connection that exceeds one of them."""

_ARENA, _NAME = "{{tag(arena)}}", "{{name()}}"
_API = "$JS.API."
_LOG_STREAM, _OBJECT_STREAMS = "MESH_", ("MESHOBJ_", "MESHGRP_", "MESHCALL_")
_STREAMS = (_LOG_STREAM, *_OBJECT_STREAMS)


class Rights(msgspec.Struct, frozen=True):
    """The subjects on which a member of a role may publish and those to which it may subscribe."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


class Export(msgspec.Struct, frozen=True):
    """What one account offers to the other: `answers` is how many a service may send to one question."""

    subject: str
    kind: Literal["service", "stream"]
    answers: Literal["", "Stream"] = ""


OF_HUB = (
    Export("mesh.>", "service"),
    Export("meshobj.>", "service"),
    Export("meshcall.>", "service"),
    Export(f"{_API}INFO", "service"),
    Export(f"{_API}STREAM.INFO.*", "service"),
    Export(f"{_API}DIRECT.GET.>", "service", "Stream"),
    Export(f"{_API}CONSUMER.MSG.NEXT.*.*", "service", "Stream"),
    Export("$JS.ACK.>", "service"),
    Export("live.*.sql", "service", "Stream"),
    Export("live.*.sql.>", "service", "Stream"),
    Export("live.*.sql-stop", "service"),
    Export("tail.mesh.>", "stream"),
)
"""What the account of the hub offers to members. A new arena needs no new entry.

Members and the log stand in two accounts because a server publishes an answer on whatever subject the question names:
in one account, that subject could be one of the log.
"""

OF_MEMBERS = (
    Export("live.*.curve.>", "stream"),
    Export("live.*.here.*", "service"),
    Export("live.*.roll.*.*", "service"),
)
"""What members offer to the hub: learning curves while they grow, and answers to its roll call."""


def rights_of(role: MemberRole) -> Rights:
    """Return the subjects of a role, with the templates that the server fills in from a member's token."""
    facts = [wire.author_filter(_ARENA, kind, _NAME) for kind, roles in WHO_POSTS.items() if role in roles]
    publish = [*facts, *_READ, *_MORE_PUBLISH[role]]
    subscribe = [f"_INBOX_{_NAME}.>", f"tail.{wire.arena_filter(_ARENA)}", *_MORE_SUBSCRIBE[role]]
    return Rights(tuple(publish), tuple(subscribe))


def kinds_without_row() -> list[str]:
    """Return the kinds of facts for which the table does not say who posts them."""
    return [kind for kind in KINDS if kind not in WHO_POSTS]


_READ = (
    f"{_API}INFO",
    *(f"{_API}STREAM.INFO.{stream}{_ARENA}" for stream in _STREAMS),
    *(f"{_API}DIRECT.GET.{stream}{_ARENA}{rest}" for stream in _STREAMS for rest in ("", ".>")),
    wire.live_subject(_ARENA, "sql"),
    wire.live_subject(_ARENA, "sql.>"),
    wire.live_subject(_ARENA, "sql-stop"),
)
"""What everybody may publish: questions."""

_ANSWER = "_R_.>"
"""The subjects on which a service of another account is answered: the hub asks who is here."""
_PUT_OBJECTS = f"meshobj.{_ARENA}.*.*"
_KEEP_CALLS = wire.call_subject(_ARENA, "*")
_BATON = wire.live_subject(_ARENA, f"work.{WORKERS}")
"""By which a worker that found work wakes the next one."""
_CURVES = wire.live_subject(_ARENA, "curve.>")
_HERE = (wire.live_subject(_ARENA, f"roll.*.{_NAME}"), wire.live_subject(_ARENA, "here.*"))
"""Questions who is here: those that name the member, and those of a hub of an earlier version, which name a life alone.

Of a member that answers by name, nobody believes an answer to the second kind (`mesh.roll_call`). The two differ in
the third token, because a server takes `>` for what the last `*` of a list may be.
"""


def _consumer(lane: str) -> str:
    return f"{_LOG_STREAM}{_ARENA}.{WORKERS}_run-requested-{lane}"


_TAKE_WORK = tuple(
    subject
    for lane in LANES
    for subject in (f"{_API}CONSUMER.MSG.NEXT.{_consumer(lane)}", f"$JS.ACK.{_consumer(lane)}.>")
)

_MORE_PUBLISH: dict[MemberRole, tuple[str, ...]] = {
    "agent": (_PUT_OBJECTS, _KEEP_CALLS, _ANSWER),
    "curator": (_KEEP_CALLS, _ANSWER),
    "worker": (_PUT_OBJECTS, *_TAKE_WORK, wire.live_subject(_ARENA, f"curve.*.{_NAME}"), _BATON, _ANSWER),
    "observer": (),
}
_MORE_SUBSCRIBE: dict[MemberRole, tuple[str, ...]] = {
    "agent": (_CURVES, *_HERE),
    "curator": (_CURVES, *_HERE),
    "worker": (*_HERE, _BATON),
    "observer": (_CURVES,),
}

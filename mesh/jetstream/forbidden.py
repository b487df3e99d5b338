"""Says in one sentence what a hub does not let a member do, and which role may. Pure.

The server answers a publish that it forbids with the subject alone. What the subject means, and who may use it, follows
from the table of rights.
"""

import re
from collections.abc import Sequence

from mesh.accounts.rights import ROLE_NAMES, WHO_POSTS, rights_of
from mesh.jetstream.member import MemberCredentials
from mesh.wire import parse_subject

_TEMPLATE = re.compile(r"\{\{\w+\([\w]*\)\}\}")
_DEEDS = (
    (re.compile(r"meshobj\.([^.]+)\."), "store code or data in arena {}"),
    (re.compile(r"meshcall\.([^.]+)\."), "keep answers of models in arena {}"),
    (re.compile(r"live\.([^.]+)\.curve\."), "report learning curves in arena {}"),
    (re.compile(r"\$JS\.API\.CONSUMER\.MSG\.NEXT\.MESH_([^.]+)\.workers_"), "take runs of arena {}"),
    (re.compile(r"\$JS\.API\.STREAM\.(?:NAMES|LIST)()$"), "list what the server stores"),
    (re.compile(r"\$JS\.API\.STREAM\.(?:CREATE|UPDATE|DELETE|PURGE)\.([^.]+)"), "change the stream {}"),
)
"""By the subjects of a deed, its words; the group is what it is done to."""
_SOLELY = "the hub's own processes alone may, so ask its operator"


def forbidden(url: str, member: MemberCredentials, subject: str) -> str:
    """Return the sentence for a subject on which a member may not publish.

    Args:
        url: address of the hub.
        member: the member.
        subject: the subject that the server refused.
    """
    fact = parse_subject(subject)
    roles = WHO_POSTS.get(fact.kind, ()) if fact else _who_may(subject)
    if fact and roles and fact.author != member.name:
        return (
            f"the hub at {url} does not let {member.name} post as {fact.author}: the credentials are for "
            f"{member.name!r}: use --name {member.name}"
        )
    return no_right(url, member, f"post {fact.kind} in arena {fact.arena}" if fact else _deed(subject), roles)


def no_right(url: str, member: MemberCredentials, deed: str, roles: Sequence[str] = ()) -> str:
    """Return the sentence for what a member may not do; `roles` may, or none but the hub itself."""
    return f"the hub at {url} does not let {member.name} {deed}: {_may(roles)}"


def _may(roles: Sequence[str]) -> str:
    words = [f"{'an' if role[0] in 'aeiou' else 'a'} {role}" for role in roles]
    return f"{' or '.join([', '.join(words[:-1]), words[-1]] if len(words) > 1 else words)} may" if words else _SOLELY


def _deed(subject: str) -> str:
    for pattern, words in _DEEDS:
        if found := pattern.match(subject):
            return words.format(found[1])
    return f"publish on {subject}"


def _who_may(subject: str) -> list[str]:
    """Return the roles that may publish on a subject, in whatever arena and under whatever name."""
    return [role for role in ROLE_NAMES if any(_covers(each, subject) for each in rights_of(role).publish)]


def _covers(pattern: str, subject: str) -> bool:
    """Tell whether a subject of the table of rights covers another one."""
    parts = [re.escape(part) for part in _TEMPLATE.split(pattern)]
    text = "[^.]+".join(parts).replace(r"\*", "[^.]+")
    return re.fullmatch(f"{text[:-1]}.+" if text.endswith(">") else text, subject) is not None

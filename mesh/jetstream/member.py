"""Who our credentials make of us: a member of a hub has the rights of its role in its arenas, and no others.

A member's JWT names it and its arenas (`arena:NAME`, one tag each). Its name is the author of all that it posts, and
the server lets it hear answers below `_INBOX_<name>` alone. Whoever has other credentials, or none, is not a member.
"""

import base64
import re
from pathlib import Path

import msgspec

from mesh.errors import BadInput

_JWT = re.compile(r"-----BEGIN NATS USER JWT-----\s+[^.\s]+\.([^.\s]+)\.")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_MARK = "arena:"


class MemberCredentials(msgspec.Struct, frozen=True):
    """A member of a hub: its name, and the arenas that it takes part in, sorted."""

    name: str
    arenas: tuple[str, ...]

    @property
    def inbox(self) -> str:
        """The first token of the subjects on which the server lets it hear answers."""
        return f"_INBOX_{self.name}"


def name_of(member: MemberCredentials | None, given: str | None) -> str | None:
    """Return the name to take part with: that of the credentials, else the one that is given.

    Raises:
        BadInput: they differ, and the server would refuse every post.
    """
    if member is None:
        return given
    if given and given != member.name:
        raise BadInput(f"--name is {given!r}, but the credentials are for {member.name!r}: leave --name out")
    return member.name


class _Rights(msgspec.Struct):
    tags: list[str] = []


class _Claims(msgspec.Struct):
    nats: _Rights
    name: str = ""


def member_of(path: Path | None) -> MemberCredentials | None:
    """Return the member that the credentials in a file are for, None if they are for none; only the server checks them.

    Raises:
        BadInput: the file cannot be read, or the name in it cannot be that of a member.
    """
    if path is None:
        return None
    try:
        found = _JWT.search(path.read_text(encoding="ascii"))
    except OSError as error:
        raise BadInput(f"credentials {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        return None
    if not found:
        return None
    try:
        body = base64.urlsafe_b64decode(found[1] + "=" * (-len(found[1]) % 4))
        claims = msgspec.json.decode(body, type=_Claims)
    except (ValueError, msgspec.MsgspecError):
        raise BadInput(f"credentials {path} contain a damaged JWT: use another copy of the file") from None
    arenas = sorted({tag.removeprefix(_MARK) for tag in claims.nats.tags if tag.startswith(_MARK)})
    if not arenas:
        return None
    if not _NAME.fullmatch(claims.name):
        allowed = "use credentials for a name of 1 to 63 letters, digits, '_' and '-'"
        raise BadInput(f"credentials {path} are for the name {claims.name[:60]!r}: {allowed}")
    return MemberCredentials(claims.name, tuple(arenas))

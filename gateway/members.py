"""The members of a hub: who was invited, admitted and revoked, folded from the hub's own log.

Any number of gateways may work on one log: a name is admitted once, as its fact has the name as key. Keys and
invitations are random; the log has only their sha256, so who reads it can use neither.
"""

import hashlib
import hmac
import re
import secrets
import time
from contextlib import suppress
from typing import ClassVar

import anyio
import msgspec

from gateway.log_index import IndexReader, LogIndex
from mesh.bus import Bus
from mesh.errors import AlreadyPosted, BadInput, UnknownName
from mesh.events import MemberAdmitted, MemberInvited, MemberRevoked
from mesh.wire import HUB_AUTHOR as HUB_AUTHOR
from mesh.wire import Entry, Post

NAME_RULE = "id must be 1-63 chars, alphanumeric/dash/dot/underscore, start with alphanumeric"
_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}")
_KEY = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
MEMBER_ROLES = ("agent", "observer", "admin")
"""What a member of a gateway may be, who takes part over HTTP with a key."""
JOINING_ROLES = ("worker", "agent", "curator", "observer")
"""What a member may be that connects to the log itself, with an nkey of its own (`mesh join`)."""


class NotInvited(BadInput):
    """An invitation does not exist, is used up, has ended, or is for another arena."""


class UsedUp(NotInvited):
    """An invitation has let in as many as it was for."""


class HubMember(msgspec.Struct, frozen=True):
    """A member as admitted; `revoked` says why it is one no longer, "" if it is."""

    admitted: MemberAdmitted
    seq: int
    revoked: str = ""


class MemberIndex(LogIndex):
    """All members and invitations of a hub."""

    kinds: ClassVar[tuple[str, ...]] = ("member.invited", "member.admitted", "member.revoked")

    def __init__(self) -> None:
        self.members: dict[str, HubMember] = {}
        self.invitations: dict[str, MemberInvited] = {}
        self.used: dict[str, int] = {}
        self.ended: dict[str, str] = {}
        self._by_key: dict[str, str] = {}
        self._by_nkey: dict[str, str] = {}

    def take(self, entry: Entry) -> None:
        """Fold a fact: only a hub lets anybody in, while a revocation counts whoever says it."""
        is_ours = entry.post is not None and entry.post.author == HUB_AUTHOR
        match entry.post.event if entry.post else None:
            case MemberInvited() as invited if is_ours:
                self.invitations.setdefault(invited.invite, invited)
            case MemberAdmitted() as admitted if is_ours and admitted.name not in self.members:
                self._admit(admitted, entry.seq)
            case MemberRevoked(name=name, reason=reason):
                self.ended.setdefault(name, reason or "revoked")
                if known := self.members.get(name):
                    self.members[name] = msgspec.structs.replace(known, revoked=self.ended[name])
            case _:
                pass

    def _admit(self, admitted: MemberAdmitted, seq: int) -> None:
        """Take a member in; one that came with an invitation which was used up by then is revoked at once."""
        why = self.ended.get(admitted.name, "")
        if admitted.invite:
            invited = self.invitations.get(admitted.invite)
            if not invited or self.used.get(admitted.invite, 0) >= invited.uses:
                why = "the invitation is used up"
            self.used[admitted.invite] = self.used.get(admitted.invite, 0) + 1
        self.members[admitted.name] = HubMember(admitted, seq, why)
        if admitted.key_hash:
            self._by_key.setdefault(admitted.key_hash, admitted.name)
        if admitted.nkey:
            self._by_nkey.setdefault(admitted.nkey, admitted.name)

    def of_nkey(self, nkey: str) -> HubMember | None:
        """Return the member that connects with an nkey, None if there is none."""
        return self.members.get(self._by_nkey.get(nkey, ""))

    def revoked_nkeys(self) -> dict[str, str]:
        """Return the members that were revoked, by their nkeys."""
        return {nkey: name for nkey, name in self._by_nkey.items() if self.members[name].revoked}

    def holder(self, key: str) -> MemberAdmitted | None:
        """Return the member whose key this is; None if nobody has it, or not any more."""
        given = secret_hash_of(key)
        name = self._by_key.get(given)
        known = self.members.get(name) if name else None
        if known is None or known.revoked or _is_over(known.admitted.until_s):
            return None
        return known.admitted if hmac.compare_digest(known.admitted.key_hash, given) else None

    def shown(self, author: str) -> str:
        """Return the id of an author as its owner wrote it."""
        known = self.members.get(author)
        return known.admitted.shown_as if known else author

    def has_key_of_ours(self, text: str) -> bool:
        """Return whether a text has a key of a member."""
        return any(secret_hash_of(found) in self._by_key for found in _KEY.findall(text))


class Members:
    """The members of a hub, over its log: call `reader.catch_up` first, then run `reader.follow`."""

    def __init__(self, bus: Bus) -> None:
        self.index = MemberIndex()
        self.reader = IndexReader(bus, [self.index])
        self._bus = bus
        self._looking = anyio.Lock()
        self._looked = -1.0

    async def holder(self, key: str) -> MemberAdmitted | None:
        """Return the member whose key this is, also where another gateway has just admitted it; None if nobody has it.

        Raises:
            BusUnavailable: the log cannot be reached.
        """
        if not _KEY.fullmatch(key):
            return None
        if found := self.index.holder(key):
            return found
        since = time.monotonic()
        async with self._looking:  # a thousand wrong keys at a time ask the log once
            if self._looked < since:
                begun = time.monotonic()
                await self.reader.reached_head()
                self._looked = begun
        return self.index.holder(key)

    async def invite(
        self, *, arenas: tuple[str, ...] = (), role: str = "agent", uses: int = 1, ttl_s: float = 0.0, owner: str = ""
    ) -> str:
        """Make an invitation and return its secret, which nobody can read again.

        Raises:
            BadInput: a value is out of its bounds.
            BusUnavailable: the log cannot be reached.
        """
        _check_role(role, (*MEMBER_ROLES, *JOINING_ROLES))
        secret = secrets.token_hex(16)
        digest = secret_hash_of(secret)
        event = MemberInvited(
            invite=digest[:16],
            secret_hash=digest,
            arenas=arenas,
            role=role,
            uses=uses,
            until_s=time.time() + ttl_s if ttl_s else 0.0,
            owner=owner,
        )
        await self._post(event)
        return secret

    def invited(self, secret: str, arena: str | None) -> MemberInvited:
        """Return the invitation that a secret is; with an arena, only one that is for it.

        Raises:
            NotInvited: there is no such invitation, or it cannot be used here any more.
        """
        digest = secret_hash_of(secret)
        known = self.index.invitations.get(digest[:16])
        if known is None or not hmac.compare_digest(known.secret_hash, digest):
            raise NotInvited("this invitation is not known here; ask for a new one")
        if known.invite in self.index.ended:
            raise NotInvited("this invitation was revoked; ask for a new one")
        if _is_over(known.until_s):
            raise NotInvited("this invitation has ended; ask for a new one")
        if self.index.used.get(known.invite, 0) >= known.uses:
            how_often = f"for {known.uses} members and is used up" if known.uses > 1 else "used before"
            raise UsedUp(f"this invitation was {how_often}; ask for a new one")
        if known.arenas and arena is not None and arena not in known.arenas:
            raise NotInvited(f"this invitation is not for arena {arena}; it is for {', '.join(known.arenas)}")
        return known

    async def admit(
        self,
        shown_as: str,
        *,
        arenas: tuple[str, ...] = (),
        role: str = "agent",
        invited: MemberInvited | None = None,
        owner: str = "",
    ) -> str:
        """Admit a member and return its key, which nobody can read again.

        Raises:
            AlreadyPosted: a member has this name.
            BadInput: the id is not valid.
            NotInvited: others were faster and have used the invitation up.
            BusUnavailable: the log cannot be reached.
        """
        _check_role(role, MEMBER_ROLES)
        key = secrets.token_hex(32)
        event = MemberAdmitted(
            name=author_token(shown_as),
            shown_as=shown_as,
            role=invited.role if invited else role,
            arenas=invited.arenas if invited else arenas,
            key_hash=secret_hash_of(key),
            owner=invited.owner if invited else owner,
            invite=invited.invite if invited else "",
            until_s=0.0,
        )
        await self._post(event)
        if why := self.index.members[event.name].revoked:
            raise NotInvited(f"{why}; ask for a new one")
        return key

    async def join(self, name: str, nkey: str, *, shown_as: str, invited: MemberInvited) -> MemberAdmitted:
        """Admit a member that connects to the log itself, and return how; said again by the same one, it is as before.

        Raises:
            AlreadyPosted: another one has this name.
            NotInvited: others were faster and have used the invitation up, or the member was revoked.
            BusUnavailable: the log cannot be reached.
        """
        event = MemberAdmitted(
            name=name,
            shown_as=shown_as,
            role=invited.role,
            arenas=invited.arenas,
            nkey=nkey,
            owner=invited.owner,
            invite=invited.invite,
        )
        await self._post(event)
        if why := self.index.members[name].revoked:
            raise NotInvited(f"{why}; ask for a new one")
        return event

    def joined_before(self, name: str, nkey: str, secret: str) -> MemberAdmitted | None:
        """Return the member that came with this name, nkey and invitation before; None if there is none."""
        known = self.index.members.get(name)
        if known is None or known.revoked or not known.admitted.nkey:
            return None
        is_same = known.admitted.nkey == nkey and known.admitted.invite == secret_hash_of(secret)[:16]
        return known.admitted if is_same else None

    async def revoke(self, name: str, reason: str = "") -> str:
        """Revoke a member, or an invitation by its name; return what was revoked.

        Raises:
            UnknownName: there is none of this name.
            BusUnavailable: the log cannot be reached.
        """
        known = name if name in self.index.invitations else name.replace(".", "_")
        if known not in self.index.members and known not in self.index.invitations:
            raise UnknownName(
                f"{name[:80]!r} is not a member or an invitation; see mesh gateway members, or mesh hub members"
            )
        with suppress(AlreadyPosted):
            await self._post(MemberRevoked(name=known, reason=reason))
        return known

    async def _post(self, event: MemberInvited | MemberAdmitted | MemberRevoked) -> None:
        await self.reader.reached(await self._bus.post(Post.new(HUB_AUTHOR, event)))


def author_token(shown_as: str) -> str:
    """Return the author token of an id.

    Raises:
        BadInput: it is not an id that AgentHub takes.
    """
    if not _ID.fullmatch(shown_as):
        raise BadInput(NAME_RULE)
    return shown_as.replace(".", "_")


def secret_hash_of(secret: str) -> str:
    """Return what a log keeps of a key or an invitation."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _is_over(until_s: float) -> bool:
    return bool(until_s) and time.time() > until_s


def _check_role(role: str, allowed: tuple[str, ...]) -> None:
    if role not in allowed:
        raise BadInput(f"role is {role[:40]!r}; use {', '.join(dict.fromkeys(allowed))}")

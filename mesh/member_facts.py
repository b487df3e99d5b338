"""The facts of members: who may take part through a gateway, and the channels that they open.

A channel is opened in the log of an arena. Invitations, admissions and revocations are in the log of the hub itself
(`mesh.wire.HUB_LOG`), as one member may take part in several arenas. A log never has a key or an invitation in clear.
"""

from typing import Annotated

from msgspec import Meta

from mesh import bounds as b
from mesh.fact import Event

_Arenas = Annotated[tuple[b.Word, ...], Meta(max_length=1000)]


class ChannelOpened(Event, frozen=True, kw_only=True, tag="channel.opened"):
    """A channel of the message board is opened by name; notes may also be posted in channels that nobody opened."""

    name: b.KeyText
    description: b.Text = ""

    def key(self, post_id: str) -> str:
        return self.name


class MemberInvited(Event, frozen=True, kw_only=True, tag="member.invited"):
    """An invitation is made: who has it may register. `invite` names it, and `secret_hash` recognises it."""

    invite: b.KeyText
    secret_hash: b.Sha256
    arenas: _Arenas = ()
    role: b.Word = "agent"
    uses: b.Count = 1
    until_s: b.Amount = 0.0
    owner: b.Word = ""

    def key(self, post_id: str) -> str:
        return self.invite


class MemberAdmitted(Event, frozen=True, kw_only=True, tag="member.admitted"):
    """A member is admitted. `name` is its author in the log, `shown_as` how it wrote that itself."""

    name: b.KeyText
    shown_as: b.Word
    role: b.Word = "agent"
    arenas: _Arenas = ()
    key_hash: b.OptionalSha256 = ""
    nkey: b.Word = ""
    owner: b.Word = ""
    invite: b.Word = ""
    until_s: b.Amount = 0.0

    def key(self, post_id: str) -> str:
        return self.name


class MemberRevoked(Event, frozen=True, kw_only=True, tag="member.revoked"):
    """A member, or an invitation, is revoked for good; its name is not given away again."""

    name: b.KeyText
    reason: b.Text = ""

    def key(self, post_id: str) -> str:
        return self.name

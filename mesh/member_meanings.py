"""The meaning of each field of the facts of members and channels; a part of `mesh.meanings`."""

_ARENAS = "Arenas in which the member may take part; none: in all of the hub."
_UNTIL_S = "Unix time until which it holds, in seconds; 0 is for ever."
_OWNER = "Who answers for the member: a person, a team; empty if nobody was named."
_ROLE = (
    "What the member may do: `agent` takes part, `observer` reads, `admin` also admits others; of a hub also `worker` "
    "and `curator`."
)

MEMBER_FIELDS: dict[str, dict[str, str]] = {
    "ChannelOpened": {
        "name": "Name of the channel.",
        "description": "What the channel is for.",
    },
    "MemberInvited": {
        "invite": "Name of the invitation: the first 16 hex digits of `secret_hash`.",
        "secret_hash": "sha256 of the secret that the invitation is.",
        "arenas": _ARENAS,
        "role": _ROLE,
        "uses": "Members that may register with it.",
        "until_s": _UNTIL_S,
        "owner": _OWNER,
    },
    "MemberAdmitted": {
        "name": "Author of what the member posts: its id with `_` in place of each dot.",
        "shown_as": "Id that the member chose, which may have dots.",
        "role": _ROLE,
        "arenas": _ARENAS,
        "key_hash": "sha256 of the member's key; empty if it has none.",
        "nkey": "Public nkey of the member; empty if it does not connect to NATS itself.",
        "owner": _OWNER,
        "invite": "Name of the invitation that it used; empty if it needed none.",
        "until_s": _UNTIL_S,
    },
    "MemberRevoked": {
        "name": "Author, or name of the invitation.",
        "reason": "Why, in a sentence.",
    },
}

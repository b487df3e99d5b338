"""Names that a hub gives to nobody: those that its own processes, and the people who run it, have by default.

A server pins the name of a member. So who speaks under one of these names is no member.
"""

import re

from mesh.wire import HUB_AUTHOR

_RESERVED = re.compile(
    rf"(hub|operator|explorer|researcher|critic|curator|worker|coder|{HUB_AUTHOR})([-_]?\d+)?", re.IGNORECASE
)


def is_reserved(author: str) -> bool:
    """Return whether the swarm's own processes, and people, have this name by default, in capitals or with a number."""
    return _RESERVED.fullmatch(author) is not None

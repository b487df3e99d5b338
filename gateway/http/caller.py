"""Who asks a gateway, for which arena, with which invitation."""

import ipaddress

import msgspec

from mesh.events import MemberAdmitted


class Caller(msgspec.Struct, frozen=True):
    """A member whose key came with a request.

    Attributes:
        id: its id as it wrote that itself.
        author: the author of what it posts.
        role: `agent` takes part, `observer` reads, `admin` also admits others.
        arenas: the arenas in which it may take part; none: in all.
        address: where the request came from, for limits; an IPv6 address is cut to its network.
    """

    id: str
    author: str
    role: str
    arenas: tuple[str, ...]
    address: str

    def may_enter(self, arena: str) -> bool:
        """Return whether it may take part in an arena."""
        return not self.arenas or arena in self.arenas


def caller(member: MemberAdmitted, address: str) -> Caller:
    """Return a member as a caller."""
    return Caller(member.shown_as, member.name, member.role, member.arenas, address)


def network_of(host: str) -> str:
    """Return an address, or for IPv6, of which one machine has many, its /64 network."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host[:64]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False).network_address)
    return str(found)

"""Which addresses a webhook may reach: a name is looked up once, checked, and that address is what is connected to."""

import ipaddress
import socket

import anyio

from mesh.errors import BadInput

_NAT64, _IPV4_COMPATIBLE = ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96")
_IPV4_BITS = 0xFFFFFFFF


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the internet, also where it carries an IPv4 address in an IPv6 one."""
    try:
        found = ipaddress.ip_address(address.split("%", 1)[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if found.is_site_local:
            return False
        if found in _NAT64 or found in _IPV4_COMPATIBLE:
            inner = ipaddress.IPv4Address(int(found) & _IPV4_BITS)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast and "%" not in address


async def checked_address(host: str, port: int, *, private: bool = False) -> str:
    """Return the IP address of a host.

    Args:
        host: The host's name or address.
        port: The port.
        private: Also allow addresses that are not public: loopback, private networks, link-local.

    Raises:
        BadInput: One of its addresses is not public.
        OSError: The name is unknown.
    """
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(each[4][0]) for each in found]
    for address in addresses:
        if not private and not is_public(address):
            raise BadInput(f"{host} is {address}, which is not public; give --allow-private if it may be reached")
    return addresses[0]

"""The configuration of a cluster: three servers that keep every log together, so that any one of them may die. Pure.

`cluster_block` is the part of a server's file that makes it one of several; whoever writes the whole file puts it in.
`deploy/nats-cluster.conf` is such a file for people who trust each other.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from mesh.errors import BadInput
from mesh.server_config import config_string

ROUTE_PORT = 6222
"""The port on which the servers of a cluster reach each other, where a host names none."""

SIZES = (3, 5)
"""How many servers a cluster may have: an even number survives no more losses than the odd one below it."""

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?")
_SECRET = re.compile(r"[A-Za-z0-9_-]{16,256}")


class RouteTls(msgspec.Struct, frozen=True):
    """Files of one server: its certificate, which it shows to the others as server and as client, its key, the CA."""

    cert: Path
    key: Path
    ca: Path


def check_hosts(hosts: Sequence[str]) -> tuple[str, ...]:
    """Return the hosts of a cluster: `HOST`, or `HOST:PORT` where the servers do not talk on `ROUTE_PORT`.

    Raises:
        BadInput: their number is not allowed, one is not a host, or one stands there twice.
    """
    if len(hosts) not in SIZES:
        wanted = " or ".join(map(str, SIZES))
        raise BadInput(f"{len(hosts)} hosts are named for a cluster: name {wanted}, one for each server")
    for host in hosts:
        found = _HOST.fullmatch(host)
        if found is None or not 0 < int(found[1] or ROUTE_PORT) < 65536:
            raise BadInput(f"{host!r} is not a host of a cluster: use HOST or HOST:PORT, which the other servers reach")
    if len({_with_port(host) for host in hosts}) < len(hosts):
        raise BadInput(f"a host is named twice for a cluster ({', '.join(hosts)}): each server needs one of its own")
    return tuple(hosts)


def node_name(node: int) -> str:
    """Return the name of the server with this number; it stays for good, because the others know it by that."""
    return f"node-{node}"


def server_urls(hosts: Sequence[str], port: int = 4222, scheme: str = "nats") -> str:
    """Return the address that clients use: all servers, separated by commas.

    Args:
        hosts: what `check_hosts` returned.
        port: the port of clients.
        scheme: `nats`, `tls`, `ws` or `wss`.
    """
    return ",".join(f"{scheme}://{_with_port(host).rpartition(':')[0]}:{port}" for host in hosts)


def cluster_block(
    hosts: Sequence[str],
    node: int,
    *,
    secret: str,
    tls: RouteTls | None = None,
    name: str = "mesh",
    listen: str = "0.0.0.0",
) -> str:
    """Return the `cluster` block of the configuration of one server.

    Clients are told no addresses of other servers (`no_advertise`): they would lack the token, and a certificate for
    them. So clients name all servers.

    Args:
        hosts: where the servers reach each other, in the order of their numbers.
        node: number of this server, from 1.
        secret: password of the servers among themselves, the same in all files.
        tls: files of this server, if the servers encrypt what they send each other; each then wants a certificate.
        name: name of the cluster.
        listen: address on which this server waits for the others.

    Raises:
        BadInput: a host or the secret is not valid.
    """
    hosts = check_hosts(hosts)
    if not _SECRET.fullmatch(secret):
        raise BadInput("the secret of a cluster is not valid: use 16 or more letters, digits, - and _")
    port = _with_port(hosts[node - 1]).rpartition(":")[2]
    routes = "\n".join(f'    "nats-route://routes:{secret}@{_with_port(host)}"' for host in hosts)
    files = ""
    if tls:
        files = f"""  tls {{
    cert_file: {config_string(tls.cert)}
    key_file: {config_string(tls.key)}
    ca_file: {config_string(tls.ca)}
    verify: true
    timeout: 5
  }}
"""
    return f"""cluster {{
  name: {name}
  listen: "{listen}:{port}"
  no_advertise: true
  authorization {{ user: routes, password: "{secret}", timeout: 5 }}
{files}  routes: [
{routes}
  ]
}}
"""


def _with_port(host: str) -> str:
    return host if re.search(r":[0-9]+$", host.rpartition("]")[2]) else f"{host}:{ROUTE_PORT}"

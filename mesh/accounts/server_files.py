"""The configuration of the servers of a hub: accounts, keys, TLS, and the limits that a flood meets."""

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from mesh.server_config import config_string

MAX_PAYLOAD_BYTES = 1 << 20
_MOST_CONNECTIONS = 4096
MAX_PENDING_BYTES = 64 << 20
"""Bytes that wait for a slow client; the server closes a connection that exceeds it."""
WRITE_DEADLINE = "10s"
CLAIMS_EVERY = "5s"
"""How often the servers of a cluster compare their claims: for so long may one that was away let a revoked member in.

With the usual two minutes, it did so for two minutes.
"""

MAX_BUFFERED_MESSAGES, MAX_BUFFERED_BYTES = 512, 64 << 20
"""Posts that wait for one stream; the server refuses more (429), and the client sends them again."""


class ServerFiles(msgspec.Struct, frozen=True):
    """Where a server of a hub has what, and by which name.

    The folder of a node of a cluster is whole by itself: it is copied to the machine of that node.
    """

    name: str
    folder: Path
    certificate: Path
    key: Path
    ca: Path
    resolver: Path


def hub_server_config(
    files: ServerFiles,
    *,
    host: str,
    port: int,
    operator: str,
    system: str,
    accounts: Mapping[str, str],
    disk_bytes: int,
    cluster: str = "",
) -> bytes:
    """Return the configuration of one server of a hub.

    Args:
        files: its folders and certificates.
        host: the address on which it listens.
        port: its port.
        operator: the operator's token.
        system: public key of the account SYS.
        accounts: the tokens of all accounts by public key; the server takes those that are newer than its own.
        disk_bytes: bytes that all logs may have, as the account says. The server takes no account that may have more
            than itself, and by default that is a part of what is free when it starts.
        cluster: the section about the other servers, "" for a single one.
    """
    known = "\n".join(f'  {public}: "{token}"' for public, token in accounts.items())
    text = f"""# `mesh hub init` writes this, and `mesh hub start` does so again before each start.
server_name: {files.name}
host: "{host}"
port: {port}
log_file: {config_string(files.folder / "server.log")}
pid_file: {config_string(files.folder / "server.pid")}
max_payload: {MAX_PAYLOAD_BYTES}
max_connections: {_MOST_CONNECTIONS}
max_pending: {MAX_PENDING_BYTES}
write_deadline: "{WRITE_DEADLINE}"

operator: "{operator}"
system_account: {system}
resolver {{
  type: full
  dir: {config_string(files.resolver)}
  allow_delete: false
  interval: "{CLAIMS_EVERY}"
}}
resolver_preload {{
{known}
}}

tls {{
  cert_file: {config_string(files.certificate)}
  key_file: {config_string(files.key)}
  min_version: "1.3"
  timeout: 5
}}

jetstream {{
  store_dir: {config_string(files.folder / "store")}
  max_file_store: {disk_bytes}
  sync_interval: always
  max_buffered_msgs: {MAX_BUFFERED_MESSAGES}
  max_buffered_size: {MAX_BUFFERED_BYTES}
}}
{cluster}"""
    return text.encode("utf-8", "surrogateescape")


def listens_on(hosts: Sequence[str]) -> str:
    """Return the address on which a server listens that is reached by `hosts`: loopback if all of them are.

    `::` takes connections of both families, where an IPv6 address is named.
    """
    if not all(map(_is_loopback, hosts)):
        return "::" if any(":" in host for host in hosts) else "0.0.0.0"
    return next((host for host in hosts if host != "localhost"), "127.0.0.1")


def as_seen_from_inside(files: ServerFiles) -> ServerFiles:
    """Return the same files as seen from their folder."""
    paths = {name: getattr(files, name).relative_to(files.folder) for name in ("certificate", "key", "ca", "resolver")}
    return msgspec.structs.replace(files, folder=Path(), **paths)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

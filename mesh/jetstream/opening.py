"""The first questions to a server: whether it is young enough, and whether it can store a log; else why not."""

from typing import Any

import msgspec
from nats.aio.client import Client

from mesh.errors import BusError, BusRefused, BusUnavailable, ServerTooOld
from mesh.jetstream.cluster import is_clustered

OLDEST_SERVER = (2, 12)
"""The first server that checks `Nats-Expected-Last-Subject-Sequence-Subject`."""


def check_version(nc: Client, url: str) -> None:
    """Check the version of the server of a client.

    Raises:
        ServerTooOld: the server is older than `OLDEST_SERVER`.
    """
    version = nc.connected_server_version
    if (version.major, version.minor) < OLDEST_SERVER:
        wanted, has = ".".join(map(str, OLDEST_SERVER)), f"{version.major}.{version.minor}.{version.patch}"
        raise ServerTooOld(f"the NATS server at {url} has version {has}; use {wanted} or later")


async def ask_for_limits(nc: Client, timeout_s: float) -> tuple[str, dict[str, Any]]:
    """Return why the server can store no log, "" if it can, and the limits of our account.

    Raises the errors in `TRANSIENT`. A cluster that does not answer has no leader yet.
    """
    try:
        answer = msgspec.json.decode((await nc.request("$JS.API.INFO", b"", timeout=timeout_s)).data)
    except TimeoutError:
        if not is_clustered(nc):
            raise
        return "no leader", {}
    why = str(answer["error"].get("description")) if "error" in answer else ""
    return why, answer.get("limits") or {}


def unopened(url: str, why: str, patience_s: float, last_error: str, *, in_cluster: bool) -> BusError:
    """Return the error to raise where a server cannot be used.

    Args:
        url: its address, to show it.
        why: what it answered.
        patience_s: seconds for which it was tried.
        last_error: the last error of the connection, in small letters.
        in_cluster: whether it is one of a cluster.
    """
    if "authorization" in last_error:
        return BusRefused(f"the NATS server at {url} refuses this user: check the credentials")
    if "no responders" in why or "not enabled" in why:
        return BusRefused(f"the NATS server at {url} has no JetStream: start it with -js")
    if in_cluster:
        cure = "start more of its servers; all must run when it starts for the first time, more than half later"
        return BusUnavailable(f"the NATS cluster at {url} has no leader: {cure}")
    return BusUnavailable(
        f"no NATS server answers at {url} within {patience_s:g} s: start one with `mesh up`, "
        "or name another with --nats"
    )

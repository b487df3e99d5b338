"""What a client does differently where several servers keep a log together (a cluster): copies, leases, patience.

When the leader of a stream or a queue is lost, the others need some seconds to elect another one. Until then they
refuse or do not answer, and the leader's last words may reach the others later than the client.
"""

import math
import time
from typing import Any

from nats.aio.client import Client

from mesh.jetstream.acks import BUSY

COPIES = 3
"""Servers of a cluster that keep a stream: one of them may be lost."""

CLUSTER_PATIENCE_S = 60.0
"""Seconds for which an operation is tried, if its caller does not say it: a lost leader costs up to 12."""

CLUSTER_LEASE_S = 30.0
"""Seconds that a lease lasts at least: it cannot be extended while there is no leader."""

CUT_OFF_S = 15.0
"""Seconds without success after which a client tries another server; an election takes less."""

PEERS_WITHIN_S = 15.0
"""Seconds for which a new stream waits for enough servers: they start one after the other."""

NO_PEERS = 10005
_WRONG_LAST = 10071
_PASSING = frozenset({10006, 10007, 10008, 10009, 10074, 10158})
"""Errors of servers that have no leader yet, or are not yet a part of their cluster, or still store this message."""


def is_clustered(nc: Client) -> bool:
    """Tell whether the server of a client is one of a cluster."""
    return bool(nc._server_info.get("cluster"))


def passes(code: int, err_code: int, *, in_cluster: bool) -> bool:
    """Tell whether an error of JetStream goes by, so that the question is worth asking again."""
    return code in BUSY or (in_cluster and err_code in _PASSING)


def refused_by(err_code: int, description: str) -> int | None:
    """Return the sequence of the entry because of which a post was refused; None where the server does not say it.

    It does not while that entry is still being stored.
    """
    last = description.rpartition(" ")[2]
    return int(last) if err_code == _WRONG_LAST and last.isdigit() else None


class CutOff:
    """Sends a client to another server where its own fails for too long: it may be cut off from the others."""

    def __init__(self) -> None:
        self._left_at = -math.inf

    async def leave(self, nc: Client, began: float) -> None:
        """Reconnect, perhaps.

        Args:
            nc: the client.
            began: when it began to fail, by `time.monotonic`.
        """
        now = time.monotonic()
        if is_clustered(nc) and nc.is_connected and now - max(began, self._left_at) > CUT_OFF_S:
            self._left_at = now
            await nc.force_reconnect()


def copies_of(info: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the leader of a stream in a cluster, and the state of its other copies: `current`, `offline`, or behind.

    Args:
        info: the server's answer to a question for the stream.
    """
    cluster = info.get("cluster") or {}
    if not cluster.get("name"):  # a single server
        return "", {}
    states = {str(each.get("name")): _state(each) for each in cluster.get("replicas") or []}
    return str(cluster.get("leader") or ""), states


def _state(copy: dict[str, Any]) -> str:
    if copy.get("offline"):
        return "offline"
    if copy.get("current"):
        return "current"
    return f"behind by {int(copy.get('lag', 0)):,}"

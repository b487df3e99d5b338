"""The warden: revokes a member who floods the hub, before the others are shut out.

A member has an allowance of messages and of bytes, as a bucket has: what it sends fills its bucket, which drains at a
steady rate, and who overflows it is revoked. An honest member is far below: a post that waits for its acknowledgement
is one message. It may also keep only so many connections and subscriptions: the server sends each post to every
subscription, so who only listens can slow everybody down. The counts are the server's own.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import anyio
import msgspec

from gateway.cut_off import Claims, cut_off
from gateway.members import Members
from mesh.accounts.hub_folder import HubFolder

_LOOK_EVERY_S = 0.1
_LOOK_SHARE, _MOST_PAUSE_S = 10, 1.0
"""Looking may take a tenth of the time: with many connections it is done less often, but at least so often."""
_GONE_KNOWN_S = 60.0


class Allowance(msgspec.Struct, frozen=True):
    """How much a member may send, at once and per second for any length of time, and how much it may keep open."""

    messages: float = 10_000
    messages_per_s: float = 5_000
    bytes: float = 512e6
    bytes_per_s: float = 32e6
    connections: int = 128
    subscriptions: int = 2_048


USUAL = Allowance()


class Traffic(msgspec.Struct, frozen=True):
    """What a connection of a member has sent since it was opened; `connection` names it among all.

    `subscriptions` is how many it has, None if it has ended since the last look; it had then lived for `lived_s`.
    """

    connection: str
    nkey: str
    name: str
    messages: int
    bytes: int
    subscriptions: int | None = 0
    lived_s: float = 0.0


class Flood(msgspec.Struct, frozen=True):
    """A member that sent more than its allowance, and the sentence that says so."""

    nkey: str
    name: str
    reason: str


class _Bucket:
    def __init__(self, at: float) -> None:
        self.at = self.since = at
        self.messages = self.bytes = 0.0
        self.sent = self.sent_bytes = 0


class Allowances:
    """The buckets of all members. Pure: time is passed in."""

    def __init__(self, allowance: Allowance = USUAL) -> None:
        self._allowance = allowance
        self._last: dict[str, tuple[int, int]] = {}
        self._gone: dict[str, tuple[float, tuple[int, int]]] = {}
        self._first: float | None = None
        self._looked = 0.0
        self._buckets: dict[str, _Bucket] = {}

    def flooding(self, at: float, seen: Iterable[Traffic]) -> list[Flood]:
        """Take what all connections have sent until now; return who has sent too much.

        Args:
            at: a time in seconds, of a steady clock.
            seen: every connection of a member, and those that ended since the last look. One that is new has sent all
                of it since then; at the first look nothing that was sent is held against anybody. Of a connection that
                is named twice, the one counts that had sent more.
        """
        latest: dict[str, Traffic] = {}
        for each in seen:
            known = latest.get(each.connection)
            if known is None or (known.messages, known.bytes) <= (each.messages, each.bytes):
                latest[each.connection] = each
        before, looked, first = self._remember(at, latest)
        keeping = self._keeping_too_much(latest.values())
        if first is None:
            return keeping
        names: dict[str, str] = {}
        for each in latest.values():
            if each.connection not in before and each.lived_s > at - first:
                continue  # it was there before the first look
            messages, sent = before.get(each.connection, (0, 0))
            bucket = self._buckets.setdefault(each.nkey, _Bucket(looked))
            bucket.messages += max(0, each.messages - messages)
            bucket.bytes += max(0, each.bytes - sent)
            bucket.sent += max(0, each.messages - messages)
            bucket.sent_bytes += max(0, each.bytes - sent)
            names[each.nkey] = each.name
        return [*keeping, *self._overflowing(at, names)]

    def _remember(
        self, at: float, latest: Mapping[str, Traffic]
    ) -> tuple[dict[str, tuple[int, int]], float, float | None]:
        """Keep what was sent until now; return what was known, when it was looked at last, and when first.

        That a connection has ended may be heard later than it is seen: what it had sent is known for a while.
        """
        self._gone = {name: kept for name, kept in self._gone.items() if at - kept[0] < _GONE_KNOWN_S}
        known = {name: counts for name, (_, counts) in self._gone.items()} | self._last
        looked, first = self._looked, self._first
        self._gone |= {name: (at, counts) for name, counts in self._last.items() if name not in latest}
        self._last = {name: (each.messages, each.bytes) for name, each in latest.items()}
        self._looked, self._first = at, at if first is None else first
        return known, looked, first

    def _keeping_too_much(self, seen: Iterable[Traffic]) -> list[Flood]:
        kept: dict[str, list[Traffic]] = {}
        for each in seen:
            if each.subscriptions is not None:
                kept.setdefault(each.nkey, []).append(each)
        found: list[Flood] = []
        for nkey, theirs in kept.items():
            subscriptions = sum(each.subscriptions or 0 for each in theirs)
            if len(theirs) > self._allowance.connections:
                found.append(Flood(nkey, theirs[0].name, f"kept {len(theirs):,} connections to the hub at a time"))
            elif subscriptions > self._allowance.subscriptions:
                found.append(Flood(nkey, theirs[0].name, f"kept {subscriptions:,} subscriptions at a time"))
        return found

    def _overflowing(self, at: float, names: Mapping[str, str]) -> list[Flood]:
        allowed, found = self._allowance, []
        for nkey, bucket in list(self._buckets.items()):
            bucket.messages -= allowed.messages_per_s * (at - bucket.at)
            bucket.bytes -= allowed.bytes_per_s * (at - bucket.at)
            bucket.at = at
            if bucket.messages <= 0 and bucket.bytes <= 0:
                del self._buckets[nkey]
            elif bucket.messages > allowed.messages:
                found.append(Flood(nkey, names.get(nkey, ""), _sentence(bucket, f"{bucket.sent:,} messages")))
            elif bucket.bytes > allowed.bytes:
                found.append(Flood(nkey, names.get(nkey, ""), _sentence(bucket, f"{bucket.sent_bytes / 1e6:,.0f} MB")))
            bucket.messages, bucket.bytes = max(0.0, bucket.messages), max(0.0, bucket.bytes)
        return found


def _sentence(bucket: _Bucket, sent: str) -> str:
    return f"flooded the hub: {sent} in {bucket.at - bucket.since:.1f} s"


class Connections(Claims, Protocol):
    """What tells the connections of a running server: its system account."""

    def endings(self, account: str) -> AbstractAsyncContextManager[Callable[[], list[dict[str, Any]]]]:
        """Hear which connections of an account end; yield what returns those since it was called last.

        Raises:
            BusError: the server does not answer.
        """

    async def connections(self, *, servers: int = 1) -> list[dict[str, Any]]:
        """Return every connection to so many servers as `CONNZ` has it, with who it is.

        Raises:
            BusError: the server does not answer.
        """


async def watch_over(
    members: Members,
    hub: HubFolder,
    system: Connections,
    *,
    allowance: Allowance = USUAL,
    on_flood: Callable[[str, str], None] | None = None,
) -> None:
    """Look at what every member sends, and revoke who floods, until cancelled.

    Args:
        members: the members of the hub; `members.reader.follow` must run.
        hub: the keys of the hub.
        system: the system account of its server.
        allowance: what a member may send.
        on_flood: called with the name of who was revoked, and why.

    Raises:
        BusError: the server does not answer.
    """
    allowances, account = Allowances(allowance), hub.settings.accounts["MEMBERS"]
    servers = max(1, len(hub.settings.nodes))
    async with system.endings(account) as ended:
        while True:
            began = time.monotonic()
            rows = await system.connections(servers=servers)
            for flood in allowances.flooding(time.monotonic(), traffic_of([*rows, *ended()], account)):
                known = members.index.of_nkey(flood.nkey)
                if known is None or known.revoked:
                    continue
                await cut_off(hub, system, flood.nkey)  # first: the log may be slow under the flood
                await members.revoke(known.admitted.name, flood.reason)
                if on_flood:
                    on_flood(known.admitted.name, flood.reason)
            await anyio.sleep(min(_MOST_PAUSE_S, max(_LOOK_EVERY_S, _LOOK_SHARE * (time.monotonic() - began))))


def traffic_of(connections: Iterable[Mapping[str, Any]], account: str) -> list[Traffic]:
    """Return what the members among some connections have sent.

    Args:
        connections: as `CONNZ` has them; those that have ended have no number of subscriptions.
        account: the public key of the account of members.
    """
    return [
        Traffic(
            f"{each.get('server', '')}/{each.get('cid')}",
            str(each.get("nkey", "")),
            str(each.get("member", "")),
            int(each.get("in_msgs", 0)),
            int(each.get("in_bytes", 0)),
            each.get("subscriptions"),
            float(each.get("lived_s", 0.0)),
        )
        for each in connections
        if each.get("account") == account
    ]

"""The system account of the servers of a hub: it sends new claims to them, and asks who is connected.

Its credentials (`creds/sys.creds`) are those of the operator: who has them sees every connection, but no log.
"""

import asyncio
import datetime as dt
import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from mesh.accounts.claims import user_claims_of
from mesh.errors import BadInput, BusRefused, BusUnavailable
from mesh.jetstream.address import parse_address
from mesh.jetstream.closing import TRANSIENT, close_client
from mesh.jetstream.credentials import proof
from mesh.jetstream.quick import SteadyClient

_UPDATE = "$SYS.REQ.CLAIMS.UPDATE"
_CONNECTIONS = "$SYS.REQ.SERVER.PING.CONNZ"
_PAGE = 1024
_ENDINGS_KEPT = 100_000
"""Connections that have ended and wait to be looked at; of more, the oldest are forgotten."""


@asynccontextmanager
async def system_account(url: str, credentials: Path, *, patience_s: float = 5.0) -> AsyncIterator["SystemAccount"]:
    """Connect to the servers of a hub as their system account while the block runs.

    Args:
        url: address of the server, or of several, separated by commas.
        credentials: file with credentials of the system account.
        patience_s: seconds to try to connect, and to wait for each answer.

    Raises:
        BadInput: the address or the credentials are not valid.
        BusUnavailable: no server answers, or it refuses this user.
    """
    servers, shown = parse_address(url)
    nc = SteadyClient()
    told = ""

    async def note(error: Exception) -> None:
        nonlocal told
        told = str(error)

    try:
        try:
            with anyio.fail_after(patience_s):
                await nc.connect(
                    servers,
                    name="mesh-system",
                    error_cb=note,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.2,  # type: ignore[arg-type]  # annotated int, used as seconds
                    connect_timeout=2,
                    **proof(credentials),
                )
                await nc.flush()
        except TRANSIENT as error:
            why = told or str(error)
            raise BusUnavailable(
                f"no server at {shown} lets the system account in within {patience_s:g} s: {why}"
            ) from None
        yield SystemAccount(nc, shown, patience_s)
    finally:
        await close_client(nc)


class SystemAccount:
    """A connection of the system account."""

    def __init__(self, nc: Client, url: str, patience_s: float) -> None:
        self._nc, self._url, self._patience_s = nc, url, patience_s

    async def request(self, subject: str, body: bytes = b"") -> bytes:
        """Return the first answer to a question.

        Raises:
            BusUnavailable: no server answers.
        """
        try:
            return (await self._nc.request(subject, body, timeout=self._patience_s)).data
        except TRANSIENT as error:
            raise BusUnavailable(f"no server at {self._url} answers {subject}: {error}") from None

    async def push_claims(self, token: str) -> None:
        """Give all servers a new token of an account: users that it revokes are cut off at once.

        Raises:
            BusUnavailable: no server answers.
            BusRefused: it refuses the token.
        """
        answer = msgspec.json.decode(await self.request(_UPDATE, token.encode()), type=dict[str, Any])
        if error := answer.get("error"):
            raise BusRefused(f"the server at {self._url} refuses the new claims: {error.get('description')}")

    async def connections(self, *, servers: int = 1) -> list[dict[str, Any]]:
        """Return all connections, as the servers describe them: `cid`, `account`, `in_msgs` and more.

        `member` and `nkey` are the name and the key in the token of the user, "" without a token, and `server` is the
        id of the server, as `cid` is only that server's.

        Args:
            servers: how many servers there are; those that do not answer in time are left out.
        """
        found: list[dict[str, Any]] = []
        offset = 0
        while True:
            asked = {"auth": True, "subscriptions": False, "limit": _PAGE, "offset": offset}
            pages = await self._gather(_CONNECTIONS, msgspec.json.encode(asked), servers)
            said = [(page.get("data") or {}, str((page.get("server") or {}).get("id", ""))) for page in pages]
            found += [each | _user_of(each) | {"server": server} for page, server in said for each in _listed(page)]
            offset += _PAGE
            if all(int(page.get("total", 0)) <= offset for page, _ in said):
                return found

    @asynccontextmanager
    async def endings(self, account: str) -> AsyncIterator[Callable[[], list[dict[str, Any]]]]:
        """Hear which connections of an account end; yield what returns those since it was called last.

        They are described as `connections` does, with what they had sent, and `lived_s`, the seconds that they lived.
        So nobody hides between two looks.

        Args:
            account: the public key of the account.

        Raises:
            BusUnavailable: no server answers.
        """
        waiting: deque[dict[str, Any]] = deque(maxlen=_ENDINGS_KEPT)

        async def take(msg: Msg) -> None:
            said = msgspec.json.decode(msg.data, type=dict[str, Any])
            client, sent = said.get("client") or {}, said.get("sent") or {}
            waiting.append(
                {
                    "cid": client.get("id"),
                    "server": str((said.get("server") or {}).get("id", "")),
                    "account": client.get("acc"),
                    "in_msgs": int(sent.get("msgs", 0)),
                    "in_bytes": int(sent.get("bytes", 0)),
                    "lived_s": _seconds(client.get("start"), client.get("stop")),
                    **_user_of(client),
                }
            )

        def since() -> list[dict[str, Any]]:
            found = list(waiting)
            waiting.clear()
            return found

        subject = f"$SYS.ACCOUNT.{account}.DISCONNECT"
        try:
            subscription = await self._nc.subscribe(subject, cb=take)
            await self._nc.flush()
        except TRANSIENT as error:
            raise BusUnavailable(f"no server at {self._url} answers {subject}: {error}") from None
        try:
            yield since
        finally:
            with anyio.move_on_after(2, shield=True), suppress(*TRANSIENT):
                await subscription.unsubscribe()

    async def _gather(self, subject: str, body: bytes, servers: int) -> list[dict[str, Any]]:
        """Return the answers of several servers."""
        answers: list[dict[str, Any]] = []
        complete = asyncio.Event()

        async def take(msg: Msg) -> None:
            if msg.data:
                answers.append(msgspec.json.decode(msg.data, type=dict[str, Any]))
            if len(answers) >= servers or not msg.data:
                complete.set()

        inbox = self._nc.new_inbox()
        try:
            subscription = await self._nc.subscribe(inbox, cb=take)
            await self._nc.publish(subject, body, reply=inbox)
            with anyio.move_on_after(self._patience_s):
                await complete.wait()
            await subscription.unsubscribe()
        except TRANSIENT as error:
            raise BusUnavailable(f"no server at {self._url} answers {subject}: {error}") from None
        return answers


def _listed(page: dict[str, Any]) -> list[dict[str, Any]]:
    return page.get("connections") or []


def _seconds(start: object, stop: object) -> float:
    """Return the seconds between two times of a server; for ever, if it does not say one of them."""
    try:
        return (dt.datetime.fromisoformat(str(stop)) - dt.datetime.fromisoformat(str(start))).total_seconds()
    except (ValueError, TypeError):
        return math.inf


def _user_of(connection: dict[str, Any]) -> dict[str, str]:
    """Return who is at the other end of a connection; `name_tag` names its account."""
    try:
        user = user_claims_of(str(connection.get("jwt", "")))
    except BadInput:
        return {"member": "", "nkey": ""}
    return {"member": user.name, "nkey": user.public}

"""A connection to a NATS server that repairs itself.

nats-py reconnects when the socket breaks. But if its read loop dies, the client looks connected and receives nothing,
and a client that was closed (by `Slow Consumer`, for example) stays closed. So `Link.watch` asks for an answer every
second. If none comes, it reconnects; if the client is closed, it makes a new one.
"""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import msgspec
import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from mesh.errors import BusError, BusRefused, BusUnavailable
from mesh.jetstream.acks import LOST_ACK, NO_ROOM, WRONG_LAST_SEQUENCE, Ack, ApiError, read_ack
from mesh.jetstream.address import parse_address
from mesh.jetstream.closing import TRANSIENT, close_client
from mesh.jetstream.cluster import CLUSTER_PATIENCE_S, COPIES, CutOff, is_clustered, passes
from mesh.jetstream.credentials import proof
from mesh.jetstream.forbidden import forbidden
from mesh.jetstream.lean import allow_websockets
from mesh.jetstream.member import member_of
from mesh.jetstream.opening import ask_for_limits, check_version, unopened
from mesh.jetstream.quick import quick_client
from mesh.jetstream.subscription import OnMessage, StandingSubscription

_WATCH_EVERY_S = 1.0
_ANSWER_WITHIN_S = 3.0
RENEW_AFTER_S = 5.0
"""Seconds without a connection after which a new client replaces the old one."""

TRY_S = 5.0
WINDOW, MEMBERS_WINDOW = 512, 64
"""Most unanswered posts of `post_all` at a time, and of a member, whose server protects others from a flood."""


class Link:
    """A connection that repairs itself; `nc` is the present client."""

    def __init__(
        self,
        url: str,
        *,
        name: str,
        patience_s: float,
        outage_s: float | None = None,
        replicas: int | None = None,
        credentials: Path | None = None,
    ) -> None:
        self._servers, self.url = parse_address(url)
        self.member = member_of(credentials)
        self._proof = proof(credentials)
        if self.member:
            self._proof["inbox_prefix"] = self.member.inbox
        allow_websockets(self._servers)
        self.name, self.patience_s, self._outage_s = name, patience_s, outage_s
        self.is_clustered, self.replicas = False, replicas or 0
        self.nc = Client()
        self.heals = 0
        self._cut_off = CutOff()
        self._opening: anyio.CancelScope | None = None
        self._last_error = self._denied = ""
        self._acks: dict[str, tuple[str, asyncio.Future[Ack]]] = {}
        self._standing: set[StandingSubscription] = set()
        self._calls: dict[anyio.CancelScope, str] = {}
        self.limits: dict[str, Any] = {}
        self._inbox = ""
        self._tokens = itertools.count()

    async def open(self) -> None:
        """Connect, and check that the server can store a log.

        Raises:
            BusUnavailable: no server answers within `patience_s`.
            BusRefused: the server refuses this user, or has no JetStream.
            ServerTooOld: the server is older than `OLDEST_SERVER`.
        """
        why = ""
        try:
            with anyio.move_on_after(self.patience_s) as self._opening:
                try:
                    await self._connect()
                    await self.nc.flush(5)
                    check_version(self.nc, self.url)
                    self._know_cluster()
                    # A socket that the server closes at once looks connected at first, so wait for an answer.
                    why, self.limits = await ask_for_limits(self.nc, TRY_S)
                    while why:
                        if not self.is_clustered or "not enabled" in why:
                            raise self._unopened(why)
                        await anyio.sleep(0.2)
                        why, self.limits = await ask_for_limits(self.nc, TRY_S)
                    least_s = CLUSTER_PATIENCE_S if self.is_clustered else 0.0
                    self.patience_s = self._outage_s or max(self.patience_s, least_s)
                    return
                except TRANSIENT as error:
                    why = str(error)
            raise self._unopened(why)
        except BaseException:
            if self._inbox:
                await close_client(self.nc)
            raise
        finally:
            self._opening = None

    def _know_cluster(self) -> None:
        """Note whether the server is one of a cluster; then it has more time, as it may elect a leader now."""
        self.is_clustered = is_clustered(self.nc)
        self.replicas = self.replicas or (COPIES if self.is_clustered else 1)
        if self._opening and self.is_clustered:
            self._opening.deadline += min(self._outage_s or CLUSTER_PATIENCE_S, CLUSTER_PATIENCE_S)

    def _unopened(self, why: str) -> BusError:
        if self._denied and "authorization" not in self._last_error:
            return BusRefused(f"the NATS server at {self.url} refuses this user: {self._denied}")
        return unopened(self.url, why, self.patience_s, self._last_error, in_cluster=self.is_clustered)

    async def _connect(self) -> None:
        nc = quick_client()
        try:
            await nc.connect(
                self._servers,
                name=self.name,
                error_cb=self._on_error,
                disconnected_cb=self._on_disconnect,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.2,  # type: ignore[arg-type]  # annotated int, used as seconds
                connect_timeout=2,
                ping_interval=20,
                pending_size=16 * 1024 * 1024,
                **self._proof,
            )
            inbox = nc.new_inbox()
            await nc.subscribe(f"{inbox}.*", cb=self._on_ack)
        except BaseException:
            await close_client(nc)
            raise
        self.nc, self._inbox = nc, inbox
        for standing in list(self._standing):
            await standing.begin(nc)

    async def _on_error(self, error: Exception) -> None:
        self._last_error = str(error).lower()
        if "authorization" in self._last_error and self._opening is not None:
            self._opening.cancel()
        if "permissions violation" in self._last_error:
            # The server reports this here, and does not answer the publish.
            self._denied = self._last_error
            for subject, future in self._acks.values():
                if self._is_denied(subject) and not future.done():
                    future.set_result(Ack(error=ApiError(code=403, description=self._denied)))
            for scope, subject in self._calls.items():
                if self._is_denied(subject):
                    scope.cancel()

    def _is_denied(self, subject: str) -> bool:
        return f'"{subject.lower()}"' in self._denied

    async def _on_disconnect(self) -> None:
        """End the wait for answers that can no longer come; the server recognises a publish that is sent again."""
        for _, future in self._acks.values():
            if not future.done():
                future.set_result(LOST_ACK)

    async def watch(self) -> None:
        """Ask for an answer every second, and reconnect if none comes, until cancelled."""
        alive = time.monotonic()
        while True:
            await anyio.sleep(_WATCH_EVERY_S)
            try:
                if self.nc.is_connected:
                    await self._echo()
                    alive = time.monotonic()
                elif self.nc.is_closed or time.monotonic() - alive > RENEW_AFTER_S:
                    await close_client(self.nc)
                    with anyio.fail_after(RENEW_AFTER_S):
                        await self._connect()
                    self.heals += 1
            except _SilenceError:
                self.heals += 1
                await self.nc.force_reconnect()
            except TRANSIENT:
                continue

    @property
    def window(self) -> int:
        """Most unanswered posts at a time."""
        return MEMBERS_WINDOW if self.member else WINDOW

    async def _echo(self) -> None:
        """Send a message to ourselves and wait for it; `flush` succeeds even if the read loop has ended."""
        if self.member:
            await self._ask_for_nothing(self.member.arenas[0])
            return
        token = str(next(self._tokens))
        subject = f"{self._inbox}.{token}"
        future: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        self._acks[token] = subject, future
        try:
            await self.nc.publish(subject, b"{}")
            with anyio.move_on_after(_ANSWER_WITHIN_S):
                await future
                return
        finally:
            del self._acks[token]
        raise _SilenceError

    async def _ask_for_nothing(self, arena: str) -> None:
        """Wait for an answer, which a member may not send to itself; that nobody has one is an answer too."""
        with suppress(nats.errors.NoRespondersError):
            try:
                await self.request(f"$JS.API.DIRECT.GET.MESH_{arena}", timeout_s=_ANSWER_WITHIN_S)
            except TimeoutError:
                raise _SilenceError from None

    async def close(self) -> None:
        """Close the connection and cancel all unanswered publishes."""
        for _, future in self._acks.values():
            future.cancel()
        await close_client(self.nc)

    async def client(self) -> Client:
        """Return the present client; if it is closed, wait for the next one.

        Raises:
            BusUnavailable: there is none within `patience_s`.
        """
        give_up = time.monotonic() + self.patience_s
        while self.nc.is_closed:
            if time.monotonic() > give_up:
                raise BusUnavailable(f"no NATS server at {self.url} answered within {self.patience_s:g} s")
            await anyio.sleep(0.1)
        return self.nc

    @asynccontextmanager
    async def hearing(self, subject: str, on_message: OnMessage, *, queue: str = "") -> AsyncIterator[None]:
        """Call `on_message` for each message while the block runs, also after the client was replaced.

        Args:
            subject: subject of the messages.
            on_message: called with each message.
            queue: name of a queue whose members share the messages; "" receives all.
        """
        standing = StandingSubscription(subject, queue, on_message)
        self._standing.add(standing)
        try:
            with suppress(*TRANSIENT):
                await standing.begin(self.nc)
            yield
        finally:
            self._standing.discard(standing)
            await standing.end()

    async def request(self, subject: str, data: bytes = b"", *, timeout_s: float = TRY_S) -> Msg:
        """Send a request once and return the first answer; raises the errors in `TRANSIENT`."""
        return await self.nc.request(subject, data, timeout=timeout_s)

    async def send(self, subject: str, data: bytes, headers: dict[str, str]) -> "asyncio.Future[Ack]":
        """Publish, and return a future of the server's answer, which `append` takes as `first`."""
        token = str(next(self._tokens))
        future: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        self._acks[token] = subject, future
        try:
            await self.nc.publish(subject, data, reply=f"{self._inbox}.{token}", headers=headers)
        except BaseException:
            del self._acks[token]
            raise
        future.add_done_callback(lambda _: self._acks.pop(token, None))
        return future

    async def _on_ack(self, msg: Msg) -> None:
        _, future = self._acks.get(msg.subject.rpartition(".")[2], ("", None))
        if future is None or future.done():
            return
        if msg.data:
            future.set_result(read_ack(msg.data))
        else:
            future.set_exception(nats.errors.NoRespondersError())

    async def append(
        self, subject: str, data: bytes, headers: dict[str, str], first: "asyncio.Future[Ack] | None" = None
    ) -> tuple[Ack, int]:
        """Publish until the server answers; return its answer and the number of earlier tries.

        Args:
            subject: subject of the message.
            data: the message.
            headers: headers by which the server recognises a repeated message.
            first: the future of a try that `send` has already sent.

        Raises:
            BusUnavailable: no answer within `patience_s`.
            BusRefused: the server refuses it by a permission, or its store is full.
        """
        give_up = (began := time.monotonic()) + self.patience_s
        pause_s = 0.0
        for tries in itertools.count():
            future = first if tries == 0 else None
            try:
                future = future or await self.send(subject, data, headers)
                # A timer costs a turn of the event loop, which is too much if the answer is here already.
                ack = future.result() if future.done() else await asyncio.wait_for(future, _left(give_up))
                if ack.error is None or ack.error.err_code in WRONG_LAST_SEQUENCE:
                    return ack, tries
                why = ack.error.description
                if ack.error.err_code == NO_ROOM:
                    raise self._refusal(subject, f"{why}: its store is full, so give it more disk space")
                error = ack.error
                if not passes(error.code, error.err_code, in_cluster=self.is_clustered) or why.startswith("maximum "):
                    raise self._refusal(subject, why)
            except nats.errors.MaxPayloadError:
                raise BusRefused(f"{subject} has {len(data):,} bytes: raise the server's max_payload") from None
            except TRANSIENT as error:
                why = str(error)
            finally:
                if future is not None and not future.done():
                    future.cancel()
            if time.monotonic() > give_up:
                raise self.unavailable(subject, why)
            await self._cut_off.leave(self.nc, began)
            await anyio.sleep(pause_s * random.uniform(0.5, 1.5))
            pause_s = min(1.0, pause_s * 2 or 0.05)
        raise AssertionError("unreachable")

    def _refusal(self, subject: str, why: str) -> BusError:
        if self.member and "permissions violation" in why:
            return BusRefused(forbidden(self.url, self.member, subject))
        return BusRefused(f"the NATS server at {self.url} refuses {subject}: {why}")

    def denial(self, subject: str) -> BusError | None:
        """Return the error to raise where the server has refused a subject by a permission, None where it has not."""
        return self._refusal(subject, self._denied) if self._is_denied(subject) else None

    def unavailable(self, subject: str, why: str) -> BusError:
        """Return the error to raise where no server has accepted something within `patience_s`, and why."""
        if not why:
            is_there = "it is connected but does not answer: its disk may be full"
            why = f"{is_there if self.nc.is_connected else 'it is away, or its disk is full'}, see its log"
        return BusUnavailable(f"no NATS server at {self.url} accepted {subject} within {self.patience_s:g} s ({why})")

    async def call(self, subject: str, request: dict[str, Any]) -> dict[str, Any]:
        """Call the JetStream API, with retries while the connection is broken; return its answer with any `error`.

        Raises:
            BusUnavailable: no answer within `patience_s`.
            BusRefused: the server refuses it by a permission.
        """
        if self._is_denied(subject):
            self._denied = ""
        give_up, why = (began := time.monotonic()) + self.patience_s, ""
        data = msgspec.json.encode(request) if request else b""
        while True:
            try:
                with self._until_denied(subject):
                    answer: dict[str, Any] = msgspec.json.decode(
                        (await self.request(subject, data, timeout_s=_left(give_up))).data
                    )
                    said = answer.get("error") or {}
                    if not passes(said.get("code", 0), said.get("err_code", 0), in_cluster=self.is_clustered):
                        return answer
                    why = str(said.get("description"))
            except TRANSIENT as error:
                why = str(error)
            if denial := self.denial(subject):
                raise denial
            if time.monotonic() > give_up:
                raise self.unavailable(subject, why)
            await self._cut_off.leave(self.nc, began)
            await anyio.sleep(0.2)

    @contextmanager
    def _until_denied(self, subject: str) -> Iterator[None]:
        """Run a block until the server refuses a subject by a permission, which it does not answer."""
        with anyio.CancelScope() as scope:
            self._calls[scope] = subject
            try:
                yield
            finally:
                del self._calls[scope]


class _SilenceError(Exception):
    """The client receives no messages."""


def _left(give_up: float) -> float:
    """Return how many seconds to wait for one answer."""
    return min(TRY_S, max(0.1, give_up - time.monotonic()))

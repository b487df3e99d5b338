"""One connection to a NATS server that heals itself.

nats-py reconnects when the socket breaks, but a read loop that died silently leaves a client that looks connected and
hears nothing. So a watch asks for an answer every second and starts the connection anew when none comes.
"""

import asyncio
import itertools
import time
from typing import Any

import anyio
import msgspec
import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from mesh.errors import BusError, BusRefused, BusUnavailable, ServerTooOld

OLDEST_SERVER = (2, 12)
"""The first server that checks `Nats-Expected-Last-Subject-Sequence-Subject`."""

WATCH_EVERY_S = 1.0
ANSWER_WITHIN_S = 3.0
TRY_S = 5.0
WRONG_LAST_SEQUENCE = (10071, 10164)

TRANSIENT = (nats.errors.Error, asyncio.TimeoutError, TimeoutError, OSError)
"""What a connection in trouble raises; all of it may be tried again."""


class Ack(msgspec.Struct, frozen=True):
    """The server's word on a publish."""

    seq: int = 0
    duplicate: bool = False
    error: "ApiError | None" = None


class ApiError(msgspec.Struct, frozen=True):
    """A refusal by JetStream."""

    code: int = 0
    err_code: int = 0
    description: str = ""


_ACK = msgspec.json.Decoder(Ack)


class Link:
    """A healed connection; `nc` is the client in use now."""

    def __init__(self, url: str, *, name: str, patience_s: float, replicas: int) -> None:
        self.url, self.name, self.patience_s, self.replicas = url, name, patience_s, replicas
        self.nc = Client()
        self.heals = 0
        self._last_error = ""
        self._acks: dict[str, asyncio.Future[Ack]] = {}
        self._inbox = ""
        self._tokens = itertools.count()

    async def open(self) -> None:
        """Connect and check that the server can hold a log.

        Raises:
            BusUnavailable: nobody answers within `patience_s`.
            BusRefused: the server does not let us in, or has no JetStream.
            ServerTooOld: it is older than `OLDEST_SERVER`.
        """
        try:
            with anyio.fail_after(self.patience_s):
                await self._connect()
                await self.nc.flush(5)
                # A socket that the server closes at once still looks connected: only an answer proves it.
                await self.nc.jetstream().account_info()
        except nats.errors.AuthorizationError:
            raise BusRefused(f"the NATS server at {self.url} refuses this user: check the credentials") from None
        except TRANSIENT as error:
            await self.nc.close()
            if "authorization" in self._last_error.lower():
                raise BusRefused(f"the NATS server at {self.url} refuses this user: {self._last_error}") from None
            if isinstance(error, nats.errors.NoRespondersError) or "jetstream" in str(error).lower():
                raise BusRefused(f"the NATS server at {self.url} has no JetStream: start it with -js") from None
            raise BusUnavailable(
                f"no NATS server answers at {self.url} within {self.patience_s:g} s: start one with `mesh up`, "
                "or name another with --nats"
            ) from None
        version = self.nc.connected_server_version
        if (version.major, version.minor) < OLDEST_SERVER:
            await self.nc.close()
            wanted = ".".join(map(str, OLDEST_SERVER))
            raise ServerTooOld(f"the NATS server at {self.url} is version {version}; the log needs {wanted} or later")

    async def _connect(self) -> None:
        async def remember(error: Exception) -> None:
            self._last_error = str(error)

        self.nc = Client()
        await self.nc.connect(
            self.url,
            name=self.name,
            error_cb=remember,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.2,  # type: ignore[arg-type]  # annotated int, used as seconds
            connect_timeout=2,
            ping_interval=20,
            pending_size=16 * 1024 * 1024,
        )
        self._inbox = self.nc.new_inbox()
        await self.nc.subscribe(f"{self._inbox}.*", cb=self._on_ack)

    async def watch(self) -> None:
        """Ask for an answer every second; where none comes, start the connection anew. Runs until cancelled."""
        while True:
            await anyio.sleep(WATCH_EVERY_S)
            try:
                if self.nc.is_closed:
                    await self._connect()
                    self.heals += 1
                elif self.nc.is_connected:
                    await self.nc.flush(int(ANSWER_WITHIN_S))
            except nats.errors.FlushTimeoutError:
                self.heals += 1
                await self.nc.force_reconnect()
            except TRANSIENT:
                continue

    async def close(self) -> None:
        """End the connection; what is in flight is given up."""
        for future in self._acks.values():
            future.cancel()
        with anyio.move_on_after(2, shield=True):
            await self.nc.close()

    async def request(self, subject: str, data: bytes = b"", *, timeout_s: float = TRY_S) -> Msg:
        """Ask once and return the first answer; raises what `TRANSIENT` lists."""
        return await self.nc.request(subject, data, timeout=timeout_s)

    async def send(self, subject: str, data: bytes, headers: dict[str, str]) -> "asyncio.Future[Ack]":
        """Publish and return the future of the server's word; await it with `settle`."""
        token = str(next(self._tokens))
        future: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        self._acks[token] = future
        try:
            await self.nc.publish(subject, data, reply=f"{self._inbox}.{token}", headers=headers)
        except BaseException:
            del self._acks[token]
            raise
        future.add_done_callback(lambda _: self._acks.pop(token, None))
        return future

    async def _on_ack(self, msg: Msg) -> None:
        future = self._acks.get(msg.subject.rpartition(".")[2])
        if future is None or future.done():
            return
        if msg.data:
            future.set_result(_ACK.decode(msg.data))
        else:
            future.set_exception(nats.errors.NoRespondersError())

    async def append(
        self,
        subject: str,
        data: bytes,
        headers: dict[str, str],
        first: "asyncio.Future[Ack] | None" = None,
    ) -> tuple[Ack, int]:
        """Publish until the server gives its word; return it with the number of tries before it.

        Headers must make a repetition harmless. `first` is a try that was already sent.

        Raises:
            BusUnavailable: no word within `patience_s`.
            BusRefused: a permission stands against it, or the log is out of room.
        """
        give_up = time.monotonic() + self.patience_s
        pause_s = 0.05
        for tries in itertools.count():
            self._last_error = "" if tries == 0 else self._last_error
            future = first if tries == 0 else None
            try:
                future = future or await self.send(subject, data, headers)
                # A timer costs a turn of the event loop: too much for each of many answers that are here already.
                ack = future.result() if future.done() else await asyncio.wait_for(future, TRY_S)
                if ack.error is None or ack.error.err_code in WRONG_LAST_SEQUENCE:
                    return ack, tries
                if ack.error.code != 503:
                    raise self._refusal(subject, ack.error.description)
                self._last_error = ack.error.description
            except nats.errors.MaxPayloadError:
                raise BusRefused(f"{subject}: {len(data):,} bytes exceed the server's largest payload") from None
            except TRANSIENT as error:
                if "permissions violation" in self._last_error.lower():
                    raise self._refusal(subject, self._last_error) from None
                self._last_error = self._last_error or str(error) or type(error).__name__
            finally:
                if future is not None and not future.done():
                    future.cancel()
            if time.monotonic() > give_up:
                raise self._unavailable(subject)
            await anyio.sleep(pause_s)
            pause_s = min(1.0, pause_s * 2)
        raise AssertionError("unreachable")

    def _refusal(self, subject: str, why: str) -> BusError:
        return BusRefused(f"the NATS server at {self.url} refuses {subject}: {why}")

    def _unavailable(self, subject: str) -> BusError:
        why = f" (last: {self._last_error})" if self._last_error else ""
        return BusUnavailable(f"no NATS server at {self.url} took {subject} within {self.patience_s:g} s{why}")

    async def call(self, subject: str, request: dict[str, Any]) -> dict[str, Any]:
        """Call the JetStream API, again while the connection is in trouble, and return its answer with any `error`.

        Raises:
            BusUnavailable: no answer within `patience_s`.
        """
        give_up = time.monotonic() + self.patience_s
        data = msgspec.json.encode(request) if request else b""
        while True:
            try:
                answer: dict[str, Any] = msgspec.json.decode((await self.request(subject, data)).data)
            except TRANSIENT as error:
                self._last_error = str(error)
            else:
                if (answer.get("error") or {}).get("code") != 503:
                    return answer
                self._last_error = str(answer["error"].get("description"))
            if time.monotonic() > give_up:
                raise self._unavailable(subject)
            await anyio.sleep(0.2)

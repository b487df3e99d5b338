"""The bounds of a gateway that need no gateway: limits by the hour, members folded from facts, slow bodies."""

import math
from contextlib import ExitStack

import anyio
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.http import limits
from gateway.http.caller import network_of
from gateway.http.limits import HOUR_S, PER_HOUR, RateLimits
from gateway.http.rules import AtATime
from gateway.members import MemberIndex, Members, NotInvited, secret_hash_of
from mesh.errors import AlreadyPosted
from mesh.events import MemberAdmitted, MemberInvited, MemberRevoked
from mesh.memory import MemoryHub
from mesh.web.connection import Connection
from mesh.web.listening import listen, serve_app
from mesh.wire import HUB_LOG, Post


class Clock:
    """Time that a test tells."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("what", PER_HOUR)
def test_so_many_in_any_hour_and_the_refusal_says_when_to_come_back(what: str) -> None:
    clock = Clock()
    rates = RateLimits(clock)
    for n in range(PER_HOUR[what]):
        clock.now = n * HOUR_S / PER_HOUR[what] / 2
        rates.take(what, "ann")
    with pytest.raises(HTTPException) as refused:
        rates.take(what, "ann")
    assert refused.value.status_code == 429
    wait_s = int((refused.value.headers or {})["Retry-After"])
    assert wait_s == math.ceil(HOUR_S - clock.now)
    rates.take(what, "bob")
    clock.now += wait_s - 1
    with pytest.raises(HTTPException):
        rates.check(what, "ann")
    clock.now += 1
    rates.take(what, "ann")


def test_counts_of_many_addresses_take_bounded_memory_and_the_last_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_KNOWN", 10)
    rates = RateLimits(Clock())
    for n in range(1000):
        rates.take("registration", f"192.0.2.{n}")
    for _ in range(PER_HOUR["registration"] - 1):
        rates.take("registration", "192.0.2.999")
    assert len(rates._done) == 10
    with pytest.raises(HTTPException):
        rates.check("registration", "192.0.2.999")


def test_the_addresses_of_one_machine_count_as_one() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:2") == "2001:db8::"
    assert network_of("2001:db8:0:1::1") != network_of("2001:db8::1")
    assert network_of("::ffff:192.0.2.7") == network_of("192.0.2.7") == "192.0.2.7"


def test_so_many_of_one_and_of_all_run_at_a_time_and_each_that_ends_makes_room() -> None:
    running = AtATime(4, 3, "too many")
    with ExitStack() as anns, ExitStack() as others:
        for _ in range(3):
            anns.enter_context(running.one("ann"))
        with pytest.raises(HTTPException, match="too many"), running.one("ann"):
            pass
        others.enter_context(running.one("bob"))
        with pytest.raises(HTTPException, match="too many"), running.one("cid"):
            pass
        anns.close()
        others.enter_context(running.one("ann"))


async def test_many_wrong_keys_at_a_time_ask_the_log_once_or_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    members = Members(await MemoryHub().arena(HUB_LOG, create=True))
    asked = 0
    reached_head = members.reader.reached_head

    async def counted() -> None:
        nonlocal asked
        asked += 1
        await reached_head()

    monkeypatch.setattr(members.reader, "reached_head", counted)

    async def wrong(number: int) -> None:
        assert await members.holder(f"{number:064x}") is None

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(members.reader.follow)
        async with anyio.create_task_group() as callers:
            for number in range(500):
                callers.start_soon(wrong, number)
        key = await members.admit("ann")
        assert await members.holder(key)
        tasks.cancel_scope.cancel()
    assert 1 <= asked <= 2


async def test_two_gateways_admit_a_name_once_and_an_invitation_no_more_often_than_it_says() -> None:
    hub = MemoryHub()
    bus = await hub.arena(HUB_LOG, create=True)
    one, other = Members(bus), Members(bus)
    async with anyio.create_task_group() as tasks:
        for members in (one, other):
            tasks.start_soon(members.reader.follow)
        invited = one.invited(await one.invite(arenas=("a",)), "a")
        for_a = await one.invite(arenas=("a",))
        with pytest.raises(NotInvited, match="is not for arena b; it is for a"):
            one.invited(for_a, "b")
        key = await one.admit("gpu-7.lab", invited=invited)
        with pytest.raises(AlreadyPosted):
            await other.admit("gpu-7_lab")  # the same author
        with pytest.raises(NotInvited, match="the invitation is used up"):
            await other.admit("late", invited=invited)
        holder = await other.holder(key)
        assert holder
        assert (holder.name, holder.shown_as, holder.arenas) == ("gpu-7_lab", "gpu-7.lab", ("a",))
        await other.revoke("gpu-7.lab")
        await one.reader.reached(await bus.head())
        assert await one.holder(key) is None
        tasks.cancel_scope.cancel()
    replayed = Members(bus)
    await replayed.reader.catch_up()
    assert _state(replayed.index) == _state(one.index) == _state(other.index)


async def test_only_a_hub_lets_members_in_and_anybody_may_revoke_one() -> None:
    bus = await MemoryHub().arena(HUB_LOG, create=True)
    forged, secret = "f" * 64, "e" * 32
    for event in (
        MemberAdmitted(name="boss", shown_as="boss", role="admin", key_hash=secret_hash_of(forged)),
        MemberInvited(invite=secret_hash_of(secret)[:16], secret_hash=secret_hash_of(secret)),
    ):
        await bus.post(Post.new("mallory", event))
    members = Members(bus)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(members.reader.follow)
        assert await members.holder(forged) is None
        with pytest.raises(NotInvited, match="is not known here"):
            members.invited(secret, "a")
        key = await members.admit("ann")
        assert await members.holder(key)
        await members.reader.reached(await bus.post(Post.new("mallory", MemberRevoked(name="ann"))))
        assert await members.holder(key) is None
        tasks.cancel_scope.cancel()


def _state(index: MemberIndex) -> object:
    return index.members, index.invitations, index.used, index.ended


class _Quick(Connection):
    body_s = 0.3


async def test_a_body_has_a_time_of_its_own_and_a_client_that_is_slower_is_dropped() -> None:
    async def read(request: Request) -> Response:
        return PlainTextResponse(f"{len(await request.body())}")

    app = Starlette(routes=[Route("/", read, methods=["POST"])])
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"
    ready = anyio.Event()
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]

        async def serve() -> None:
            await serve_app(app, listening, connection=_Quick, on_ready=ready.set)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            await ready.wait()
            with anyio.fail_after(60):
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    await stream.send(head + b"12345")
                    assert (await stream.receive()).startswith(b"HTTP/1.1 200 OK")
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    await stream.send(head + b"123")
                    with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                        await stream.receive()
            tasks.cancel_scope.cancel()

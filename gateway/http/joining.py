"""Machines become members that connect to the log themselves: `/ca.pem`, `/api/invitation`, `/api/join`, `/api/renew`.

`POST /api/invitation` says what an invitation is for, and uses nothing up. Who joins proves that it has the private key
of its nkey, which never leaves it, and gets a JWT for that nkey. Said again with the same key, a join gets another JWT,
so that an answer that was lost costs no invitation.
"""

import base64
import binascii
import time
from contextlib import suppress
from typing import Annotated, cast

import anyio.to_thread
import msgspec
from msgspec import Meta
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute

from gateway.http.body import json_of
from gateway.http.entry import client_address, gateway_of, json_answer, public
from gateway.http.register import check_free
from gateway.members import JOINING_ROLES, NotInvited, UsedUp, author_token
from mesh.accounts.hub_folder import HubFolder
from mesh.accounts.issuing import issue
from mesh.accounts.nkey import check_user_key, is_signed
from mesh.accounts.rights import MemberRole
from mesh.board import Board
from mesh.bounds import MAX_USD_PER_HOUR
from mesh.errors import AlreadyPosted, UnknownName
from mesh.events import MemberAdmitted, MemberInvited
from mesh.membership import join_words, renewal_words, two_clocks
from mesh.money import cost_line, pays_with, why_unpaid

_LATEST_S = 253_402_300_799.0
"""The last second of the year 9999; no calendar has later ones."""


class _Secret(msgspec.Struct):
    """What one asks with who has an invitation; name and nkey only where it has joined before."""

    secret: str
    name: str = ""
    nkey: str = ""
    price_per_hour_usd: Annotated[float, Meta(ge=0, le=MAX_USD_PER_HOUR)] | None = None
    slots: Annotated[int, Meta(ge=0, le=1_000_000)] = 1


class _Wish(msgspec.Struct):
    """What one who joins, or renews, sends; `proof` is its signature in base64."""

    nkey: str
    at: Annotated[float, Meta(ge=0, le=_LATEST_S)]
    proof: str
    secret: str = ""
    name: str = ""


async def _ca(request: Request) -> Response:
    return PlainTextResponse(_hub(request).ca, media_type="application/x-pem-file")


async def _look(request: Request) -> Response:
    gateway, _ = gateway_of(request), _hub(request)
    asked = await json_of(request, _Secret)
    known = gateway.members.joined_before(asked.name, asked.nkey, asked.secret)
    invited = known or await _invited(request, asked.secret)
    costs, unpaid = {}, {}
    for arena in invited.arenas:
        with suppress(UnknownName):
            board, price = (await gateway.arenas.find(arena)).door.follower.board, asked.price_per_hour_usd
            if board.opened:
                costs[arena] = cost_line(
                    board, board.time, more_per_hour_usd=price or 0.0, more_slots=asked.slots, name=asked.name
                )
                unpaid[arena] = _unpaid(board, asked.name, price)
    answer = {"role": invited.role, "arenas": invited.arenas, "owner": invited.owner}
    return json_answer(answer | {"costs": costs, "unpaid": unpaid})


def _unpaid(board: Board, name: str, price: float | None) -> str:
    """Return why the budget of an arena does not pay for a worker, "" if it does."""
    if why := why_unpaid(board, name, "", price):
        return why
    if pays_with(board, board.time, price or 0.0, worker_class="", name=name):
        return ""
    return (
        f"the budget of arena {board.arena} pays for no further run: its operator grants more (mesh budget grant USD)"
    )


async def _join(request: Request) -> Response:
    gateway, _ = gateway_of(request), _hub(request)
    wish = await json_of(request, _Wish)
    name = author_token(wish.name)
    _check_proof(wish, join_words(wish.name, wish.nkey, wish.at, wish.secret))
    if known := gateway.members.joined_before(name, wish.nkey, wish.secret):
        return await _answer(request, known, 200)
    await _invited(request, wish.secret)  # before the turn of others is kept from them
    async with gateway.joining:  # a key that joins twice at a time would have two names, of which one is never revoked
        if known := gateway.members.joined_before(name, wish.nkey, wish.secret):
            return await _answer(request, known, 200)
        return await _answer(request, await _admitted(request, name, wish), 201)


async def _admitted(request: Request, name: str, wish: _Wish) -> MemberAdmitted:
    """Admit a member. An invitation that holds may be shown in vain so often, and no more: each time, logs are read.

    Raises:
        HTTPException: 403, the key is that of another member; 409, the name or the invitation is used; 429.
    """
    gateway, address = gateway_of(request), client_address(request)
    taken = f"the name {wish.name} is taken; choose another one with --name"
    if other := gateway.members.index.of_nkey(wish.nkey):
        why = f"was revoked: {other.revoked}" if other.revoked else "has this key: remove its files, or keep its name"
        raise HTTPException(403, f"member {other.admitted.name} {why}")
    invited = await _invited(request, wish.secret)
    gateway.limits.take("join", address)
    await check_free(gateway, name, taken)
    try:
        admitted = await gateway.members.join(name, wish.nkey, shown_as=wish.name, invited=invited)
    except AlreadyPosted:
        raise HTTPException(409, taken) from None
    except NotInvited as error:
        raise HTTPException(409, str(error)) from None
    gateway.limits.give_back("join", address)
    return admitted


async def _renew(request: Request) -> Response:
    gateway, address = gateway_of(request), client_address(request)
    _hub(request)
    wish = await json_of(request, _Wish)
    _check_proof(wish, renewal_words(wish.nkey, wish.at))
    if gateway.members.index.of_nkey(wish.nkey) is None:  # another gateway may have admitted it just now
        gateway.limits.take("join", address)
        await gateway.members.reader.reached_head()
    known = gateway.members.index.of_nkey(wish.nkey)
    if known is None:
        raise HTTPException(403, "this key is not that of a member; ask for an invitation")
    if known.revoked:
        raise HTTPException(403, f"member {known.admitted.name} was revoked: {known.revoked}")
    return await _answer(request, known.admitted, 200)


def _hub(request: Request) -> HubFolder:
    """Return the keys of the hub.

    Raises:
        HTTPException: 404, nobody can join here.
    """
    found = gateway_of(request).hub
    if found is None:
        raise HTTPException(404, "nobody can join here: this gateway was not started by mesh hub start")
    return found


def _check_proof(wish: _Wish, words: bytes) -> None:
    """Check the clock, and that who asks has the private key.

    Raises:
        HTTPException: 400, one of them is wrong.
    """
    check_user_key(wish.nkey)
    if trouble := two_clocks(wish.at, time.time()):
        raise HTTPException(400, trouble)
    try:
        proof = base64.b64decode(wish.proof, validate=True)
    except (binascii.Error, ValueError):
        proof = b""
    if not is_signed(wish.nkey, words, proof):
        raise HTTPException(400, "the proof was not signed with the private key of this nkey")


async def _invited(request: Request, secret: str) -> MemberInvited:
    """Return the invitation, also where it was made just now; who names too many that do not hold has to wait.

    Raises:
        HTTPException: 403, it does not exist, or is not for this; 409, it was used; 429.
    """
    gateway, address = gateway_of(request), client_address(request)
    members = gateway.members
    gateway.limits.check("join", address)
    try:
        try:
            invited = members.invited(secret, None)
        except UsedUp:
            raise
        except NotInvited:
            await members.reader.reached_head()
            invited = members.invited(secret, None)
    except NotInvited as error:
        gateway.limits.count("join", address)
        raise HTTPException(409 if isinstance(error, UsedUp) else 403, str(error)) from None
    if invited.role not in JOINING_ROLES or not invited.arenas:
        raise HTTPException(403, "this invitation is for a gateway; mesh hub invite makes one for mesh join")
    return invited


async def _answer(request: Request, member: MemberAdmitted, status: int) -> Response:
    hub, lifetime_s = _hub(request), gateway_of(request).lifetime_s

    def issued() -> str:
        role = cast(MemberRole, member.role)  # `issue` checks it
        return issue(hub, name=member.name, role=role, arenas=member.arenas, public=member.nkey, lifetime_s=lifetime_s)

    jwt = await anyio.to_thread.run_sync(issued)
    answer = {
        "jwt": jwt,
        "name": member.name,
        "role": member.role,
        "arenas": member.arenas,
        "nats": hub.server_url,
    }
    return json_answer(answer, status)


JOINING_ROUTES: list[BaseRoute] = [
    public("/ca.pem", _ca),
    public("/api/invitation", _look, "POST"),
    public("/api/join", _join, "POST"),
    public("/api/renew", _renew, "POST"),
]

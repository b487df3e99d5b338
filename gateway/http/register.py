"""`POST /api/register` and `POST /api/admin/agents`: who asks gets a key, once."""

from contextlib import aclosing

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.http.body import json_of
from gateway.http.entry import (
    Gateway,
    base_of,
    client_address,
    gateway_of,
    identify,
    json_answer,
    public,
    served_named,
)
from gateway.members import MEMBER_ROLES, NotInvited, author_token
from mesh.errors import AlreadyPosted
from mesh.events import MemberInvited
from mesh.own_names import is_reserved
from mesh.wire import Pattern

_TAKEN = "agent id already taken"


class _Wish(msgspec.Struct):
    id: str = ""


async def _register(request: Request) -> Response:
    gateway, address = gateway_of(request), client_address(request)
    invited = _invitation(request)  # before a stranger is told which arenas there are
    await served_named(request)
    gateway.limits.check("registration", address)
    shown_as = (await json_of(request, _Wish)).id
    author = author_token(shown_as)
    await check_free(gateway, author, _TAKEN)
    gateway.limits.take("registration", address)
    try:
        key = await gateway.members.admit(shown_as, arenas=gateway.arenas.only, invited=invited)
    except AlreadyPosted:
        gateway.limits.give_back("registration", address)
        raise HTTPException(409, _TAKEN) from None
    except NotInvited as error:
        raise HTTPException(403, str(error)) from None
    return json_answer({"id": shown_as, "api_key": key}, 201)


def _invitation(request: Request) -> MemberInvited | None:
    """Return the invitation in a path; None where nobody needs one.

    Raises:
        HTTPException: 403, it is not valid, or one is needed.
    """
    gateway = gateway_of(request)
    if secret := request.state.invite:
        try:
            invited = gateway.members.invited(secret, request.state.arena)
        except NotInvited as error:
            raise HTTPException(403, str(error)) from None
        if invited.role not in MEMBER_ROLES:
            raise HTTPException(403, f"this invitation is for a {invited.role}, which joins by mesh join")
        return invited
    if not gateway.is_open:
        raise HTTPException(403, f"this hub asks for an invitation: set HUB={base_of(request)}/i/INVITE")
    return None


async def check_free(gateway: Gateway, author: str, taken: str) -> None:
    """Check that no member has a name, and nobody who posts without a gateway.

    Raises:
        HTTPException: 409, somebody has it.
    """
    if is_reserved(author) or author in gateway.members.index.members:
        raise HTTPException(409, taken)
    for name in await gateway.arenas.names():
        bus = (await gateway.arenas.find(name)).door.bus
        async with aclosing(bus.read(only=[Pattern(author=author)])) as batches:
            async for _ in batches:
                raise HTTPException(409, taken)


async def _admit(request: Request) -> Response:
    gateway = gateway_of(request)
    asking = await identify(request)
    if asking.role != "admin":
        raise HTTPException(401, "invalid admin key")
    shown_as = (await json_of(request, _Wish)).id
    if not shown_as:
        raise HTTPException(400, "id is required")
    await check_free(gateway, author_token(shown_as), "agent already exists")
    arenas = (request.state.arena,) if request.state.arena else asking.arenas
    if not all(map(asking.may_enter, arenas)):
        raise HTTPException(403, f"this key is for {', '.join(asking.arenas)}, not for arena {request.state.arena}")
    try:
        key = await gateway.members.admit(shown_as, arenas=arenas, owner=asking.author)
    except AlreadyPosted:
        raise HTTPException(409, "agent already exists") from None
    return json_answer({"id": shown_as, "api_key": key}, 201)


REGISTER_ROUTES: list[BaseRoute] = [
    public("/api/register", _register, "POST"),
    public("/api/admin/agents", _admit, "POST"),
]

"""`mesh hub invite`, `members` and `revoke`: what an operator says about members, over the hub's log."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mesh.accounts.hub_folder import HubFolder
from mesh.errors import BadInput, BusUnavailable
from mesh.invitation import Invitation
from mesh.jetstream.system import system_account
from mesh_cli.live.gateway import reach_members

if TYPE_CHECKING:
    from gateway.members import Members

EXTRA_OF_ROLE = {
    "worker": "mesh-swarm[worker]",
    "agent": "mesh-swarm[search]",
    "curator": "mesh-swarm[search]",
    "observer": "mesh-swarm",
}
"""What a machine installs to be of use in a role."""


@asynccontextmanager
async def reach_hub_members(hub: HubFolder, arenas: Sequence[str] = ()) -> "AsyncIterator[Members]":
    """Open the members of a hub that runs.

    Raises:
        UnknownName: one of the arenas does not exist.
        BusUnavailable: the hub does not run.
    """
    try:
        async with reach_members(hub.own_url, arenas, credentials=hub.hub_creds) as members:
            yield members
    except BusUnavailable as error:
        raise BusUnavailable(f"the hub of {hub.folder} does not answer: mesh hub start runs it ({error})") from None


async def make_invitation(
    hub: HubFolder, role: str, arenas: Sequence[str], *, uses: int, ttl_s: float, owner: str
) -> Invitation:
    """Make an invitation, which the log keeps as a hash alone.

    Raises:
        UnknownName: one of the arenas does not exist.
        BusUnavailable: the hub does not run.
    """
    if not arenas:
        raise BadInput("--arena is missing: name the arena in which the member takes part")
    async with reach_hub_members(hub, arenas) as members:
        secret = await members.invite(arenas=tuple(arenas), role=role, uses=uses, ttl_s=ttl_s, owner=owner)
    host = hub.settings.hosts[0]
    place = f"{f'[{host}]' if ':' in host else host}:{hub.settings.door_port}"
    return Invitation(bytes.fromhex(secret), hub.ca_hash, place)


async def revoke_member(hub: HubFolder, name: str, reason: str) -> tuple[str, float]:
    """Revoke a member or an invitation; return what was revoked, and after how many seconds it was cut off.

    Raises:
        UnknownName: there is none of this name.
        BadInput: it is revoked and renews nothing, but a key is missing, so its connections go on until they end.
        BusUnavailable: the hub does not run.
    """
    from gateway.cut_off import cut_off

    async with reach_hub_members(hub) as members, system_account(hub.own_url, hub.sys_creds) as system:
        began = time.perf_counter()
        revoked = await members.revoke(name, reason)
        if (known := members.index.members.get(revoked)) and known.admitted.nkey:
            try:
                await cut_off(hub, system, known.admitted.nkey)
            except BadInput as error:
                raise BadInput(
                    f"{revoked} is revoked, but stays connected until its credentials end: {error}"
                ) from None
        return revoked, time.perf_counter() - began

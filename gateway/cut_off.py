"""Cuts off whom the log has revoked: the server ends their connections, and takes no new ones.

A revocation is a fact. What the server knows of it follows from the log, so it does not matter which command, gateway
or warden said it, and a hub that was killed in between makes up for it at its next start.
"""

from typing import Protocol

import anyio.to_thread

from gateway.members import Members
from mesh.accounts.hub_folder import HubFolder
from mesh.accounts.issuing import revoke_key, revoked_keys


class Claims(Protocol):
    """What takes the claims of an account: the system account of a running server."""

    async def push_claims(self, jwt: str) -> None:
        """Give the server the claims of an account.

        Raises:
            BusError: it does not take them.
        """


async def cut_off_revoked(members: Members, hub: HubFolder, system: Claims) -> None:
    """Cut off all who are revoked, and then each one who is, until cancelled; `members.reader.follow` must run.

    Raises:
        BusError: the server does not take the claims.
    """
    await system.push_claims(hub.claims("MEMBERS"))  # a push that a kill prevented
    done = set(revoked_keys(hub))
    while True:
        seq = members.reader.seq
        for nkey in members.index.revoked_nkeys():
            if nkey not in done:
                await cut_off(hub, system, nkey)
                done.add(nkey)
        await members.reader.reached(seq + 1)


async def cut_off(hub: HubFolder, system: Claims, nkey: str) -> None:
    """Have the server end the connections of an nkey, and take no more; the keys of the hub keep it.

    Raises:
        BusError: the server does not take the claims.
    """
    await system.push_claims(await anyio.to_thread.run_sync(revoke_key, hub, nkey))

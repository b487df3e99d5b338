"""`mesh hub invite`, `mesh hub members`, `mesh hub revoke`: who takes part in a hub."""

import sys
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh_cli.app import Json
from mesh_cli.commands.hub import HubDir, hub
from mesh_cli.exit import run


@hub.command
def invite(
    role: Annotated[
        Literal["worker", "agent", "curator", "observer"],
        Parameter(help="What it may do: run trials, propose, decide as a curator does, or only read."),
    ],
    *,
    arena: Annotated[tuple[str, ...], Parameter(name="--arena", negative="", help="For this arena; repeatable.")] = (),
    uses: Annotated[int, Parameter(help="Machines that may join with it.", validator=Number(gte=1))] = 1,
    ttl: Annotated[str, Parameter(help="How long it holds, such as 24h or 7d; 0 is for ever.")] = "24h",
    owner: Annotated[
        str, Parameter(help="Who answers for them; proof of a result may need a worker of another owner.")
    ] = "",
    directory: HubDir = None,
) -> int:
    """Make an invitation, and print the line to paste on a machine. It is shown this once: the log keeps its hash.

    Example: mesh hub invite worker --arena nanolm --uses 5
    """

    async def work() -> None:
        from mesh.times import seconds
        from mesh_cli.hub.members import EXTRA_OF_ROLE, make_invitation
        from mesh_cli.hub.serving import opened_hub

        ttl_s = seconds(ttl)
        made = await make_invitation(opened_hub(directory), role, arena, uses=uses, ttl_s=ttl_s, owner=owner)
        print(f"uvx --from '{EXTRA_OF_ROLE[role]}' mesh join {made}")
        print(f"mesh: where the mesh is installed: mesh join {made}", file=sys.stderr)

    return run(work)


@hub.command
def members(*, directory: HubDir = None, json: Json = False) -> int:
    """List the members and the invitations of a hub.

    Example: mesh hub members
    """

    async def work() -> None:
        from mesh_cli.hub.members import reach_hub_members
        from mesh_cli.hub.serving import opened_hub
        from mesh_cli.live.gateway import members_text

        async with reach_hub_members(opened_hub(directory)) as known:
            print(members_text(known.index, json=json))

    return run(work)


@hub.command
def revoke(
    name: str,
    *,
    reason: Annotated[str, Parameter(allow_leading_hyphen=True, help="Why, in a sentence.")] = "",
    directory: HubDir = None,
) -> int:
    """Revoke a member, or an invitation, for good: its connections end at once, and it gets no new ones.

    Example: mesh hub revoke gpu7 --reason "its owner left"
    """

    async def work() -> None:
        from mesh_cli.hub.members import revoke_member
        from mesh_cli.hub.serving import opened_hub

        revoked, took_s = await revoke_member(opened_hub(directory), name, reason)
        print(f"mesh: revoked after {took_s * 1000:.0f} ms", file=sys.stderr)
        print(revoked)

    return run(work)

"""A gateway that runs with the hub's own credentials tells the logs which workers among the members are gone."""

from gateway.http.arenas import ServedArena
from mesh.silent import report_silent


async def report_silent_members(served: ServedArena) -> None:
    """Post that workers have left that do not answer, until cancelled: members may not ask each other."""
    await report_silent(served.door.bus, served.door.follower)

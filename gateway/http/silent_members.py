"""A gateway that runs with the hub's own credentials tells the logs which workers among the members are gone."""

from gateway.http.arenas import ServedArena
from gateway.members import HUB_AUTHOR
from mesh.events import WorkerLeft
from mesh.silent import report_silent
from mesh.wire import Post


async def report_silent_members(served: ServedArena) -> None:
    """Post that workers have left that do not answer, until cancelled: members may not ask each other."""
    door = served.door

    async def post(event: WorkerLeft) -> None:
        await door.bus.post(Post.new(HUB_AUTHOR, event))

    await report_silent(door.bus, lambda: door.follower.board, post)

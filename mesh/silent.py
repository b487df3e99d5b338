"""Tells the log which workers are gone without a word: they were killed, are cut off, or their machine died.

The log alone cannot know it. Without this fact the slots of a dead worker count for ever: its runs fill the queue, and
races wait for its class. Workers ask each other; on a hub with accounts, its own processes ask its members. Whoever
asks says it in the name of the hub: only under that name it counts of somebody else (`mesh.hand_outs`), and no member
can have it.
"""

from random import sample, uniform

import anyio

from mesh.bus import ArenaBus
from mesh.errors import BusError, BusRefused
from mesh.events import WorkerLeft
from mesh.follow import Follower
from mesh.roll_call import names_to_ask, roll_call
from mesh.wire import HUB_AUTHOR, Post

ASK_EVERY_S = 10.0
"""Seconds between two roll calls of a worker, give or take half of it."""
GONE_AFTER_S = 40.0
"""Seconds without an answer after which a worker counts as gone. A new leader of the server takes less."""
AT_A_TIME = 16
"""How many others a worker asks in one round, drawn at random: a thousand workers do not ask a million times."""


async def report_silent(bus: ArenaBus, follower: Follower, boot: str = "") -> None:
    """Ask workers again and again, and post that those have left that do not answer; until cancelled.

    It ends at once for a member of a hub, whose own processes call the roll.

    Args:
        bus: the log of the arena.
        follower: follows that log, in another task.
        boot: boot id of the worker that asks, "" if it is none.
    """
    silent = dict[str, float]()
    while True:
        await anyio.sleep(uniform(0.5, 1.5) * ASK_EVERY_S)
        others = [other for other, life in follower.board.workers.items() if not life.left and other != boot]
        asked = sample(others, min(AT_A_TIME, len(others)))
        try:
            answering = await roll_call(bus, asked, names_to_ask(follower.board))
        except BusRefused:
            return
        now = anyio.current_time()
        silent = {other: since for other, since in silent.items() if other in others and other not in answering}
        for other in asked:
            if other not in answering and now - silent.setdefault(other, now) >= GONE_AFTER_S:
                await _report(bus, follower, other)


async def _report(bus: ArenaBus, follower: Follower, boot: str) -> None:
    """Post that a worker has left, if the server answers: where it does not, silence says nothing about the worker."""
    try:
        await bus.head()
        if boot in await roll_call(bus, [boot], names_to_ask(follower.board)):
            return
        left = WorkerLeft(boot=boot, reason="does not answer", silent=True)
        await follower.post_once(Post.new(HUB_AUTHOR, left))
    except BusError:
        return

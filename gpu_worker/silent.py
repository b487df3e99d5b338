"""Tells the log which other workers are gone without a word: they were killed, are cut off, or their machine died.

The log alone cannot know it. Without this fact the slots of a dead worker count for ever: its runs fill the queue, and
races wait for its class.
"""

from random import sample, uniform

import anyio

from gpu_worker.member import Membership
from mesh.errors import BusError, BusRefused
from mesh.events import WorkerLeft
from mesh.roll_call import roll_call

ASK_EVERY_S = 10.0
"""Seconds between two roll calls of a worker, give or take half of it."""
GONE_AFTER_S = 40.0
"""Seconds without an answer after which a worker counts as gone. A new leader of the server takes less."""
AT_A_TIME = 16
"""How many others a worker asks in one round, drawn at random: a thousand workers do not ask a million times."""


async def report_silent(member: Membership) -> None:
    """Ask other workers again and again, and post that those have left that do not answer; until cancelled.

    It ends at once for a member of a hub, whose own processes call the roll.
    """
    silent = dict[str, float]()
    while True:
        await anyio.sleep(uniform(0.5, 1.5) * ASK_EVERY_S)
        others = [boot for boot, life in member.board.workers.items() if not life.left and boot != member.boot]
        asked = sample(others, min(AT_A_TIME, len(others)))
        try:
            answering = await roll_call(member.bus, asked)
        except BusRefused:
            return
        now = anyio.current_time()
        silent = {boot: since for boot, since in silent.items() if boot in others and boot not in answering}
        for boot in asked:
            if boot not in answering and now - silent.setdefault(boot, now) >= GONE_AFTER_S:
                await _report(member, boot)


async def _report(member: Membership, boot: str) -> None:
    """Post that a worker has left, if the server answers: where it does not, silence says nothing about the worker."""
    try:
        await member.bus.head()
        if boot in await roll_call(member.bus, [boot]):
            return
        await member.post(WorkerLeft(boot=boot, reason="does not answer", silent=True))
    except BusError:
        return

"""The curator: admits proposals to the queue and gives verdicts.

What it decides is `agents.selection.decide`, a pure function of the log; keys make its posts idempotent, so any number
of curators may run and none leads.
"""

import datetime as dt
from collections.abc import Sequence
from typing import ClassVar

from agents.selection import decide
from mesh.agent.protocol import Context
from mesh.board import Board
from mesh.events import AnyEvent
from mesh.wire import Post


class Curator:
    """Decides whenever something happens, and once a second for what waits for time to pass."""

    listens: ClassVar[tuple[str, ...]] = (
        "arena.opened",
        "critique.posted",
        "proposal.posted",
        "proposal.promoted",
        "run.finished",
        "worker.joined",
        "worker.left",
    )
    only_latest: ClassVar[bool] = True
    every_s: ClassVar[float] = 1.0

    def __init__(self, context: Context) -> None:
        self._name = context.name

    async def handle(self, post: Post, board: Board) -> Sequence[AnyEvent]:
        """Return what is due."""
        return decide(board, board.time)

    async def tick(self, now: dt.datetime, board: Board) -> Sequence[AnyEvent]:
        """Return what has become due."""
        return decide(board, now)

"""The curator: admits proposals to the queue, kills losers early, gives verdicts, and closes the arena when it is done.

Its decisions are pure functions of the log (`agents.curation`). The key of a fact makes its posts idempotent, so any
number of curators may run and none leads. Only learning curves that still grow come from elsewhere: a kill that rests
on one carries it as evidence.
"""

import datetime as dt
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

import msgspec

from agents.curation.admission import decide
from agents.curation.early_stopping import judge_curve, rungs_between
from mesh.agent.protocol import Context
from mesh.board import Board
from mesh.events import AnyEvent, CurvePoint
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
    role: ClassVar[str] = "curator"
    every_s: ClassVar[float] = 1.0
    hears: ClassVar[str] = "curve.>"

    def __init__(self, context: Context) -> None:
        self._name = context.name
        self._curves: dict[str, list[CurvePoint]] = {}

    async def handle(self, post: Post, board: Board) -> Sequence[AnyEvent]:
        """Return what is due."""
        return decide(board, board.time)

    async def joined(self, board: Board) -> Sequence[AnyEvent]:
        """Return what is due."""
        return decide(board, board.time)

    async def tick(self, now: dt.datetime, board: Board) -> Sequence[AnyEvent]:
        """Return what has become due."""
        return decide(board, now)

    def heard(self, topic: str, data: bytes, board: Board) -> Sequence[AnyEvent]:
        """Take in a point of a learning curve, and judge_curve its run at every rung."""
        if board.opened is None or not board.opened.spec.selection.halving:
            return []
        point: CurvePoint | None = None
        with suppress(msgspec.MsgspecError):
            point = msgspec.json.decode(data, type=CurvePoint)
        name = topic.removeprefix("curve.")
        if point is None or name not in board.unfinished:
            return []
        if name not in self._curves:
            self._curves = {run: curve for run, curve in self._curves.items() if run in board.unfinished}
        curve = self._curves.setdefault(name, [])
        if curve and point.fraction < curve[-1].fraction:
            curve.clear()  # another attempt began
        before = curve[-1].fraction if curve else 0.0
        curve.append(point)
        rungs = rungs_between(board.opened.spec.selection, before, point.fraction)
        return [word for rung in rungs if (word := judge_curve(board, name, curve, rung))][:1]

"""The curator: admits proposals to the queue, stops bad runs early, gives verdicts, and closes the arena.

Its decisions are pure functions of the log (`agents.curation`). Where they rest on single items, it first posts what a
comparison of the items says. The log accepts each fact only once, so any number of
curators may run, and none is a leader. Only live learning curves come from outside the log: a kill that depends on one
carries the curve as evidence. How far the queue is comes from the server, if it tells us (`agents.curation.keeper`).
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import ClassVar

import msgspec

from agents.curation.admission import decide
from agents.curation.audits import Accuser, due_audits, with_other_owners
from agents.curation.early_stopping import judge_curve, rungs_between
from agents.curation.item_proof import compared, pairs_to_compare
from agents.curation.keeper import QueueKeeper
from mesh.agent.protocol import Context
from mesh.board import Board, Run
from mesh.bus import HandedOut
from mesh.decoding import decode_json
from mesh.errors import ObjectMissing
from mesh.events import AnyEvent, ArenaClosed, CurvePoint
from mesh.items import ItemScores
from mesh.live_curves import CURVES, believed_run
from mesh.wire import Post


class Curator:
    """Decides after every fact it listens to, and once a second for decisions that depend on time."""

    listens: ClassVar[tuple[str, ...]] = (
        "arena.opened",
        "items.compared",
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
    hears: ClassVar[str] = CURVES

    def __init__(self, context: Context) -> None:
        self._name, self._items = context.name, context.items
        self._queue, self._owners = context.queue, context.owners
        self._keeper, self._accuser = QueueKeeper(), Accuser()
        self._curves: dict[str, list[CurvePoint]] = {}

    async def handle(self, post: Post, board: Board) -> Sequence[AnyEvent]:
        """Return the decisions that are due."""
        return await self._decide(board, board.time)

    async def joined(self, board: Board) -> Sequence[AnyEvent]:
        """Return the decisions that are due."""
        return await self._decide(board, board.time)

    async def tick(self, now: dt.datetime, board: Board) -> Sequence[AnyEvent]:
        """Return the decisions that are due now, and requests of runs that the queue has lost."""
        queue: Mapping[str, HandedOut] = await self._queue.handed_out() if self._queue and board.unfinished else {}
        return [*await self._decide(board, now), *self._keeper.decide(board, now, queue)]

    async def _decide(self, board: Board, now: dt.datetime) -> Sequence[AnyEvent]:
        """Return the comparisons of items that decisions wait for; without any, the decisions."""
        facts = []
        for one, other in pairs_to_compare(board) if self._items else []:
            try:
                facts.append(compared(board, one, other, (await self._read(one), await self._read(other))))
            except ObjectMissing as error:
                facts.append(compared(board, one, other, error))
        if facts:
            return facts
        owners: Mapping[str, str] = await self._owners.owners() if self._owners else {}
        decided = with_other_owners(board, decide(board, now), owners)
        audits = [] if any(isinstance(fact, ArenaClosed) for fact in decided) else due_audits(board, owners)
        return [*decided, *audits, *self._accuser.due(board, owners)]

    async def _read(self, run: Run) -> ItemScores:
        assert self._items is not None
        assert run.finished is not None
        assert run.finished.items is not None
        return await self._items.items(run.finished.items.sha256)

    def heard(self, topic: str, data: bytes, board: Board) -> Sequence[AnyEvent]:
        """Add a point to a learning curve, and judge its run at every rung it reaches."""
        if board.opened is None or not board.opened.spec.selection.halving:
            return []
        point: CurvePoint | None = None
        with suppress(msgspec.MsgspecError):
            point = decode_json(data, CurvePoint)
        name = believed_run(board, topic)
        if point is None or not name:
            return []
        if name not in self._curves:
            self._curves = {run: curve for run, curve in self._curves.items() if run in board.unfinished}
        curve = self._curves.setdefault(name, [])
        if curve and point.fraction < curve[-1].fraction:
            curve.clear()  # the run started again
        before = curve[-1].fraction if curve else 0.0
        curve.append(point)
        rungs = rungs_between(board.opened.spec.selection, before, point.fraction)
        return [verdict for rung in rungs if (verdict := judge_curve(board, name, curve, rung))][:1]

"""What an arena has spent, and what of the costs that authors say counts, as a board has it: of one arena.

It is folded by the code of the board, so that views, boards and commands count the same dollars. It is kept between the
batches of a projector; the file has it as of the checkpoint.
"""

import datetime as dt
from collections.abc import Container, Sequence
from typing import Self

import duckdb
import msgspec

from mesh import events as e
from mesh.records import JudgeTotal
from mesh.wire import Entry
from mesh.worker_costs import COSTING, KeptBooks, WorkerCosts

_BOOKS = "SELECT books FROM internal.checkpoints WHERE arena = ? AND books IS NOT NULL"
_TARGETS = """
SELECT proposal FROM internal.proposed WHERE arena = ? AND proposal IN (SELECT unnest(?::VARCHAR[]))
UNION ALL
SELECT run FROM internal.requested WHERE arena = ? AND run IN (SELECT unnest(?::VARCHAR[]))"""
_CALLS = (e.ModelAsked, e.ProposalPosted, e.CritiquePosted)


class Books:
    """The books of one arena; `awaited` are its runs that have not finished, and that no other has replaced."""

    def __init__(self, kept: KeptBooks, opened: e.ArenaOpened | None, awaited: Container[str]) -> None:
        self.spent: dict[str, float] = kept.spent
        self.judge: JudgeTotal = kept.judge
        self.worker_costs: WorkerCosts = kept.worker_costs
        self.opened, self.unfinished = opened, awaited
        self.time = dt.datetime.min.replace(tzinfo=dt.UTC)
        self._targets: set[str] = set()

    @classmethod
    def read(
        cls, db: duckdb.DuckDBPyConnection, arena: str, opened: e.ArenaOpened | None, awaited: Container[str]
    ) -> Self:
        """Return what the file says."""
        found = db.execute(_BOOKS, [arena]).fetchone()
        return cls(msgspec.json.decode(found[0], type=KeptBooks) if found else KeptBooks(), opened, awaited)

    def encoded(self) -> str:
        """Return what the file is to say."""
        return msgspec.json.encode(KeptBooks(self.spent, self.judge, self.worker_costs)).decode()

    def look_up(self, db: duckdb.DuckDBPyConnection, arena: str, entries: Sequence[Entry]) -> None:
        """Find in the file what the critiques of a batch are about that have a cost."""
        self._targets.clear()
        events = [entry.post.event for entry in entries if entry.post]
        if names := [event.target for event in events if isinstance(event, e.CritiquePosted) and event.cost]:
            found = db.execute(_TARGETS, [arena, names, arena, names]).fetchall()
            self._targets.update(name for (name,) in found)

    def may_count(self, event: e.CritiquePosted) -> bool:
        """Tell whether a critique has no cost, or is about something that is there."""
        return event.cost is None or event.target in self._targets

    def take(self, entry: Entry, event: e.AnyEvent, author: str, attempts: int) -> tuple[float, float] | None:
        """Take a fact that counts; return how many dollars of its cost count, and how many do not; None where all do.

        Args:
            entry: Its entry.
            event: The fact.
            author: Who posted it.
            attempts: Of a finish, how many attempts of the run have begun.
        """
        self.time = entry.time
        usd = counts = 0.0
        if isinstance(event, _CALLS):
            cost = event.cost
            if cost is not None and cost.usd is not None:
                usd, counts = cost.usd, self.worker_costs.count_usd(self, author, cost.usd)
                self.spent[author] = self.spent.get(author, 0.0) + counts
            if isinstance(event, e.ProposalPosted):
                self._targets.add(event.tree)
        elif isinstance(event, e.RunRequested):
            self._targets.add(event.run)
        elif isinstance(event, e.RunFinished) and event.judge:
            spec = self.opened.spec if self.opened else None
            use = self.worker_costs.stated.count_judge(author, event.judge, spec, attempts)
            usd, counts = event.judge.usd, use.usd
            self.judge.add(use)
        elif isinstance(event, e.ArenaOpened):
            if self.opened and event.version <= self.opened.version:
                return None
            self.opened = event
        if type(event) in COSTING:
            self.worker_costs.take(self, entry.time, author, event)
        return (counts, usd - counts) if counts < usd else None

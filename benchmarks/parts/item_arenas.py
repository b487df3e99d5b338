"""Arenas whose score is a mean over fixed items: the real curator decides, and every item is drawn once.

An item has a difficulty that all proposals share, and a part of its own for each proposal. Search and proof have other
items, unless `same` says that a careless score program ignores `MESH_SPLIT`. A cluster adds a part that all its items
share for a proposal.
"""

import datetime as dt
import math
import random
from collections.abc import Mapping

import msgspec

from agents.curation.admission import decide
from agents.curation.item_proof import compared, pairs_to_compare
from mesh import events as e
from mesh.items import ItemScores, kept, margin
from mesh.spec import ArenaSpec, ObjectiveSpec, SelectionSpec
from mesh.testing import SPEC, Log, content_hash, git_hash

BASE = git_hash("base")
"""The baseline."""

DIFFICULTY, OWN = 0.35, 0.111
"""Standard deviations of an item's shared part and of its own part; as measured on queries of a search engine."""


class ItemArena:
    """An arena whose runs are answered at once. `proof_runs` counts those of the lanes confirm and control."""

    def __init__(
        self,
        gains: Mapping[str, float],
        seed: str,
        *,
        count: int = 300,
        clusters: int = 0,
        same: bool = False,
        named: bool = True,
        spec: ArenaSpec | None = None,
    ) -> None:
        self.gains = {git_hash(name): gain for name, gain in {"base": 0.0, **gains}.items()}
        self.seed, self.count, self.clusters, self.same, self.named = seed, count, clusters, same, named
        self.log = Log(spec or by_items())
        self.log.open()
        self.log.add("w", e.WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=20))
        self.log.propose(BASE, how="baseline")
        for number, tree in enumerate(gains):
            self.log.propose(tree, f"author-{number}")
        self.vectors: dict[str, ItemScores] = {}
        self.proof_runs = 0

    def items(self, tree: str, lane: str) -> ItemScores:
        """Return the items of a proposal: those of search, or those of proof."""
        split = "confirm" if self.same or lane in e.PROOF else "search"
        shared, own = random.Random(f"{self.seed} {split}"), random.Random(f"{self.seed} {split} {tree}")
        labels = tuple(number * self.clusters // self.count for number in range(self.count)) if self.clusters else ()
        parts = [own.gauss(0, OWN / math.sqrt(2)) for _ in range(self.clusters)]
        rest = OWN / math.sqrt(2) if self.clusters else OWN
        values = tuple(
            0.5
            + self.gains[tree]
            + shared.gauss(0, DIFFICULTY)
            + own.gauss(0, rest)
            + (parts[labels[number]] if labels else 0.0)
            for number in range(self.count)
        )
        return ItemScores(values, labels, content_hash(split) if self.named else "")

    def step(self) -> int | None:
        """Let the curator compare or decide once, and answer the runs; return how many, None if nothing is due."""
        board = self.log.board
        events: list[e.AnyEvent] = [
            compared(board, one, other, (self.vectors[one.requested.run], self.vectors[other.requested.run]))
            for one, other in pairs_to_compare(board)
        ]
        events = events or decide(board, board.time + dt.timedelta(seconds=60))
        for event in events:
            self.log.add("curator", event)
        runs = [event for event in events if isinstance(event, e.RunRequested)]
        for run in runs:
            self._finish(run)
        return len(runs) if events else None

    def _finish(self, run: e.RunRequested) -> None:
        items = self.vectors[run.run] = self.items(run.proposal, run.lane)
        self.proof_runs += run.lane in e.PROOF
        fact = msgspec.structs.replace(kept(items, items.to_bytes()), margin=margin(items))
        outcome = e.Scored(value=math.fsum(items.values) / self.count)
        ended = e.RunFinished(
            run=run.run, proposal=run.proposal, outcome=outcome, worker="w", worker_class="cpu", items=fact
        )
        self.log.add("w", ended)

    def play(self) -> None:
        """Let the curator decide until nothing is due."""
        for _ in range(2000):
            if self.step() is None:
                return
        raise AssertionError("something is always due")

    @property
    def promotions(self) -> int:
        """The number of promotions without the first champion."""
        return max(0, len(self.log.board.champions) - 1)


def by_items(fdr: float = 0.1) -> ArenaSpec:
    """Return the specification of an arena whose greater means over items are better."""
    objective = ObjectiveSpec(metric="quality", direction="maximize", noise="items")
    return msgspec.structs.replace(SPEC, objective=objective, selection=SelectionSpec(fdr=fdr))

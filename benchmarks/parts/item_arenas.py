"""Arenas whose score is a mean over fixed items: the real curator decides, and every item is drawn once.

An item has a difficulty that all proposals share, and a part of its own for each proposal. Search and proof have other
items, unless `same` says that a careless score program ignores `MESH_SPLIT`. A cluster adds a part that all its items
share for a proposal.
"""

import math
import random
from collections.abc import Mapping

import msgspec

from agents.curation.item_proof import compared, pairs_to_compare
from benchmarks.parts.null_arenas import CuratedArena
from mesh import events as e
from mesh.items import ItemScores, kept, margin
from mesh.spec import ArenaSpec, ObjectiveSpec, SelectionSpec
from mesh.testing import SPEC, content_hash, git_hash

DIFFICULTY, OWN = 0.35, 0.111
"""Standard deviations of an item's shared part and of its own part; as measured on queries of a search engine."""


class ItemArena(CuratedArena):
    """An arena whose scores are means of items. `proof_runs` counts the runs of the lanes confirm and control."""

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
        super().__init__(gains, spec or by_items())
        self.gains = {git_hash(name): gain for name, gain in {"base": 0.0, **gains}.items()}
        self.seed, self.count, self.clusters, self.same, self.named = seed, count, clusters, same, named
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

    def compare(self) -> list[e.AnyEvent]:
        """Return the comparisons of items that are due."""
        board = self.log.board
        return [
            compared(board, one, other, (self.vectors[one.requested.run], self.vectors[other.requested.run]))
            for one, other in pairs_to_compare(board)
        ]

    def answer(self, run: e.RunRequested) -> None:
        """Post the score of a run, with its items."""
        items = self.vectors[run.run] = self.items(run.proposal, run.lane)
        self.proof_runs += run.lane in e.PROOF
        fact = msgspec.structs.replace(kept(items, items.to_bytes()), margin=margin(items))
        outcome = e.Scored(value=math.fsum(items.values) / self.count)
        ended = e.RunFinished(
            run=run.run, proposal=run.proposal, outcome=outcome, worker="w", worker_class="cpu", items=fact
        )
        self.log.add("w", ended)


def by_items(fdr: float = 0.1) -> ArenaSpec:
    """Return the specification of an arena whose greater means over items are better."""
    objective = ObjectiveSpec(metric="quality", direction="maximize", noise="items")
    return msgspec.structs.replace(SPEC, objective=objective, selection=SelectionSpec(fdr=fdr))

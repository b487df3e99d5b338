"""Keeps facts small in memory: texts that many facts repeat are one object, and what is empty is shared.

A board keeps hundreds of thousands of runs, most of which name the same workers, classes, hashes and proposals.
"""

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from msgspec.structs import force_setattr

from mesh import events as e
from mesh.records import Critique, Proposal, Run

_NAMES: Mapping[type[Any], tuple[str, ...]] = MappingProxyType(
    {
        Critique: ("author", "rule"),
        e.ProposalPosted: ("tree", "commit"),
        e.KnobChange: ("file", "name"),
        e.Origin: ("name",),
        e.RunRequested: ("run", "proposal", "commit", "worker_class", "evaluator", "avoid"),
        e.RunStarted: ("run", "worker"),
        e.RunFinished: (
            "run",
            "proposal",
            "worker",
            "worker_class",
            "evaluator",
            "code",
            "data",
            "environment",
            "tier",
            "built",
        ),
        e.ItemsCompared: ("run", "over"),
        e.ProposalPromoted: ("proposal", "met"),
        e.ProposalRetired: ("proposal", "met"),
    }
)
"""The fields whose texts are names, which other facts repeat."""

_NOTHING: dict[Any, Any] = {}
"""Stands for every empty mapping of a frozen fact; nobody changes it."""


def share_all(proposals: Mapping[str, Proposal], runs: Mapping[str, Run]) -> None:
    """Let all names in the proposals and runs of a board that was read from bytes be shared, as `fold` does."""
    for tree, proposal in proposals.items():
        sys.intern(tree)
        proposal.author = sys.intern(proposal.author)
        proposal.runs, proposal.sealed = tuple(map(sys.intern, proposal.runs)), tuple(map(sys.intern, proposal.sealed))
        for fact in (proposal.event, *proposal.rulings, *proposal.critiques):
            share_names(fact)
    for name, run in runs.items():
        sys.intern(name)
        run.worker, run.begun = sys.intern(run.worker), tuple(map(sys.intern, run.begun))
        for fact in (run.requested, run.finished, *run.critiques, *(run.compared or {}).values()):
            share_names(fact)


def share_names(fact: Any) -> None:
    """Let the names in a fact be one object each with equal names elsewhere; the fact stays equal to what it was."""
    for name in _NAMES.get(type(fact), ()):
        force_setattr(fact, name, sys.intern(getattr(fact, name)))
    match fact:
        case e.ProposalPosted():
            force_setattr(fact, "parents", tuple(map(sys.intern, fact.parents)))
            for change in fact.knobs:
                share_names(change)
            share_names(fact.origin)
            if not fact.values:
                force_setattr(fact, "values", _NOTHING)
        case e.RunRequested() if not fact.thresholds:
            force_setattr(fact, "thresholds", _NOTHING)
        case e.RunFinished(outcome=e.Scored() as outcome) if not outcome.metrics:
            force_setattr(outcome, "metrics", _NOTHING)

"""Keeps facts small in memory: names that many facts repeat are one object, and texts stay in the log.

A board keeps hundreds of thousands of runs, most of which name the same workers, classes, hashes and proposals. Of a
proposal that is decided, and of its runs, it keeps what decisions need, but neither reasons, nor learning curves, nor
the ends of logs (`mesh.packing`). The texts of the latest `FULL` such proposals stay on the board. Those of others are
put back by `mesh.recall`, which reads them from the log by sequence; the oldest then leave the board again.
"""

import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import Any, TypeVar

from msgspec.structs import force_setattr, replace

from mesh import events as e
from mesh.records import Critique, Proposal, Run

_T = TypeVar("_T")
_O = TypeVar("_O", bound=e.Scored | e.Failed)

FULL = 200
"""Retired proposals whose texts a board keeps: the latest, and those that were read from the log last."""

_MESSAGE = 300
"""Characters that a board keeps of the message of a failure; what compares failures needs fewer."""

_NAMES: Mapping[type[Any], tuple[str, ...]] = MappingProxyType(
    {
        Critique: ("author", "rule"),
        e.ProposalPosted: ("tree", "commit"),
        e.KnobChange: ("file", "name"),
        e.Origin: ("how", "name"),
        e.RunRequested: ("run", "proposal", "commit", "worker_class", "evaluator", "avoid"),
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

_GET_NAMES = MappingProxyType({kind: attrgetter(*names) for kind, names in _NAMES.items()})

_NOTHING: dict[Any, Any] = {}
"""Stands for every empty mapping of a frozen fact; nobody changes it."""


def lean_finish(event: e.RunFinished) -> e.RunFinished:
    """Return the end of a run without its learning curve, its log and its CPU time, and with the start of its message.

    Of its cost, what is known stays: the seconds are those of the run.
    """
    return replace(
        event,
        outcome=lean_outcome(event.outcome),
        cost=lean_cost(event.cost),
        curve=(),
        log_tail="",
        packages="",
        build_cache="",
        cpu_s=0.0,
        predict_s=0.0,
    )


def lean_outcome(outcome: _O) -> _O:
    """Return an outcome with the start of its message."""
    if isinstance(outcome, e.Failed) and len(outcome.message) > _MESSAGE:
        return replace(outcome, message=outcome.message[:_MESSAGE])
    return outcome


def lean_cost(cost: e.Cost | None) -> e.Cost | None:
    """Return what a run cost beside its seconds, None if nothing."""
    return cost if cost and (cost.usd is not None or cost.tokens_in or cost.tokens_out) else None


def seqs_of_texts(proposal: Proposal, runs: Mapping[str, Run]) -> list[int]:
    """Return the sequences of the entries that have the texts of a proposal, of its critiques and of its runs."""
    own = [runs[name] for name in (*proposal.runs, *proposal.sealed)]
    critiques = [*proposal.critiques, *(critique for run in own for critique in run.critiques)]
    return [proposal.seq, *(run.finished_seq for run in own if run.finished), *(each.seq for each in critiques)]


def put_texts_back(proposal: Proposal, runs: Mapping[str, Run], events: Mapping[int, e.AnyEvent]) -> None:
    """Put the texts of a proposal back, from the facts at `seqs_of_texts` by their sequence; what lacks stays away."""
    proposal.is_lean = False
    if isinstance(posted := events.get(proposal.seq), e.ProposalPosted):
        proposal.event = replace(proposal.event, rationale=posted.rationale)
    proposal.critiques = tuple(_with_text(critique, events) for critique in proposal.critiques)
    for run in map(runs.__getitem__, (*proposal.runs, *proposal.sealed)):
        run.critiques = tuple(_with_text(critique, events) for critique in run.critiques)
        if isinstance(finished := events.get(run.finished_seq), e.RunFinished):
            share_names(finished)
            run.finished = finished


def _with_text(critique: Critique, events: Mapping[int, e.AnyEvent]) -> Critique:
    fact = events.get(critique.seq)
    return replace(critique, text=fact.text) if isinstance(fact, e.CritiquePosted) else critique


def share_proposals(proposals: Iterable[Proposal]) -> None:
    """Let all names in proposals that were read from bytes be shared, as `fold` does."""
    for proposal in proposals:
        proposal.author = sys.intern(proposal.author)
        proposal.runs, proposal.sealed = tuple(map(sys.intern, proposal.runs)), tuple(map(sys.intern, proposal.sealed))
        for fact in (proposal.event, *proposal.rulings, *proposal.critiques):
            share_names(fact)


def share_run(run: Run) -> None:
    """Let all names in a run that was read from bytes be shared, as `fold` does."""
    run.worker, run.begun = sys.intern(run.worker), shared(tuple(map(sys.intern, run.begun)))
    for fact in (run.requested, run.finished, *run.critiques, *(run.compared or {}).values()):
        share_names(fact)


def share_names(fact: Any) -> None:
    """Let the names in a fact be one object each with equal names elsewhere; the fact stays equal to what it was."""
    kind = type(fact)
    if get := _GET_NAMES.get(kind):
        for name, text in zip(_NAMES[kind], get(fact), strict=True):
            if text and (known := sys.intern(text)) is not text:
                force_setattr(fact, name, known)
    if kind is e.ProposalPosted:
        force_setattr(fact, "parents", tuple(map(sys.intern, fact.parents)))
        for each in (*fact.knobs, fact.origin):
            share_names(each)
        if not fact.values:
            force_setattr(fact, "values", _NOTHING)
    elif kind is e.RunRequested:
        for name in ("budget_s", "deadline_s"):
            force_setattr(fact, name, shared(getattr(fact, name)))
        if not fact.thresholds:
            force_setattr(fact, "thresholds", _NOTHING)
    elif kind is e.RunFinished and isinstance(outcome := fact.outcome, e.Scored):
        if not outcome.metrics:
            force_setattr(outcome, "metrics", _NOTHING)
    elif kind is e.ProposalRetired or kind is Critique:
        force_setattr(fact, "text", shared(fact.text))


@lru_cache(maxsize=1024, typed=True)
def shared(value: _T) -> _T:
    """Return the object that stands for all values that are equal to this one, as long as it is in use."""
    return value

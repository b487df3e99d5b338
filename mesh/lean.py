"""Keeps facts small in memory: names that many facts repeat are one object, and texts stay in the log.

A board keeps hundreds of thousands of runs, most of which name the same workers, classes, hashes and proposals. It
keeps no learning curves. Of a proposal that is decided, and of its runs, it keeps what decisions need, but neither
reasons nor the ends of logs (`mesh.packing`). The texts of the latest `FULL` such proposals stay on the board. Curves,
and the texts of others, are put back by `mesh.recall`, which reads them from the log by sequence; the texts of the
oldest then leave the board again.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from sys import intern
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
        e.ItemsCompared: ("run", "over"),
        e.ProposalPromoted: ("proposal", "met"),
        e.ProposalRetired: ("proposal", "met"),
    }
)
"""The fields of rare facts whose texts are names, which other facts repeat."""

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


def without_curve(event: e.RunFinished) -> e.RunFinished:
    """Return the end of a run without its learning curve."""
    return replace(event, curve=()) if event.curve else event


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


def seqs_of_curves(proposal: Proposal, runs: Mapping[str, Run]) -> list[int]:
    """Return the sequences of the entries that have the learning curves of runs that lack theirs."""
    own = map(runs.__getitem__, (*proposal.runs, *proposal.sealed))
    return [run.finished_seq for run in own if run.lacks_curve]


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
        proposal.author = intern(proposal.author)
        proposal.runs, proposal.sealed = tuple(map(intern, proposal.runs)), tuple(map(intern, proposal.sealed))
        for fact in (proposal.event, *proposal.rulings, *proposal.critiques):
            share_names(fact)


def share_run(run: Run) -> None:
    """Let all names in a run that was read from bytes be shared, as `fold` does."""
    run.worker, run.begun = intern(run.worker), shared(tuple(map(intern, run.begun)))
    for fact in (run.requested, run.finished, *run.critiques, *(run.compared or {}).values()):
        share_names(fact)


def share_names(fact: Any) -> None:
    """Let the names in a fact be one object each with equal names elsewhere; the fact stays equal to what it was."""
    kind = type(fact)
    if kind is e.RunRequested:
        _share_request(fact)
    elif kind is e.RunFinished:
        _share_finish(fact)
    elif kind is e.ProposalPosted:
        _share_proposal(fact)
    else:
        for name in _NAMES.get(kind, ()):
            if (known := intern(text := getattr(fact, name))) is not text:
                force_setattr(fact, name, known)
        if kind is e.ProposalRetired or kind is Critique:
            force_setattr(fact, "text", shared(fact.text))


def _share_request(fact: e.RunRequested) -> None:
    """Share the names, each spelled out: a loop over the names of frequent facts takes three times as long."""
    if (known := intern(fact.run)) is not fact.run:
        force_setattr(fact, "run", known)
    if (known := intern(fact.proposal)) is not fact.proposal:
        force_setattr(fact, "proposal", known)
    if (known := intern(fact.commit)) is not fact.commit:
        force_setattr(fact, "commit", known)
    if (known := intern(fact.worker_class)) is not fact.worker_class:
        force_setattr(fact, "worker_class", known)
    if (known := intern(fact.evaluator)) is not fact.evaluator:
        force_setattr(fact, "evaluator", known)
    if (known := intern(fact.avoid)) is not fact.avoid:
        force_setattr(fact, "avoid", known)
    force_setattr(fact, "budget_s", shared(fact.budget_s))
    force_setattr(fact, "deadline_s", shared(fact.deadline_s))
    if not fact.thresholds:
        force_setattr(fact, "thresholds", _NOTHING)


def _share_finish(fact: e.RunFinished) -> None:
    if (known := intern(fact.run)) is not fact.run:
        force_setattr(fact, "run", known)
    if (known := intern(fact.proposal)) is not fact.proposal:
        force_setattr(fact, "proposal", known)
    if (known := intern(fact.worker)) is not fact.worker:
        force_setattr(fact, "worker", known)
    if (known := intern(fact.worker_class)) is not fact.worker_class:
        force_setattr(fact, "worker_class", known)
    if (known := intern(fact.evaluator)) is not fact.evaluator:
        force_setattr(fact, "evaluator", known)
    if (known := intern(fact.code)) is not fact.code:
        force_setattr(fact, "code", known)
    if (known := intern(fact.data)) is not fact.data:
        force_setattr(fact, "data", known)
    if (known := intern(fact.environment)) is not fact.environment:
        force_setattr(fact, "environment", known)
    if (known := intern(fact.tier)) is not fact.tier:
        force_setattr(fact, "tier", known)
    if (known := intern(fact.built)) is not fact.built:
        force_setattr(fact, "built", known)
    if isinstance(outcome := fact.outcome, e.Scored) and not outcome.metrics:
        force_setattr(outcome, "metrics", _NOTHING)


def _share_proposal(fact: e.ProposalPosted) -> None:
    force_setattr(fact, "tree", intern(fact.tree))
    force_setattr(fact, "commit", intern(fact.commit))
    force_setattr(fact, "parents", tuple(map(intern, fact.parents)))
    for knob in fact.knobs:
        if (known := intern(knob.file)) is not knob.file:
            force_setattr(knob, "file", known)
        if (known := intern(knob.name)) is not knob.name:
            force_setattr(knob, "name", known)
    force_setattr(fact.origin, "how", intern(fact.origin.how))
    force_setattr(fact.origin, "name", intern(fact.origin.name))
    if not fact.values:
        force_setattr(fact, "values", _NOTHING)


@lru_cache(maxsize=1024, typed=True)
def shared(value: _T) -> _T:
    """Return the object that stands for all values that are equal to this one, as long as it is in use."""
    return value

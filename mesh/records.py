"""What a board keeps of each proposal, run, note and member: the structs that `mesh.board` folds facts into."""

import datetime as dt
from collections.abc import Sequence
from typing import Literal, TypeVar

import msgspec

from mesh import events as e
from mesh.bounds import MAX_INTEGER

NOTE_CHARACTERS = 2000
"""Characters that a board keeps of a note."""

FEW_RUNS = 8
"""Up to so many runs of a proposal are looked through in each question; of more, the answer is remembered."""

_Key = TypeVar("_Key")
_MISSES = (e.Infeasible, e.ScreenedOut)
Verdict = Literal["open", "champion", "past_champion", "retired"]


class Critique(msgspec.Struct, frozen=True, gc=False):
    """One critic's judgement of a proposal or run, in entry `seq` of the log."""

    author: str
    verdict: Literal["endorse", "warn", "block"]
    rule: str
    text: str
    confidence: float | None = None
    seq: int = 0


class Proposal(msgspec.Struct, gc=False):
    """A proposal with its critiques, runs and verdicts; `event` is without the values of its knobs.

    `runs` are run ids in the order of their requests, but `sealed` has those on the sealed split, and audits. `ended`
    counts the runs of both that have finished. `rulings` are its promotions and retirements. `ruled_out` says what it
    changed that the version in force fixes, "" if nothing: then no score of it counts; `ruled_since` is the version
    since which that is so without a break, 0 if it is not. `back_seq` is the entry that opened its case again, 0 if
    none did: it had been ruled out, or retired for a champion that was ruled out. `is_lean` if its texts are in the
    log only (`mesh.lean`).
    """

    seq: int
    time: dt.datetime
    author: str
    event: e.ProposalPosted
    critiques: tuple[Critique, ...] = ()
    runs: tuple[str, ...] = ()
    verdict: Verdict = "open"
    why: str = ""
    rulings: tuple[e.ProposalPromoted | e.ProposalRetired, ...] = ()
    sealed: tuple[str, ...] = ()
    ruled_out: str = ""
    ruled_since: int = 0
    back_seq: int = 0
    ended: int = 0
    is_lean: bool = False

    def add_run(self, event: e.RunRequested) -> None:
        """Add a run that was requested."""
        if event.lane == "sealed" or event.audit:
            self.sealed = (*self.sealed, event.run)
        else:
            self.runs = (*self.runs, event.run)


class JudgeTotal(msgspec.Struct):
    """What the scoring of all runs has asked of models: the sum of `JudgeUse` over an arena."""

    calls: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0

    def add(self, use: e.JudgeUse) -> None:
        """Add what one run has used; integers stay within the 64 bits of a snapshot."""
        self.calls = min(self.calls + use.calls, MAX_INTEGER)
        self.cached = min(self.cached + use.cached, MAX_INTEGER)
        self.tokens_in = min(self.tokens_in + use.tokens_in, MAX_INTEGER)
        self.tokens_out = min(self.tokens_out + use.tokens_out, MAX_INTEGER)
        self.usd += use.usd


class Contradiction(msgspec.Struct, frozen=True):
    """A score that two others contradict: the run that decided so, and the names of the two workers."""

    decided: str
    by: tuple[str, str]


class WorkerDoubts(msgspec.Struct):
    """What speaks against workers.

    `vanished` counts, by worker, the runs that it began and the queue lost. `contradictions` are by
    the name of a worker and by the run that was repeated. `replaced` are the runs that others have taken the place
    of, as long as they have not finished.
    """

    vanished: dict[str, int] = {}
    contradictions: dict[str, dict[str, Contradiction]] = {}
    replaced: dict[str, None] = {}


class Run(msgspec.Struct, gc=False):
    """A requested run and its progress.

    `begun` are the boot ids of the workers that began its attempts. `withdrawn` if its proposal was ruled out when it
    was killed: then it says nothing of the proposal, even if a later version allows that; or if another run has taken
    its place, because the queue has lost it. `finished` is its first finish in the log, `finished_seq` the sequence of
    that entry and `finished_at` its time. `compared` are comparisons of its items, by the other run; None as long as
    there is none. `rungs` are the values of its learning curve at the rungs of early stopping that it reached, each as
    (rung, value): the rungs in force when it finished. `has_curve` if it finished with a learning curve, which stays in
    the log until it is recalled (`mesh.recall`).
    """

    seq: int
    requested: e.RunRequested
    attempts: int = 0
    worker: str = ""
    killed: bool = False
    finished: e.RunFinished | None = None
    critiques: tuple[Critique, ...] = ()
    begun: tuple[str, ...] = ()
    finished_seq: int = 0
    finished_at: dt.datetime | None = None
    compared: dict[str, e.ItemsCompared] | None = None
    withdrawn: bool = False
    rungs: tuple[tuple[float, float], ...] = ()
    has_curve: bool = False

    @property
    def lacks_curve(self) -> bool:
        """Whether its learning curve is in the log only."""
        return self.has_curve and self.finished is not None and not self.finished.curve

    @property
    def evaluator(self) -> str:
        """The hash of the evaluator: the requested one until the run finishes, then the one that the worker used."""
        return (self.finished.evaluator if self.finished else "") or self.requested.evaluator

    @property
    def value(self) -> float | None:
        """The score, None while there is none."""
        finished = self.finished
        return finished.outcome.value if finished and isinstance(finished.outcome, e.Scored) else None

    @property
    def has_number(self) -> bool:
        """Whether the evaluator gave a number: a score, or one that misses a constraint or a threshold."""
        return self.value is not None or self.missed is not None

    @property
    def missed(self) -> e.Infeasible | e.ScreenedOut | None:
        """The outcome, if its numbers miss a constraint or the threshold of a stage; else None."""
        finished = self.finished
        return finished.outcome if finished and isinstance(finished.outcome, _MISSES) else None

    def compared_with(self, other: "Run") -> e.ItemsCompared | None:
        """Return the comparison of the items of this run with those of another one; None if there is none."""
        return self.compared.get(other.requested.run) if self.compared else None


class Note(msgspec.Struct, frozen=True):
    """One of the latest notes, cut to `NOTE_CHARACTERS`."""

    seq: int
    author: str
    channel: str
    text: str


class Member(msgspec.Struct):
    """An agent or a worker in one of its lives; `silent` if others say that it left, since it does not answer."""

    name: str
    seq: int
    joined: e.AgentJoined | e.WorkerJoined
    left: bool = False
    silent: bool = False


def is_aside(event: e.RunRequested) -> bool:
    """Tell whether a run's score says nothing of its proposal here: it is of the sealed split, or checks a worker."""
    return event.lane == "sealed" or event.audit is not None


def is_evidence(opened: e.ArenaOpened | None, run: Run, own: Sequence[Run]) -> bool:
    """Tell whether the end of a run is fresh evidence, or changes the claim of a proposal that has some.

    Args:
        opened: The version in force.
        run: The run, which has ended.
        own: The runs of its proposal.
    """
    if run.requested.lane in e.PROOF or opened is None or opened.spec.objective.noise == "none":
        return True
    if run.requested.proposal == opened.base_tree:
        return True
    return any(each.requested.lane in e.PROOF for each in own)


def at_rung(curve: Sequence[e.CurvePoint], rung: float) -> float | None:
    """Return the value at which a learning curve reached a fraction of the budget; None if it has not reached it."""
    for point in curve:
        if point.fraction >= rung:
            return point.value
    return None


def rungs_reached(curve: Sequence[e.CurvePoint], rungs: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Return the rungs that a learning curve has reached, each with its value there."""
    found, left = dict[float, float](), sorted(rungs, reverse=True)
    if not left:
        return ()
    lowest = left[-1]
    for point in curve:
        if point.fraction < lowest:
            continue
        while left and point.fraction >= left[-1]:
            found[left.pop()] = point.value
        if not left:
            break
        lowest = left[-1]
    return tuple([(rung, found[rung]) for rung in rungs if rung in found])


def note_latest(kept: dict[_Key, None], key: _Key, most: int) -> None:
    """Note a key, and forget the first one that was noted if there are more than `most`."""
    kept[key] = None
    if len(kept) > most:
        del kept[next(iter(kept))]


def add_life(members: dict[str, Member], author: str, seq: int, joined: e.AgentJoined | e.WorkerJoined) -> bool:
    """Note that a life of an agent or a worker begins, and tell whether it is the first with its id."""
    if joined.boot in members:
        return False
    members[joined.boot] = Member(author, seq, joined)
    return True


def mark_left(members: dict[str, Member], boot: str, *, silent: bool = False) -> bool:
    """Note that a member left; return whether it was there."""
    member = members.get(boot)
    if member is None or member.left:
        return False
    member.left, member.silent = True, silent
    return True

"""Packs a decided proposal and its runs into a few hundred bytes, and unpacks them again. Pure.

What many of them have in common, such as the class of a worker or the names of metrics, is kept once, as a fact with
blanks; a pack has its place and fills the blanks. The texts that stay in the log (`mesh.lean`) are not in a pack, so
what is unpacked is lean. A field of the facts of a run that this module does not name is taken to be common to many.
"""

import datetime as dt
from collections.abc import Callable, Hashable, Iterable, Sequence
from copy import copy
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.structs import force_setattr

from mesh import events as e
from mesh.lean import lean_cost, lean_outcome
from mesh.records import Critique, Proposal, Run

_T = TypeVar("_T")
_TIME = dt.datetime.min.replace(tzinfo=dt.UTC)
_TREE = "0" * 40
_BLANK = e.ProposalPosted(tree=_TREE, commit=_TREE, title="", origin=e.Origin(how="human"))
_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder().decode
_PACK = msgspec.msgpack.Decoder(tuple[msgspec.Raw, msgspec.Raw]).decode


def _others(kind: type[msgspec.Struct], *own: str) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that returns all fields of a fact but some."""
    return attrgetter(*(name for name in kind.__struct_fields__ if name not in own))


_OF_PROPOSAL = _others(Proposal, "seq", "time", "event", "critiques", "runs", "rulings", "sealed")
_OF_REQUEST = _others(e.RunRequested, "run", "proposal", "commit", "seed", "race", "thresholds")
_OF_RUN = _others(Run, "seq", "requested", "finished", "critiques", "finished_seq", "finished_at", "compared", "rungs")
_LEFT_OUT = ("curve", "log_tail", "packages", "build_cache", "cpu_s", "predict_s")
_OWN = ("trial_s", "score_s", "peak_memory_mb", "peak_gpu_memory_mb", "gpu_utilisation", "budget_used_s")
_RARE = ("outcome", "cost", "items", "stages", "judge")
_OF_FINISH = _others(e.RunFinished, "run", "proposal", "code", *_OWN, *_RARE, *_LEFT_OUT)
_NUMBERS = attrgetter(*_OWN)


class _RareOfPosted(msgspec.Struct, omit_defaults=True):
    cost: e.Cost | None = None
    call: e.KeptCall | None = None


class _RareOfFinish(msgspec.Struct, omit_defaults=True):
    outcome: e.Failed | e.Infeasible | e.ScreenedOut | None = None
    cost: e.Cost | None = None
    items: e.ItemsKept | None = None
    stages: e.StageEnds = ()
    judge: e.JudgeUse | None = None


class Blanks(msgspec.Struct):
    """What packs have in common: facts with blanks, by their places."""

    proposals: list[Proposal] = []
    posted: list[e.ProposalPosted] = []
    requested: list[e.RunRequested] = []
    finished: list[e.RunFinished] = []
    runs: list[Run] = []
    critiques: list[Critique] = []


class _Table(Generic[_T]):
    """Facts with blanks, found by what is not blank."""

    def __init__(self, facts: list[_T], key: Callable[[_T], Hashable]) -> None:
        self._facts = facts
        self._places = {key(fact): place for place, fact in enumerate(facts)}

    def place(self, key: Hashable, blank: Callable[[_T], _T], fact: _T) -> int:
        """Return the place of the fact with this key; if there is none, that of a fact with blanks."""
        found = self._places.get(key)
        if found is None:
            found = self._places[key] = len(self._facts)
            self._facts.append(blank(fact))
        return found


class Packer:
    """Packs proposals with their runs, and unpacks them."""

    def __init__(self, common: Blanks | None = None) -> None:
        self.common = common or Blanks()
        self._proposals = _Table(self.common.proposals, _OF_PROPOSAL)
        self._posted = _Table(self.common.posted, _key_of_posted)
        self._requested = _Table(self.common.requested, _OF_REQUEST)
        self._finished = _Table(self.common.finished, _key_of_finish)
        self._runs = _Table(self.common.runs, _key_of_run)
        self._critiques = _Table(self.common.critiques, _key_of_critique)

    def pack(self, proposal: Proposal, runs: Iterable[Run]) -> bytes:
        """Return the pack of a proposal and of its runs.

        Args:
            proposal: a proposal without texts, or with texts that the log has.
            runs: its runs in the order of the requests, those on the sealed split last.
        """
        proposal.is_lean = True
        own = (
            self._proposals.place(_OF_PROPOSAL(proposal), _blank_proposal, proposal),
            proposal.seq,
            proposal.time,
            proposal.runs,
            proposal.sealed,
            self._pack_posted(proposal.event),
            self._pack_critiques(proposal.critiques),
            [_pack_ruling(ruling) for ruling in proposal.rulings],
        )
        commit = proposal.event.commit
        return _ENCODE((own, [self._pack_run(run, commit) for run in runs]))

    def unpack(self, tree: str, pack: bytes) -> "Unpacked":
        """Return the proposal in a pack; its runs are unpacked when they are first asked for."""
        return Unpacked(self, tree, pack)

    def _pack_posted(self, event: e.ProposalPosted) -> tuple[Any, ...]:
        rare = _RareOfPosted(event.cost, event.call) if event.cost or event.call else None
        return (
            self._posted.place(_key_of_posted(event), _blank_posted, event),
            bytes.fromhex(event.commit),
            [bytes.fromhex(parent) for parent in event.parents],
            event.title,
            event.origin.share,
            event.predicted_gain,
            event.confidence,
            event.as_of,
            [value for knob in event.knobs for value in (knob.old, knob.new)],
            rare,
        )

    def _pack_critiques(self, critiques: Sequence[Critique]) -> list[Any]:
        found: list[Any] = []
        for each in critiques:
            key = (each.author, each.verdict, each.rule)
            found += self._critiques.place(key, _blank_critique, each), each.seq, each.confidence
        return found

    def _pack_run(self, run: Run, commit: str) -> tuple[Any, ...]:
        asked, finished = run.requested, run.finished
        request = (
            self._requested.place(_OF_REQUEST(asked), _blank_request, asked),
            run.seq,
            asked.seed,
            asked.race,
            None if asked.commit == commit else bytes.fromhex(asked.commit),
            asked.thresholds or None,
        )
        return (
            *request,
            self._runs.place(_key_of_run(run), _blank_run, run),
            [value for _, value in run.rungs] if run.rungs else None,
            self._pack_critiques(run.critiques) if run.critiques else None,
            run.compared,
            (run.finished_seq, run.finished_at, *self._pack_finish(finished, asked.proposal)) if finished else None,
        )

    def _pack_finish(self, event: e.RunFinished, tree: str) -> tuple[Any, ...]:
        outcome, rare = event.outcome, None
        score = outcome if isinstance(outcome, e.Scored) else None
        cost = lean_cost(event.cost)
        if score is None or cost or event.items or event.stages or event.judge:
            failed = lean_outcome(outcome) if isinstance(outcome, e.Failed) else None
            rare = _RareOfFinish(failed, cost, event.items, event.stages, event.judge)
        return (
            self._finished.place(_key_of_finish(event), _blank_finish, event),
            None if event.proposal == tree else bytes.fromhex(event.proposal),
            score.value if score else None,
            [*score.metrics.values()] if score else (),
            bytes.fromhex(event.code),
            _NUMBERS(event),
            rare,
        )


class Unpacked:
    """A proposal from a pack, and its runs, which must not be changed while the pack is kept."""

    __slots__ = ("_common", "_raw", "_runs", "_tree", "proposal")

    def __init__(self, packer: Packer, tree: str, pack: bytes) -> None:
        self._common, self._tree = packer.common, tree
        own, self._raw = _PACK(pack)
        self._runs: dict[str, Run] | None = None
        self.proposal = self._unpack_proposal(_DECODE(own))

    @property
    def runs(self) -> dict[str, Run]:
        """The runs by their names, in the order of the requests, those on the sealed split last."""
        if self._runs is None:
            known, commit = self.proposal, self.proposal.event.commit
            packed = zip((*known.runs, *known.sealed), _DECODE(self._raw), strict=True)
            self._runs = {name: self._unpack_run(name, commit, *fields) for name, fields in packed}
        return self._runs

    def _unpack_proposal(self, own: list[Any]) -> Proposal:
        place, seq, time, runs, sealed, posted, critiques, rulings = own
        found: Proposal = copy(self._common.proposals[place])
        found.seq, found.time, found.runs, found.sealed = seq, time, tuple(runs), tuple(sealed)
        found.event = self._unpack_posted(*posted)
        found.critiques = self._unpack_critiques(critiques)
        found.rulings = tuple([_unpack_ruling(self._tree, ruling) for ruling in rulings])
        return found

    def _unpack_posted(
        self,
        place: int,
        commit: bytes,
        parents: list[bytes],
        title: str,
        share: float | None,
        gain: float | None,
        confidence: float | None,
        as_of: int,
        values: list[Any],
        rare: Any,
    ) -> e.ProposalPosted:
        event = copy(self._common.posted[place])
        seldom = msgspec.convert(rare, _RareOfPosted) if rare else None
        filled = (
            ("tree", self._tree),
            ("commit", commit.hex()),
            ("parents", tuple([parent.hex() for parent in parents])),
            ("title", title),
            ("predicted_gain", gain),
            ("confidence", confidence),
            ("as_of", as_of),
            ("knobs", tuple(map(_knob, event.knobs, values[::2], values[1::2]))),
        )
        for name, value in filled:
            force_setattr(event, name, value)
        if share is not None:
            force_setattr(event, "origin", e.Origin(how=event.origin.how, name=event.origin.name, share=share))
        if seldom:
            force_setattr(event, "cost", seldom.cost)
            force_setattr(event, "call", seldom.call)
        return event

    def _unpack_critiques(self, packed: list[Any] | None) -> tuple[Critique, ...]:
        if not packed:
            return ()
        found, common = [], self._common.critiques
        for at in range(0, len(packed), 3):
            place, seq, confidence = packed[at : at + 3]
            like = common[place]
            found.append(Critique(like.author, like.verdict, like.rule, "", confidence, seq))
        return tuple(found)

    def _unpack_run(
        self,
        name: str,
        own_commit: str,
        request: int,
        seq: int,
        seed: int,
        race: int,
        commit: bytes | None,
        thresholds: dict[str, float] | None,
        place: int,
        rungs: list[float] | None,
        critiques: list[Any] | None,
        compared: Any,
        end: list[Any] | None,
    ) -> Run:
        asked, run = copy(self._common.requested[request]), copy(self._common.runs[place])
        force_setattr(asked, "run", name)
        force_setattr(asked, "proposal", self._tree)
        force_setattr(asked, "commit", commit.hex() if commit else own_commit)
        force_setattr(asked, "seed", seed)
        force_setattr(asked, "race", race)
        if thresholds:
            force_setattr(asked, "thresholds", msgspec.convert(thresholds, dict[str, float]))
        run.seq, run.requested, run.critiques = seq, asked, self._unpack_critiques(critiques)
        if rungs:
            run.rungs = tuple([(rung, value) for (rung, _), value in zip(run.rungs, rungs, strict=True)])
        if compared:
            run.compared = msgspec.convert(compared, dict[str, e.ItemsCompared])
        if end:
            run.finished_seq, run.finished_at, run.finished = end[0], end[1], self._unpack_finish(name, *end[2:])
        return run

    def _unpack_finish(
        self,
        name: str,
        place: int,
        of: bytes | None,
        value: float | None,
        metrics: list[float],
        code: bytes,
        numbers: list[float],
        rare: Any,
    ) -> e.RunFinished:
        event = copy(self._common.finished[place])
        seldom = msgspec.convert(rare, _RareOfFinish) if rare else None
        force_setattr(event, "run", name)
        force_setattr(event, "proposal", of.hex() if of else self._tree)
        force_setattr(event, "code", code.hex())
        for field, number in zip(_OWN, numbers, strict=True):
            force_setattr(event, field, number)
        if value is not None:
            like = event.outcome
            assert isinstance(like, e.Scored)
            named = dict(zip(like.metrics, metrics, strict=True)) if metrics else like.metrics
            outcome = e.Scored(value=value, metrics=named, self_reported=like.self_reported)
            force_setattr(event, "outcome", outcome)
        if seldom:
            for field in _RARE[value is not None :]:
                force_setattr(event, field, getattr(seldom, field))
        return event


def _knob(like: e.KnobChange, old: Any, new: Any) -> e.KnobChange:
    return e.KnobChange(file=like.file, name=like.name, old=old, new=new)


def _key_of_posted(event: e.ProposalPosted) -> Hashable:
    return (event.origin.how, event.origin.name, *[(knob.file, knob.name) for knob in event.knobs])


def _key_of_run(run: Run) -> Hashable:
    return (_OF_RUN(run), *[rung for rung, _ in run.rungs]) if run.rungs else _OF_RUN(run)


def _key_of_finish(event: e.RunFinished) -> Hashable:
    outcome = event.outcome
    if isinstance(outcome, e.Scored):
        return (_OF_FINISH(event), outcome.self_reported, *outcome.metrics)
    return _OF_FINISH(event), False


def _key_of_critique(critique: Critique) -> Hashable:
    return critique.author, critique.verdict, critique.rule


def _blank_critique(critique: Critique) -> Critique:
    return Critique(critique.author, critique.verdict, critique.rule, "")


def _blank_proposal(proposal: Proposal) -> Proposal:
    blank = copy(proposal)
    blank.seq, blank.time, blank.event = 0, _TIME, _BLANK
    blank.critiques, blank.runs, blank.rulings, blank.sealed = (), (), (), ()
    return blank


def _blank_posted(event: e.ProposalPosted) -> e.ProposalPosted:
    origin = e.Origin(how=event.origin.how, name=event.origin.name)
    knobs = tuple([_knob(knob, None, None) for knob in event.knobs])
    return e.ProposalPosted(tree=_TREE, commit=_TREE, title="", origin=origin, knobs=knobs)


def _blank_request(event: e.RunRequested) -> e.RunRequested:
    own = {"run": "-", "proposal": _TREE, "commit": _TREE, "seed": 0, "race": 0, "thresholds": {}}
    return msgspec.structs.replace(event, **own)


def _blank_run(run: Run) -> Run:
    blank = copy(run)
    blank.seq, blank.requested, blank.finished = 0, _BLANK_REQUEST, None
    blank.critiques, blank.finished_seq, blank.finished_at, blank.compared = (), 0, None, None
    blank.rungs = tuple([(rung, 0.0) for rung, _ in run.rungs])
    return blank


def _blank_finish(event: e.RunFinished) -> e.RunFinished:
    outcome = e.Scored(value=0.0)
    if isinstance(event.outcome, e.Scored):
        metrics = dict.fromkeys(event.outcome.metrics, 0.0)
        outcome = e.Scored(value=0.0, metrics=metrics, self_reported=event.outcome.self_reported)
    kept = {name: getattr(event, name) for name in e.RunFinished.__struct_fields__ if name not in (*_LEFT_OUT, *_OWN)}
    kept |= {"run": "-", "proposal": _TREE, "code": "", "outcome": outcome}
    return e.RunFinished(**kept | {"cost": None, "items": None, "stages": (), "judge": None})


_BLANK_REQUEST = e.RunRequested(
    run="-", lane="explore", proposal=_TREE, commit=_TREE, seed=0, budget_s=1.0, deadline_s=1.0
)
_RULING = attrgetter(*(name for name in e.ProposalRetired.__struct_fields__ if name not in ("proposal", "met")))
_RULING_FIELDS = tuple(name for name in e.ProposalRetired.__struct_fields__ if name not in ("proposal", "met"))


def _pack_ruling(ruling: e.ProposalPromoted | e.ProposalRetired) -> Any:
    """Return a retirement as its values, and a promotion, which few proposals have, as it is."""
    if isinstance(ruling, e.ProposalPromoted):
        return ruling
    return (bytes.fromhex(ruling.met), *_RULING(ruling))


def _unpack_ruling(tree: str, packed: Any) -> e.ProposalPromoted | e.ProposalRetired:
    if isinstance(packed, dict):
        return msgspec.convert(packed, e.ProposalPromoted)
    values = dict(zip(_RULING_FIELDS, packed[1:], strict=True))
    values["seeds"] = tuple(values["seeds"])
    return e.ProposalRetired(proposal=tree, met=packed[0].hex(), **values)

"""Who may prove and who is checked: proof by workers of other owners, audits of scores, and who is in quarantine. Pure.

A worker with a credential may lie about its scores. So what proves a proposal runs on workers of another owner than
that of its author and of its first score, where such a worker is there; so do the champion's runs of a race, which are
the other side of the difference, for the challengers of that race. One in twenty scores of search is measured
again by a worker of another owner, with the same seed on the same split: an audit. Which ones, the time decides that
the server gives their entries: a worker that knew it before could lie elsewhere. Where the two scores differ by more
than the noise, a worker of a third owner decides in a second audit. Whoever is contradicted so about two scores is in
quarantine (`mesh.hand_outs`); where those who say so are contradicted as often themselves, it is released. Where no
third owner is there, nothing is decided. Of the owners that could do an audit one is drawn, and the workers of the
others must not take it: liars cannot choose to check one another.

Owners are what workers and agents say when they join, or what the hub says (`owners`); without either, everybody is its
own owner. A request names the workers that must not take it, because a name is what a permission pins.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from agents.curation.race_log import CONTROLS, entrants_of
from agents.curation.run_requests import SEEDS
from mesh.board import Board, Run
from mesh.changes import ChangeReader
from mesh.equal_scores import ROUNDING
from mesh.events import AnyEvent, Audit, Lane, NotePosted, RunRequested, WorkerJoined
from mesh.evidence import noise, shows_no_noise, student_t
from mesh.fleet import present
from mesh.hand_outs import are_strict, is_quarantined, owner_of
from mesh.last_boards import LastBoards

AUDITED_SHARE = 0.05
"""Share of the scores of search that are audited."""

PROVING: tuple[Lane, ...] = ("confirm", "sealed")
"""The lanes whose runs go to workers of other owners: their scores are verdicts on a proposal."""

FAR = 2.0
"""An audit contradicts a score that differs by more than this many times the 95 % interval of the noise of two runs."""

AUDITABLE, AUDITS_AT_ONCE = 100, 2
"""Scores that still may be audited, the latest of those chosen, and audits that may be unfinished at a time."""

_MOST_NAMES = 1000
_NOBODY: Mapping[str, str] = {}


def with_other_owners(board: Board, facts: Sequence[AnyEvent], owners: Mapping[str, str] = _NOBODY) -> list[AnyEvent]:
    """Return decisions of the curator, in which runs that prove name the workers that must not take them.

    Args:
        board: The board.
        facts: The decisions.
        owners: The owners of members by their names, as the hub has them.
    """
    if not are_strict(board.opened) or not any(_proves(fact) for fact in facts):
        return list(facts)
    fleet = _Fleet(board, owners)
    return [
        _for_others(board, fleet, fact, _parties(board, fact, facts))
        if isinstance(fact, RunRequested) and _proves(fact)
        else fact
        for fact in facts
    ]


def due_audits(board: Board, owners: Mapping[str, str] = _NOBODY) -> list[RunRequested]:
    """Return the requests of audits that are due, second ones first."""
    if not are_strict(board.opened) or board.closed:
        return []
    chosen = _chosen.of(board).of(board)
    audits_out = sum(board.runs[name].requested.audit is not None for name in board.unfinished)
    if not chosen or audits_out >= AUDITS_AT_ONCE or len(board.workers) < 2:
        return []
    fleet = _Fleet(board, owners)
    if len({fleet.owner(name) for name, _ in fleet.there}) < 2:
        return []
    wanted: list[RunRequested] = []
    for name in sorted(chosen, key=lambda name: board.runs[name].requested.audit is None):
        if audits_out + len(wanted) >= AUDITS_AT_ONCE:
            break
        if _audit_name(board.runs[name]) in board.runs:
            chosen.remove(name)
        elif (found := _audit_of(board, fleet, board.runs[name])) is not None:
            wanted.append(found)
    return wanted


def _audit_name(run: Run) -> str:
    """Return the name of the audit of a run, or of the second one if the run is an audit itself."""
    audit = run.requested.audit
    return f"{audit.run[:118]}-audit2" if audit else f"{run.requested.run[:118]}-audit"


def is_drawn(run: Run) -> bool:
    """Tell whether the score of a run is audited: by its name and the time of its entry, so all curators agree."""
    drawn = _hash_of("audit", run.requested.run, str(run.finished_at))
    return int.from_bytes(drawn[:4], "big") / 2**32 < AUDITED_SHARE


def _hash_of(*words: str) -> bytes:
    return hashlib.sha256(" ".join(words).encode()).digest()


def is_disputed(board: Board, run: Run) -> bool:
    """Tell whether a run is a first audit that got another score than the one that it checks."""
    audit, value = run.requested.audit, run.value
    if audit is None or audit.other or value is None or _worker_of(board, run) in ("", audit.worker):
        return False
    return abs(value - audit.value) > audit.tolerance


def accusation(board: Board, name: str, owner: str) -> NotePosted:
    """Return the note that a worker is in quarantine, with the evidence."""
    evidence = []
    for run, decided in board.doubts.contradictions[name].items():
        found = board.runs[decided.decided]
        audit = found.requested.audit
        assert audit is not None
        assert audit.other_value is not None
        said, other = audit.value, f"{audit.other_value:.6g} by {audit.other}"
        if name != audit.worker:
            said, other = audit.other_value, f"{audit.value:.6g} by {audit.worker}"
        evidence.append(f"{run}: {said:.6g}, but {other} and {found.value:.6g} by {decided.by[1]}")
    text = (
        f"worker {name} of {owner} is in quarantine: two others got other scores than it did ({'; '.join(evidence)}); "
        "it takes no more runs, and what it finishes from now on does not count"
    )
    return NotePosted(channel="ops", text=text)


def in_quarantine(board: Board) -> list[str]:
    """Return the workers that are in quarantine."""
    found = board.doubts.contradictions
    return [name for name in found if is_quarantined(found, name)]


class _Fleet:
    """The workers that are there, by class, and who owns what."""

    def __init__(self, board: Board, owners: Mapping[str, str]) -> None:
        self._owners = dict(owners)
        for life in (*board.workers.values(), *board.agents.values()):
            self._owners.setdefault(life.name, owner_of(life))
        self._names = [life.name for life in board.workers.values()]
        doubted = board.doubts.contradictions
        self.there = [
            (life.name, life.joined.worker_class)
            for life in present(board.workers).values()
            if isinstance(life.joined, WorkerJoined) and not is_quarantined(doubted, life.name)
        ]

    def owner(self, name: str) -> str:
        return self._owners.get(name, name)

    def others(self, owners: Iterable[str], worker_class: str) -> bool:
        """Tell whether a worker of another owner than these is there, of this class or of any."""
        taken = set(owners)
        return any(self.owner(name) not in taken and worker_class in ("any", "", own) for name, own in self.there)

    def drawn(self, owners: Iterable[str], worker_class: str, lot: str) -> tuple[str, ...] | None:
        """Return the workers that must not do an audit: all that are there, but those of an owner that is drawn.

        Args:
            owners: Owners that must not do it in any case.
            worker_class: The class that it needs.
            lot: What decides the draw; nobody knows it beforehand.
        """
        taken, there = set(owners), [(name, own) for name, own in self.there if worker_class in ("any", "", own)]
        others = {owner for name, _ in there if (owner := self.owner(name)) not in taken}
        if not others:
            return None
        drawn = min(others, key=lambda owner: _hash_of(lot, owner))
        rest = {name for name, _ in self.there if self.owner(name) not in (drawn, *taken)}
        return tuple(sorted({*self.names_of(taken), *sorted(rest)[:_MOST_NAMES]}))[:_MOST_NAMES]

    def names_of(self, owners: Iterable[str]) -> tuple[str, ...]:
        """Return all workers of some owners that have ever joined."""
        taken = set(owners)
        return tuple(sorted({name for name in self._names if self.owner(name) in taken}))[:_MOST_NAMES]


def _proves(fact: AnyEvent) -> bool:
    return isinstance(fact, RunRequested) and (fact.lane in PROVING or _is_other_side(fact))


def _is_other_side(asked: RunRequested) -> bool:
    """Tell whether a run is one of the champion in a race; its control runs between races are not."""
    return asked.lane == "control" and asked.race > 0 and asked.seed % SEEDS < CONTROLS


def _parties(board: Board, asked: RunRequested, facts: Sequence[AnyEvent]) -> set[str]:
    """Return the proposals whose owners must not take a run that proves: its own, or the challengers of its race."""
    if not _is_other_side(asked):
        return {asked.proposal}
    begins = (fact for fact in facts if isinstance(fact, RunRequested) and fact.lane == "confirm")
    return entrants_of(board, asked.race) | {fact.proposal for fact in begins if fact.race == asked.race}


def _for_others(board: Board, fleet: _Fleet, asked: RunRequested, parties: Iterable[str]) -> RunRequested:
    """Return the request with the workers that must not take it; unchanged if nobody else is there."""
    owners = set[str]()
    for proposal in filter(None, map(board.proposals.get, parties)):
        owners.add(fleet.owner(proposal.author))
        first = next((run for run in map(board.runs.__getitem__, proposal.runs) if run.value is not None), None)
        if first is not None and (name := _worker_of(board, first)):
            owners.add(fleet.owner(name))
    if not owners or not fleet.others(owners, asked.worker_class):
        return asked
    return replace(asked, not_by=tuple(sorted({*asked.not_by, *fleet.names_of(owners)}))[:_MOST_NAMES])


def _worker_of(board: Board, run: Run) -> str:
    """Return the name of the worker that finished a run, "" if it never joined."""
    life = board.workers.get(run.finished.worker) if run.finished else None
    return life.name if life else ""


def _audit_of(board: Board, fleet: _Fleet, run: Run) -> RunRequested | None:
    """Return the request that checks a score, or decides about one; None if nobody can, or the noise is not known."""
    first, finished = run.requested.audit, run.finished
    worker, value = _worker_of(board, run), run.value
    if not worker or value is None or finished is None:
        return None
    if first is not None:
        checked: Audit = replace(first, other=worker, other_value=value)
        owners = {fleet.owner(first.worker), fleet.owner(worker)}
    elif (tolerance := _tolerance(board, run)) is not None and board.is_current(run):
        checked = Audit(run=run.requested.run, worker=worker, value=value, tolerance=tolerance)
        owners = {fleet.owner(worker)}
    else:
        return None
    not_by = fleet.drawn(owners, finished.worker_class, f"{run.requested.run} {run.finished_at}")
    if not_by is None:
        return None
    own = {"run": _audit_name(run), "lane": "audit", "worker_class": finished.worker_class, "avoid": ""}
    return replace(run.requested, **own, instead_of="", not_by=not_by, audit=checked)


def _tolerance(board: Board, run: Run) -> float | None:
    """Return by how much the repetition of a score may differ; None while the noise is unknown."""
    assert run.finished is not None
    worker_class, value = run.finished.worker_class, run.value or 0.0
    if board.spec.objective.noise == "none":
        return abs(value) * ROUNDING
    found = noise(board, worker_class)
    if shows_no_noise(board, worker_class, found):
        return abs(value) * ROUNDING
    if not found.dof or not found.sd:
        return None
    return float(FAR * student_t(found.dof) * found.sd * 2**0.5)


class _Chosen:
    """The latest scores of one board that are to be audited, and audits that got another score, the latest first."""

    def __init__(self) -> None:
        self._changes = ChangeReader()
        self._names: deque[str] = deque(maxlen=AUDITABLE)

    def of(self, board: Board) -> "deque[str]":
        changes = self._changes.look(board)
        if changes.is_new:
            self._names.clear()
        for name in changes.ended[-2 * round(AUDITABLE / AUDITED_SHARE) :]:
            run = board.runs[name]
            is_search = run.requested.lane == "explore" and run.value is not None
            if (is_search and is_drawn(run)) or is_disputed(board, run):
                self._names.appendleft(name)
        return self._names


_chosen = LastBoards(_Chosen)


class Accuser:
    """Tells of each worker that gets into quarantine or out of it; what was so at the start was told before."""

    def __init__(self) -> None:
        self._told: list[str] | None = None

    def due(self, board: Board, owners: Mapping[str, str] = _NOBODY) -> list[NotePosted]:
        """Return the notes that are due."""
        found = in_quarantine(board)
        before, self._told = found if self._told is None else self._told, found
        new = [name for name in found if name not in before]
        fleet = _Fleet(board, owners) if new else None
        notes = [accusation(board, name, fleet.owner(name)) for name in new] if fleet else []
        return [*notes, *(_release(name) for name in before if name not in found)]


def _release(name: str) -> NotePosted:
    text = f"worker {name} is in quarantine no more: those who contradicted it are contradicted as often themselves"
    return NotePosted(channel="ops", text=text)

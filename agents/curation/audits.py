"""Who may prove and who is checked: proof by workers of other owners, audits of scores, and who is in quarantine. Pure.

A worker with a credential may lie about its scores. So what proves a proposal runs on workers of another owner than
that of its author and of its first score, where such a worker is there. One in twenty scores of search, chosen by a
hash of the run's name, is measured again by a worker of another owner, with the same seed on the same split: an
audit. Where the two differ by more than the noise, each of the workers is contradicted; a worker that two owners
contradict is in quarantine (`mesh.hand_outs`). Where nobody else is there, nothing is checked.

Owners are what workers and agents say when they join, or what the hub says (`owners`); without either, everybody is its
own owner. A request names the workers that must not take it, because a name is what a permission pins.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

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
    return [_for_others(board, fleet, fact) if _proves(fact) else fact for fact in facts]  # type: ignore[arg-type]


def due_audits(board: Board, owners: Mapping[str, str] = _NOBODY) -> list[RunRequested]:
    """Return the requests of audits that are due."""
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
    for name in [*reversed(chosen)]:
        if audits_out + len(wanted) >= AUDITS_AT_ONCE:
            break
        if _audit_name(name) in board.runs:
            chosen.remove(name)
        elif (found := _audit_of(board, fleet, name)) is not None:
            wanted.append(found)
    return wanted


def _audit_name(run: str) -> str:
    return f"{run[:120]}-audit"


def is_drawn(run: str) -> bool:
    """Tell whether the score of a run is audited. It depends on the name alone, so all curators agree."""
    drawn = int.from_bytes(hashlib.sha256(f"audit {run}".encode()).digest()[:4], "big") / 2**32
    return drawn < AUDITED_SHARE


def accusation(board: Board, name: str) -> NotePosted:
    """Return the note that a worker is in quarantine, with the evidence."""
    evidence = []
    for owner, run in board.doubts.contradictions[name].items():
        asked, ended = board.runs[run].requested, board.runs[run]
        assert asked.audit is not None
        evidence.append(f"{run}: {asked.audit.value:.6g} by {asked.audit.worker}, {ended.value:.6g} again ({owner})")
    text = (
        f"worker {name} is in quarantine: two owners got other scores than it did ({'; '.join(evidence)}); "
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

    def names_of(self, owners: Iterable[str]) -> tuple[str, ...]:
        """Return all workers of some owners that have ever joined."""
        taken = set(owners)
        return tuple(sorted({name for name in self._names if self.owner(name) in taken}))[:_MOST_NAMES]


def _proves(fact: AnyEvent) -> bool:
    return isinstance(fact, RunRequested) and fact.lane in PROVING


def _for_others(board: Board, fleet: _Fleet, asked: RunRequested) -> RunRequested:
    """Return the request with the workers that must not take it; unchanged if nobody else is there."""
    proposal = board.proposals.get(asked.proposal)
    if proposal is None:
        return asked
    owners = {fleet.owner(proposal.author)}
    first = next((run for run in map(board.runs.__getitem__, proposal.runs) if run.value is not None), None)
    if first is not None and (name := _worker_of(board, first)):
        owners.add(fleet.owner(name))
    if not fleet.others(owners, asked.worker_class):
        return asked
    return replace(asked, not_by=tuple(sorted({*asked.not_by, *fleet.names_of(owners)}))[:_MOST_NAMES])


def _worker_of(board: Board, run: Run) -> str:
    """Return the name of the worker that finished a run, "" if it never joined."""
    life = board.workers.get(run.finished.worker) if run.finished else None
    return life.name if life else ""


def _audit_of(board: Board, fleet: _Fleet, name: str) -> RunRequested | None:
    """Return the request that checks the score of a run; None if nobody can, or nothing is known of the noise."""
    run, again = board.runs[name], _audit_name(name)
    worker, tolerance = _worker_of(board, run), _tolerance(board, run)
    if not worker or tolerance is None or run.value is None or run.finished is None:
        return None
    owners, worker_class = {fleet.owner(worker)}, run.finished.worker_class
    if not board.is_current(run) or not fleet.others(owners, worker_class):
        return None
    checked = Audit(run=name, worker=worker, value=run.value, tolerance=tolerance)
    own = {"run": again, "lane": "audit", "worker_class": worker_class, "avoid": "", "instead_of": ""}
    return replace(run.requested, **own, not_by=fleet.names_of(owners), audit=checked)


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
    """The latest scores of search of one board that are to be audited, the oldest first."""

    def __init__(self) -> None:
        self._changes = ChangeReader()
        self._names: deque[str] = deque(maxlen=AUDITABLE)

    def of(self, board: Board) -> "deque[str]":
        changes = self._changes.look(board)
        if changes.is_new:
            self._names.clear()
        for name in changes.ended[-2 * round(AUDITABLE / AUDITED_SHARE) :]:
            if is_drawn(name) and (run := board.runs[name]).value is not None and run.requested.lane == "explore":
                self._names.append(name)
        return self._names


_chosen = LastBoards(_Chosen)


class Accuser:
    """Tells of each worker in quarantine once; what was so at the start was told before."""

    def __init__(self) -> None:
        self._told: set[str] | None = None

    def due(self, board: Board) -> list[NotePosted]:
        """Return the notes that are due."""
        found = in_quarantine(board)
        if self._told is None:
            self._told = set(found)
        new = [name for name in found if name not in self._told]
        self._told |= {*new}
        return [accusation(board, name) for name in new]

"""The runs of an arena that have not finished, and whose starts, finishes and leaves count, as on a board.

It is kept between the batches of a projector, in memory; the file says it again after a start or a failed write.
"""

from collections.abc import Mapping
from typing import Self

import duckdb
import msgspec

from analytics.books import Books
from mesh import events as e
from mesh.decoding import decode_json
from mesh.hand_outs import are_strict, finish_counts, leave_counts, note_audit, start_counts
from mesh.records import Contradiction, Member
from mesh.ruling_out import may_rule
from mesh.worker_costs import KeptBooks

_REQUESTED = """
SELECT
    r.run, r.seq, r.not_by, r.audit, r.proposal,
    EXISTS (
        SELECT 1 FROM internal.requested i
        WHERE i.arena = r.arena AND i.instead_of = r.run AND i.proposal = r.proposal AND i.seq > r.seq)
FROM internal.requested r ANTI JOIN internal.finished USING (arena, run)
WHERE r.arena = ?"""
_STARTED = """
SELECT s.run, s.attempt, s.worker
FROM internal.started s
JOIN internal.requested r ON r.arena = s.arena AND r.run = s.run AND r.seq < s.seq
WHERE s.arena = ? AND NOT EXISTS (SELECT 1 FROM internal.finished f WHERE f.arena = s.arena AND f.run = s.run)
ORDER BY s.seq"""
_KILLED = "SELECT key FROM internal.facts WHERE arena = ? AND kind = 'run.killed'"
_JOINED = "SELECT seq, author, body FROM internal.facts WHERE arena = ? AND kind = 'worker.joined' ORDER BY seq"
_AGENTS = "SELECT key, author FROM internal.facts WHERE arena = ? AND kind = 'agent.joined'"
_AUDITS = """
SELECT r.audit, p.author, p.body
FROM internal.requested r
JOIN internal.finished f ON f.arena = r.arena AND f.run = r.run AND f.seq > r.seq
JOIN internal.posts p ON p.arena = f.arena AND p.seq = f.seq
WHERE r.arena = ? AND r.audit IS NOT NULL
ORDER BY f.seq"""
_OPENED = "SELECT body, author FROM internal.facts WHERE arena = ? AND kind = 'arena.opened'"


class _Unfinished(msgspec.Struct):
    """An unfinished run: the entry that requested it, what that says, and its attempts and who began them.

    `is_replaced` if another run has been requested in its place.
    """

    seq: int
    not_by: tuple[str, ...] = ()
    audit: e.Audit | None = None
    proposal: str = ""
    is_replaced: bool = False
    attempts: int = 0
    begun: tuple[str, ...] = ()
    killed: bool = False


class OpenRuns:
    """The unfinished runs of one arena."""

    def __init__(
        self,
        runs: Mapping[str, _Unfinished],
        workers: Mapping[str, Member],
        opened: e.ArenaOpened | None,
        opened_by: str,
    ) -> None:
        self._runs, self._workers, self._opened, self._opened_by = dict(runs), dict(workers), opened, opened_by
        self._agents: dict[str, str] = {}
        self._contradictions: dict[str, dict[str, Contradiction]] = {}
        self.books = Books(KeptBooks(), opened, self)

    @classmethod
    def read(cls, db: duckdb.DuckDBPyConnection, arena: str) -> Self:
        """Return what the file says."""
        runs = {
            run: _Unfinished(seq, tuple(not_by or ()), _audit(audit), proposal, is_replaced)
            for run, seq, not_by, audit, proposal, is_replaced in db.execute(_REQUESTED, [arena]).fetchall()
        }
        for run, attempt, boot in db.execute(_STARTED, [arena]).fetchall():
            _begin(runs[run], attempt or 0, boot)
        for (run,) in db.execute(_KILLED, [arena]).fetchall():
            if run in runs:
                runs[run].killed = True
        joined = db.execute(_JOINED, [arena]).fetchall()
        lives = ((seq, author, decode_json(body, e.WorkerJoined)) for seq, author, body in joined)
        workers = {life.boot: Member(author, seq, life) for seq, author, life in lives}
        openings = [(decode_json(body, e.ArenaOpened), by) for body, by in db.execute(_OPENED, [arena]).fetchall()]
        opened, by = max(openings, key=lambda opening: opening[0].version, default=(None, ""))
        found = cls(runs, workers, opened, by)
        found.books = Books.read(db, arena, opened, found)
        found._agents = dict(db.execute(_AGENTS, [arena]).fetchall())
        for audit, author, body in db.execute(_AUDITS, [arena]).fetchall():
            note_audit(found._contradictions, _audit(audit), decode_json(body, e.RunFinished), author)
        return found

    def counts(self, event: e.AnyEvent, author: str) -> bool:
        """Tell whether a fact may count; one that may counts if it is the first with its key."""
        strict, workers, doubted = are_strict(self._opened), self._workers, self._contradictions
        match event:
            case e.RunStarted() if strict:
                run = self._runs.get(event.run)
                return run is not None and start_counts(workers, doubted, run.not_by, run.attempts, event, author)
            case e.RunFinished():
                run = self._runs.get(event.run)
                if run is None or not strict:
                    return run is not None
                return finish_counts(workers, doubted, run.begun, event, author, killed=run.killed)
            case e.RunKilled():
                return event.run in self._runs
            case e.WorkerLeft() if strict:
                life = workers.get(event.boot)
                return leave_counts(life.name if life else None, event, author)
            case e.AgentLeft() if strict:
                return leave_counts(self._agents.get(event.boot), event, author)
            case e.CritiquePosted():
                return self.books.may_count(event)
            case _:
                return True

    def rules_out(self, event: e.CritiquePosted, author: str) -> bool:
        """Tell whether a critique rules out its target."""
        return may_rule(self._opened, self._opened_by, event, author)

    def __contains__(self, run: object) -> bool:
        """Tell whether a run has not finished, and no other one has been requested in its place."""
        found = self._runs.get(run) if isinstance(run, str) else None
        return found is not None and not found.is_replaced

    def attempts_of(self, event: e.AnyEvent) -> int:
        """Return how many attempts of the run have begun that a fact finishes."""
        run = self._runs.get(event.run) if isinstance(event, e.RunFinished) else None
        return run.attempts if run else 0

    def take(self, seq: int, event: e.AnyEvent, author: str) -> int:
        """Take a fact that counts; return the entry that requested the run that it finishes, else its own."""
        match event:
            case e.RunRequested():
                self._runs[event.run] = _Unfinished(seq, event.not_by, event.audit, event.proposal)
                if (before := self._runs.get(event.instead_of)) and before.proposal == event.proposal:
                    before.is_replaced = True
            case e.RunStarted() if run := self._runs.get(event.run):
                _begin(run, event.attempt, event.worker)
            case e.RunKilled():
                self._runs[event.run].killed = True
            case e.RunFinished():
                run = self._runs.pop(event.run)
                if are_strict(self._opened):
                    note_audit(self._contradictions, run.audit, event, author)
                return run.seq
            case e.WorkerJoined():
                self._workers[event.boot] = Member(author, seq, event)
            case e.AgentJoined():
                self._agents[event.boot] = author
            case e.ArenaOpened() if self._opened is None or event.version > self._opened.version:
                self._opened, self._opened_by = event, author
            case _:
                pass
        return seq


def _audit(text: str | None) -> e.Audit | None:
    return decode_json(text, e.Audit) if text else None


def _begin(run: _Unfinished, attempt: int, boot: str) -> None:
    run.attempts, run.begun = max(run.attempts, attempt), (*run.begun, boot)

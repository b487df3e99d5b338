"""The keeper: runs that the queue has lost are asked for again, and a worker whose runs vanish twice is named.

Whoever may take jobs from the queue may also end them there: its own, and by a guessed subject those of others. Such a
run is below all that the queue still has, it is unfinished, and nobody has its lease. Asking for it again takes the
place of the lost run, which nobody waits for any more.

A run that only workers of other owners may take (`agents.curation.audits`) is given to anybody once none of them is
there, or none has taken it in the time that a run may take.

It lives in the curator, because its decisions are requests of runs, which only curators may post; and it is told how
far the queue is, which the server says to processes of a hub alone. A curator that is a member does without it.
"""

import datetime as dt
import re
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from mesh.board import Board, Run
from mesh.bounds import MAX_KEY
from mesh.bus import HandedOut
from mesh.events import AnyEvent, NotePosted, RunRequested, WorkerJoined
from mesh.fleet import present

LEASES = 2
"""Leases for which a run is lost before it is asked for again: the worker may be about to post its end."""

FREED_AFTER_S = 10.0
"""Seconds after which a run whose only workers are gone is given to anybody."""

NAMED_FROM = 2
"""Lost runs from which a worker that began them is named."""

_AGAIN = re.compile(r"(.*)-k([0-9]{1,4})", re.DOTALL)


class QueueKeeper:
    """Remembers since when runs are lost, or wait for others; all else follows from the board and the queue."""

    def __init__(self) -> None:
        self._since: dict[str, dt.datetime] = {}
        self._waits: dict[str, dt.datetime] = {}

    def decide(self, board: Board, now: dt.datetime, queue: Mapping[str, HandedOut]) -> list[AnyEvent]:
        """Return the requests that take the place of lost runs, and notes that name workers.

        Args:
            board: The board.
            now: The present time.
            queue: How far the queue is, by lane.
        """
        if board.opened is None or board.closed:
            return []
        lost = {name: run for name in board.unfinished if _is_lost(board, run := board.runs[name], queue)}
        self._since = {name: self._since.get(name, now) for name in lost}
        there = set(present(board.workers)) if lost else set()
        facts: list[AnyEvent] = []
        for name, run in lost.items():
            is_at_work = run.worker in there
            if (now - self._since[name]).total_seconds() >= _patience_s(board, run, queue, is_at_work=is_at_work):
                facts += _again(board, name, run, avoid=run.worker if is_at_work else "")
        return [*facts, *self._freed(board, now, lost)]

    def _freed(self, board: Board, now: dt.datetime, lost: Mapping[str, Run]) -> list[RunRequested]:
        """Return the requests that take the place of runs which wait in vain for workers of other owners."""
        unbegun = ((name, board.runs[name]) for name in board.unfinished)
        waiting = {name: run for name, run in unbegun if run.requested.not_by and not run.attempts and name not in lost}
        self._waits = {name: self._waits.get(name, now) for name in waiting}
        if not waiting:
            return []
        there = [(life.name, life.joined) for life in present(board.workers).values()]
        found: list[RunRequested] = []
        for name, run in waiting.items():
            asked = run.requested
            others = [joined for name, joined in there if name not in asked.not_by and isinstance(joined, WorkerJoined)]
            is_open = any(asked.worker_class in ("any", joined.worker_class) for joined in others)
            longest_s = asked.deadline_s + board.spec.score.deadline_s + FREED_AFTER_S
            if (now - self._waits[name]).total_seconds() >= (longest_s if is_open else FREED_AFTER_S):
                found.append(
                    replace(asked, run=_next_name(board, name), instead_of=name, not_by=_still_not_by(asked, there))
                )
        return found


def _still_not_by(asked: RunRequested, there: Iterable[tuple[str, object]]) -> tuple[str, ...]:
    """Return who must not take a run that others have not taken: of an audit, once more, the workers that it checks."""
    checked = {asked.audit.worker, asked.audit.other} - {""} if asked.audit else set[str]()
    if {*asked.not_by} == checked or not any(name not in checked for name, _ in there):
        return ()
    return tuple(sorted(checked))


def _is_lost(board: Board, run: Run, queue: Mapping[str, HandedOut]) -> bool:
    """Tell whether the queue has no run any more that counts and has not finished."""
    asked = run.requested
    proposal, passed = board.proposals.get(asked.proposal), queue.get(asked.lane)
    if passed is None or run.seq > passed.seq or proposal is None or proposal.ruled_out:
        return False
    return board.is_current(run)


def _patience_s(board: Board, run: Run, queue: Mapping[str, HandedOut], *, is_at_work: bool) -> float:
    """Return for how long a run may be lost: a worker that is there may be at it, and its end would count."""
    leases_s = LEASES * queue[run.requested.lane].lease_s
    return max(leases_s, run.requested.deadline_s + board.spec.score.deadline_s) if is_at_work else leases_s


def _next_name(board: Board, name: str) -> str:
    """Return the name of the run that takes the place of another one."""
    found = _AGAIN.fullmatch(name)
    stem, number = (found[1], int(found[2])) if found else (name, 0)
    while True:
        number += 1
        if (again := f"{stem[: MAX_KEY - 8]}-k{number}") not in board.runs:
            return again


def _again(board: Board, name: str, run: Run, *, avoid: str) -> list[AnyEvent]:
    request: RunRequested = replace(run.requested, run=_next_name(board, name), instead_of=name, avoid=avoid)
    life = board.workers.get(run.worker)
    count = board.doubts.vanished.get(life.name, 0) + 1 if life else 0
    if life is None or count != NAMED_FROM:
        return [request]
    text = (
        f"worker {life.name}: the queue has lost {count} runs that it began, the last one {name}; "
        "either it dies of them or somebody ends its jobs; they are asked for again"
    )
    return [request, NotePosted(channel="ops", text=text)]

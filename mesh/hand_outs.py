"""Whose starts and finishes of runs count, who left, and which runs are given up: what permissions cannot say. Pure.

A permission pins who speaks, not who was given a run. Where an arena was opened with `BY_STARTER`, a start counts
only from a worker that has joined, for the life that it names and the attempt that is next, while the run is
requested and has not finished. A finish counts only from the worker whose life began the run; that a run which was
killed ended so, any worker may say: nobody need begin it. That a worker or an agent left counts from itself; that a
worker no longer answers counts from the hub (`HUB_AUTHOR`, which no member can be named), in whose name whoever calls
the roll says it. The other entries stay in the log and are shown. In older versions of an arena every start counts,
every finish of a requested run, and whoever says that somebody left.

The log cannot know whether the queue gave a run to the worker that says it began it: who lies about that has a
credential and a name, and audits of its scores find it. How often a run was handed out, its queue says
(`Delivery.attempt`).
"""

import sys
from collections.abc import Collection, Mapping
from typing import Protocol

from mesh.events import AgentLeft, ArenaOpened, Audit, RunFinished, RunRequested, RunStarted, Scored, WorkerLeft
from mesh.kept import KeptRuns
from mesh.lean import shared
from mesh.outcomes import is_early_stopped
from mesh.records import Contradiction, Member, Run, WorkerDoubts, mark_left
from mesh.wire import HUB_AUTHOR

BY_STARTER = 1
"""`ArenaOpened.rules` from which starts and finishes count by their authors; `mesh.stated_costs` has the next ones."""


QUARANTINE_FROM = 2
"""Scores that two others contradict, from which a worker is in quarantine."""

Contradictions = Mapping[str, Mapping[str, Contradiction]]
"""Scores that two others contradict, by the name of the worker that gave them and by the run that was repeated."""


class Handing(Protocol):
    """The part of a board that this is about; `mesh.board.Board` says what the fields are."""

    opened: ArenaOpened | None
    workers: dict[str, Member]
    runs: KeptRuns
    unfinished: dict[str, None]
    doubts: WorkerDoubts


def are_strict(opened: ArenaOpened | None) -> bool:
    """Tell whether starts and finishes count by their authors in a version of an arena."""
    return opened is not None and opened.rules >= BY_STARTER


def is_quarantined(contradictions: Contradictions, name: str) -> bool:
    """Tell whether a worker is in quarantine: it takes no runs, and no finish of it counts meanwhile.

    What two workers say that are both contradicted as often does not speak against it: it may be released so.
    """
    found = contradictions.get(name, {})
    if len(found) < QUARANTINE_FROM:
        return False

    def is_doubted(other: str) -> bool:
        return len(contradictions.get(other, ())) >= QUARANTINE_FROM

    return sum(not all(map(is_doubted, each.by)) for each in found.values()) >= QUARANTINE_FROM


def start_counts(
    workers: Mapping[str, Member],
    contradictions: Contradictions,
    not_by: Collection[str],
    attempts: int,
    event: RunStarted,
    author: str,
) -> bool:
    """Tell whether a start of a requested and unfinished run counts.

    Args:
        workers: The lives of workers that have joined, by boot id.
        contradictions: The contradictions so far.
        not_by: The workers that must not take the run.
        attempts: The number of its last attempt that counts.
        event: The start.
        author: Who posted it.
    """
    life = workers.get(event.worker)
    if life is None or life.name != author or event.attempt != attempts + 1 or author in not_by:
        return False
    return not (contradictions and is_quarantined(contradictions, author))


def finish_counts(
    workers: Mapping[str, Member],
    contradictions: Contradictions,
    begun: Collection[str],
    event: RunFinished,
    author: str,
    *,
    killed: bool,
) -> bool:
    """Tell whether a finish of a requested and unfinished run counts.

    Args:
        workers: The lives of workers that have joined, by boot id.
        contradictions: The contradictions so far.
        begun: The lives that began an attempt of the run.
        event: The finish.
        author: Who posted it.
        killed: Whether the run was killed.
    """
    life = workers.get(event.worker)
    if life is None or life.name != author:
        return False
    if event.worker not in begun and not (killed and is_early_stopped(event.outcome)):
        return False
    return not (contradictions and is_quarantined(contradictions, author))


def leave_counts(name: str | None, event: AgentLeft | WorkerLeft, author: str) -> bool:
    """Tell whether it counts that a worker or an agent left.

    Args:
        name: The name of that life, None if it has not joined.
        event: What says so.
        author: Who posted it.
    """
    is_found_silent = isinstance(event, WorkerLeft) and event.silent and author == HUB_AUTHOR
    return name is not None and (author == name or is_found_silent)


def note_audit(
    contradictions: dict[str, dict[str, Contradiction]], audit: Audit | None, event: RunFinished, author: str
) -> None:
    """Note who is contradicted by the end of a second audit: the one of the two whose score is not found again.

    A first audit that got another score says that one of two workers is wrong, not which. Where neither score is found
    again, or both are, nobody is contradicted.
    """
    value = event.outcome.value if audit and isinstance(event.outcome, Scored) else None
    if audit is None or audit.other_value is None or value is None or author in (audit.worker, audit.other):
        return
    is_first_right = abs(value - audit.value) <= audit.tolerance
    if is_first_right != (abs(value - audit.other_value) <= audit.tolerance):
        right, wrong = (audit.worker, audit.other) if is_first_right else (audit.other, audit.worker)
        contradictions.setdefault(wrong, {})[audit.run] = Contradiction(event.run, (right, author))


def owner_of(life: Member) -> str:
    """Return who answers for a worker or an agent: its own name if nobody was named."""
    return life.joined.owner or life.name


def fold_start(board: Handing, event: RunStarted, author: str) -> bool:
    """Fold a start into a board, and tell whether it counts."""
    run, opened = board.runs.take_out(event.run), board.opened
    if opened is not None and opened.rules:
        if run is None or run.finished:
            return False
        doubted, not_by = board.doubts.contradictions, run.requested.not_by
        if not start_counts(board.workers, doubted, not_by, run.attempts, event, author):
            return False
    if run:
        run.attempts, run.worker = max(run.attempts, event.attempt), sys.intern(event.worker)
        run.begun = shared((*run.begun, run.worker))
    return True


def fold_finish(board: Handing, run: Run, event: RunFinished, author: str) -> bool:
    """Fold into a board what the finish of an unfinished run says of workers, and tell whether it counts."""
    doubts, opened = board.doubts, board.opened
    if opened is not None and opened.rules:
        if not finish_counts(board.workers, doubts.contradictions, run.begun, event, author, killed=run.killed):
            return False
        if run.requested.audit:
            note_audit(doubts.contradictions, run.requested.audit, event, author)
    if doubts.replaced:
        doubts.replaced.pop(event.run, None)
    return True


def fold_leave(board: Handing, lives: dict[str, Member], event: AgentLeft | WorkerLeft, author: str) -> bool:
    """Fold into one of a board's `lives` that a worker or an agent left, and tell whether that counts."""
    life = lives.get(event.boot)
    if are_strict(board.opened) and not leave_counts(life.name if life else None, event, author):
        return False
    return mark_left(lives, event.boot, silent=isinstance(event, WorkerLeft) and event.silent)


def give_up(board: Handing, event: RunRequested) -> None:
    """Fold into a board that a request takes the place of a run that nobody will finish.

    Nobody waits for that run any more. If it finishes all the same, its score counts as well, its failure does not.
    """
    run = board.runs.take_out(event.instead_of)
    if run is None or run.finished or run.withdrawn or run.requested.proposal != event.proposal:
        return
    run.withdrawn = True
    board.unfinished.pop(event.instead_of, None)
    board.doubts.replaced[event.instead_of] = None
    if life := board.workers.get(run.worker):
        vanished = board.doubts.vanished
        vanished[life.name] = vanished.get(life.name, 0) + 1

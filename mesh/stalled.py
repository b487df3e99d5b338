"""A search that is paused: so many runs in a row failed alike that more of them may be in vain. Pure.

The champion runs once more then. If it gets a number, the proposals were at fault and the search resumes. Otherwise it
resumes when a worker joins, or when the arena is opened again: then something may have changed.
"""

import re
from itertools import islice
from operator import attrgetter

from mesh.board import Board, Run
from mesh.events import Failed

ALIKE = 10
"""Number of runs in a row that fail alike before the search pauses."""

_LOOK_BACK = 200
"""Latest requests among which the last finished runs are looked for."""

_BEGINNING = "the search is paused: "

_SAME = 80
"""Characters of two messages, without their numbers, that are equal where runs fail alike."""


def why_paused(board: Board) -> str:
    """Return in one sentence why the search is paused and what resumes it; "" if it is not."""
    if not (row := _failed_alike(board)):
        return ""
    last = row[-1]
    outcome = last.finished.outcome if last.finished else None
    assert isinstance(outcome, Failed)
    return (
        f"{_BEGINNING}the last {ALIKE} runs failed alike, up to run {last.requested.run} "
        f"({outcome.reason.replace('_', ' ')}: {outcome.message[:300]}); "
        "it resumes when the champion, which runs once more, gets a score, when a worker joins (start again) "
        "or when the arena is opened again"
    )


def is_champion_due(board: Board) -> bool:
    """Tell whether the search is paused and the champion has not been asked for since the first of these failures."""
    row = _failed_alike(board)
    if not row or not board.champion:
        return False
    return all(board.runs[run].seq < row[0].finished_seq for run in board.proposals[board.champion].runs)


def is_pause_said(board: Board) -> bool:
    """Tell whether the board has the sentence since the first of these failures: more of them may end meanwhile."""
    row = _failed_alike(board)
    return any(note.text.startswith(_BEGINNING) and note.seq > row[0].finished_seq for note in board.latest if row)


def _failed_alike(board: Board) -> list[Run]:
    """Return the last runs in the order of their ends, if they failed alike and nothing has changed since; else []."""
    if board.opened is None or board.closed:
        return []
    proposed = (run for run in reversed(board.runs.values()) if run.requested.proposal in board.proposals)
    ended = []
    for run in islice(proposed, _LOOK_BACK):  # runs of what nobody has proposed say nothing of this search
        if run.finished:
            if board.seq - run.finished_seq < ALIKE and not _kind(run):
                return []  # too few facts came since for so many ends of runs
            ended.append(run)
    ended = sorted(ended, key=attrgetter("finished_seq"))[-ALIKE:]
    if len(ended) < ALIKE or any(run.requested.version != board.opened.version for run in ended):
        return []
    joined = max((worker.seq for worker in board.workers.values() if not worker.left), default=0)
    kinds = {_kind(run) for run in ended}
    return [] if len(kinds) > 1 or "" in kinds or ended[0].finished_seq < joined else ended


def _kind(run: Run) -> str:
    """Return what equal failures share; "" for a run with a number, or one that the swarm stopped."""
    outcome = run.finished.outcome if run.finished else None
    if not isinstance(outcome, Failed) or run.has_number or outcome.reason == "killed":
        return ""
    return f"{outcome.reason} {re.sub(r'[0-9.]+', '0', outcome.message)[:_SAME]}"

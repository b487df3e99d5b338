"""An entry of the log as JSON for the page: small, and with a score only if it counts."""

from typing import Any

import msgspec

from mesh.board import Board
from mesh.events import RunFinished
from mesh.wire import Entry

LEFT_OUT = ("curve", "log_tail", "rationale", "spec", "kind", "environment")
_TEXT = 400
"""Characters of a text; only notes are sent whole."""


def entry_json(entry: Entry, board: Board) -> dict[str, Any]:
    """Return an entry for the page; `board` has folded it. `event` is None if it could not be decoded."""
    row: dict[str, Any] = {
        "seq": entry.seq,
        "time": entry.time.timestamp(),
        "kind": entry.subject.kind,
        "author": entry.subject.author,
        "event": None,
    }
    if entry.post is None:
        return row
    event = entry.post.event
    limit = None if entry.post.kind == "note.posted" else _TEXT
    fields = msgspec.to_builtins(event, str_keys=True)
    row["event"] = {
        name: value[:limit] if isinstance(value, str) else value
        for name, value in fields.items()
        if name not in LEFT_OUT
    }
    if isinstance(event, RunFinished):
        row["event"]["value"] = _counted(entry, event, board)
    return row


def _counted(entry: Entry, event: RunFinished, board: Board) -> float | None:
    """Return the score of a finish if it is the first of its run, by the evaluator in force."""
    run = board.runs.get(event.run)
    if run is None or run.finished_seq != entry.seq or board.opened is None:
        return None
    return run.value if run.evaluator in ("", board.opened.evaluator) else None

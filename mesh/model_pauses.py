"""Agents that pause because their model calls failed: until when, and why, in one sentence. Pure.

They are computed from the log, so a restart does not end them. A usable answer ends them, or another model, or a new
version of the arena.
"""

import datetime as dt

from mesh.board import Board
from mesh.failed_calls import MANY_UNUSABLE, FailedCalls
from mesh.text import printable

_REASON = 200
"""Most characters of a reason in a sentence."""


def pauses(board: Board, name: str, now: dt.datetime) -> bool:
    """Tell whether an agent must wait because its last calls failed."""
    failed = board.failed_calls.get(name)
    return failed is not None and now < failed.until


def why_agents_pause(board: Board, now: dt.datetime) -> list[str]:
    """Return one sentence for each present agent that pauses: why, and when it asks again.

    The short pause after a single answer of no use is left out.
    """
    here = {member.name for member in board.agents.values() if not member.left}
    found = ((name, failed) for name, failed in board.failed_calls.items() if name in here and now < failed.until)
    return [_sentence(name, failed) for name, failed in found if _is_long(failed)]


def unsaid_pause(board: Board, name: str) -> str:
    """Return why an agent pauses after many answers of no use, if no note of it says so yet; else ""."""
    failed = board.failed_calls.get(name)
    if failed is None or failed.unusable < MANY_UNUSABLE:
        return ""
    own = (note for note in board.latest if note.author == name and note.seq > failed.since)
    return "" if any(note.text.startswith(_beginning(name)) for note in own) else _sentence(name, failed)


def _is_long(failed: FailedCalls) -> bool:
    return bool(failed.trouble) or failed.unusable >= MANY_UNUSABLE


def _sentence(name: str, failed: FailedCalls) -> str:
    until = f"it asks again at {failed.until:%H:%M:%S} UTC"
    if failed.trouble:
        count = f"{failed.unanswered} failed call{'s' if failed.unanswered > 1 else ''} in a row"
        return f"{_beginning(name)} after {count}: {printable(failed.trouble, _REASON)}; {until}"
    last = f"the last {failed.unusable} answers of {failed.model} could not be used"
    why = printable(failed.reasons[-1], _REASON)
    return f"{_beginning(name)}: {last}, lately: {why}; {until} (mesh tail --kind model.asked lists them)"


def _beginning(name: str) -> str:
    return f"{name} pauses"

"""The finishes of a run that stand in the log and do not count, for `mesh show`.

Whether a fact counts, the facts before it decide. `mesh tail` reads a piece of the log and keeps no board, so it prints
such a finish as any other.
"""

from collections.abc import Iterator, Mapping
from contextlib import aclosing
from typing import Any

from mesh.board import Board, Run
from mesh.bus import Bus
from mesh.events import RunFinished
from mesh.text import printable
from mesh.wire import Entry, Pattern
from mesh_cli.render.words import say

_SHOWN = 5


async def finishes_not_counted(bus: Bus, board: Board, name: str) -> list[dict[str, Any]]:
    """Return the finishes of a run that do not count: the sequence and author of each, what it says, and why."""
    run, found = board.runs[name], list[Entry]()
    async with aclosing(bus.read(only=[Pattern("run.finished", key=name)])) as batches:
        async for batch in batches:
            found += [entry for entry in batch if entry.seq != run.finished_seq and entry.seq <= board.seq]
    return [
        {
            "seq": entry.seq,
            "author": entry.post.author if entry.post else entry.subject.author,
            "text": say(entry.post.event) if entry.post else entry.subject.kind,
            "why": _why(board, run, entry),
        }
        for entry in found
    ]


def not_counted_lines(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each of the first rows."""
    for row in rows[:_SHOWN]:
        said = f"#{row['seq']} by {printable(row['author'], 40)}: {printable(row['text'], 200)}"
        yield f"does not count: {said} ({row['why']})"
    if len(rows) > _SHOWN:
        yield f"  … and {len(rows) - _SHOWN} more (mesh show --json has all)"


def _why(board: Board, run: Run, entry: Entry) -> str:
    event = entry.post.event if entry.post else None
    if not isinstance(event, RunFinished) or entry.post is None:
        return "it is not understood"
    if entry.seq < run.seq:
        return "nobody had requested the run"
    if run.finished and entry.seq > run.finished_seq:
        return "the run had finished"
    life = board.workers.get(event.worker)
    if life is None or life.name != entry.post.author or event.worker not in run.begun:
        return "its author had not begun the run"
    return "its author had not begun the run yet, or was in quarantine"

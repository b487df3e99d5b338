"""`sql`: a read-only question to the projector, whose answer is small enough for a prompt."""

import re
from typing import Any

import msgspec

from gateway.answers import Queried, closed_words
from gateway.door import Door
from mesh.data_marks import fence_of, tame
from mesh.errors import BadInput, BusUnavailable, QueryError
from mesh.sql_protocol import Query, ask

_MOST_ROWS, _MOST_CHARACTERS = 200, 60_000
_CELL = 400
"""Characters of a text in one cell."""

_TIMEOUT_S = 30.0
_WORD = re.compile(r"[\w.:/+-]{0,64}", re.ASCII)
"""What stands without a fence: hashes, names, states."""


async def sql(door: Door, query: str, *, max_rows: int = _MOST_ROWS) -> Queried:
    """Return the rows of a query; `docs/reference/views.md` lists the views.

    Args:
        door: The arena; the views have all arenas of its log, in the column `arena`.
        query: One read-only statement.
        max_rows: How many rows, 1 to 200.

    Raises:
        BadInput: `max_rows` is out of range.
        BusUnavailable: No projector answers.
        QueryError: The statement was refused or failed.
    """
    if not 1 <= max_rows <= _MOST_ROWS:
        raise BadInput(f"max_rows is {max_rows}; use 1 to {_MOST_ROWS}")
    if not query.strip():
        raise BadInput("the query is empty; write one statement, such as SELECT * FROM leaderboard")
    try:
        answer = await ask(door.bus, Query(query, max_rows=max_rows, timeout_s=_TIMEOUT_S))
    except BusUnavailable:
        raise BusUnavailable(
            f"no projector answers questions about arena {door.bus.arena}; start one with `python -m analytics`, or a "
            "swarm with `mesh up`, which starts its own"
        ) from None
    except QueryError as error:  # such as a cast that fails: the sentence has the text of a cell
        text, _ = _in_fence(str(error), fence_of(door.board, [str(error)]))
        raise QueryError(f"the query was refused or failed: {text}") from None
    board = door.board
    fence, room, cut = fence_of(board, [repr(answer.rows)]), _MOST_CHARACTERS, 0
    rows: list[tuple[Any, ...]] = []
    for row in answer.rows:
        cells = [_shown(cell, fence) for cell in row]
        room -= sum(len(str(cell)) for cell, _ in cells)
        if room < 0 and rows:
            break
        rows.append(tuple(cell for cell, _ in cells))
        cut += sum(is_cut for _, is_cut in cells)
    return Queried(
        arena=board.arena,
        seq=board.seq,
        closed=closed_words(board),
        as_of=answer.as_of.get(board.arena, 0),
        columns=tuple(tame(name)[:_CELL] for name in answer.columns),
        types=tuple(tame(name)[:_CELL] for name in answer.types),
        rows=tuple(rows),
        is_cut=answer.truncated or len(rows) < len(answer.rows),
        cut_cells=cut,
        remark=tame(answer.remark)[:_CELL],
    )


def _shown(cell: Any, fence: str) -> tuple[Any, bool]:
    """Return a cell as it is shown, and whether it was cut; anything that is more than a word stands in a fence."""
    if cell is None or isinstance(cell, bool | int | float):
        return cell, False
    text = cell if isinstance(cell, str) else msgspec.json.encode(cell).decode()
    return (text, False) if _WORD.fullmatch(text) else _in_fence(text, fence)


def _in_fence(text: str, fence: str) -> tuple[str, bool]:
    """Return a text between marks, and whether it was cut."""
    whole = tame(text).replace(fence, "")
    left = len(whole) - _CELL
    short = whole if left <= 0 else f"{whole[:_CELL]}… ({left:,} more characters)"
    return f"<data-{fence}>{short}</data-{fence}>", left > 0

"""`leaderboard`: what the swarm found, the best first."""

from gateway.answers import LeaderRow, Leaders, closed_words, quote_of
from gateway.door import Door
from mesh.errors import BadInput

_MOST, _TITLE = 200, 120


async def leaderboard(door: Door, *, top: int = 20) -> Leaders:
    """Return the first rows of the leaderboard.

    Args:
        door: The arena.
        top: How many rows, 1 to 200.

    Raises:
        BadInput: `top` is out of range.
    """
    if not 1 <= top <= _MOST:
        raise BadInput(f"top is {top}; use 1 to {_MOST}")
    ranking = await door.ranking()
    board, rows = ranking.board, ranking.first(top)
    return Leaders(
        arena=board.arena,
        seq=board.seq,
        closed=closed_words(board),
        metric=board.spec.objective.metric,
        direction=board.spec.objective.direction,
        rows=tuple(
            LeaderRow(
                rank=row.rank,
                proposal=row.proposal,
                author=row.author,
                state=row.state,
                mean=row.mean,
                low=row.low,
                high=row.high,
                fresh=row.fresh,
                title=quote_of(board, row.author, row.title, _TITLE),
            )
            for row in rows
        ),
        left_out=ranking.count() - len(rows),
    )

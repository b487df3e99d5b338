"""Growing learning curves, which are live messages: their topics, and whose curve of a run is believed. Pure.

The topic of a point is `curve.<run>.<author>`, so that a permission can pin who speaks. Only the worker that began the
run last is believed: otherwise anybody could have a run ended by a bad curve. Older versions of an arena also believe
points without an author.
"""

from mesh.board import Board
from mesh.hand_outs import are_strict

CURVES = "curve.>"
"""What to hear for all curves of an arena."""


def curve_topic(run: str, author: str) -> str:
    """Return the topic of the learning curve of a run, as a worker of this name reports it."""
    return f"curve.{run}.{author}"


def believed_run(board: Board, topic: str) -> str:
    """Return the unfinished run whose learning curve a message belongs to; "" if it is not believed."""
    run, _, author = topic.removeprefix("curve.").partition(".")
    if run not in board.unfinished:
        return ""
    if not are_strict(board.opened):
        return run
    life = board.workers.get(board.runs[run].worker)
    return run if life is not None and life.name == author else ""

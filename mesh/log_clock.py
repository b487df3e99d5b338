"""The time of the log on a machine whose clock is wrong: deadlines and costs follow the clock of the server.

The last entry of a board was stored by its time at the latest. So the time since a clock has first seen that entry,
added to it, is never later than the server's clock. It is right as soon as one entry was seen when it was new.
"""

import datetime as dt
import math
import time

from mesh.board import Board


class LogClock:
    """Tells the time of the server that stores a log. Ask it often: it learns from each new entry."""

    def __init__(self) -> None:
        self._ahead_s = -math.inf

    def now(self, board: Board) -> dt.datetime:
        """Return the time of the server; before the first entry, that of this machine."""
        if not board.seq:
            return dt.datetime.now(dt.UTC)
        here_s = time.monotonic()
        self._ahead_s = max(self._ahead_s, board.time.timestamp() - here_s)
        return dt.datetime.fromtimestamp(here_s + self._ahead_s, dt.UTC)

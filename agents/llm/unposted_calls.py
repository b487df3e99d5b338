"""The calls of an agent whose cost is in no fact yet, in a file: an agent that is killed amid a call has paid for it.

A call is written down before the model is asked, and again with its cost when it has answered. The log says how much of
the written calls its facts have counted. What is missing becomes one fact, so that budgets over restarts are right.
"""

import contextlib
from pathlib import Path

import msgspec

from mesh.atomic_write import atomic_write
from mesh.board import Board
from mesh.events import Cost
from mesh.money import stated_usd


class _Open(msgspec.Struct):
    """Tokens and dollars of the agent in the log before the first of these calls, and the calls."""

    tokens: int
    usd: float
    calls: list[Cost] = []


class UnpostedCalls:
    """The open calls of one agent; without a file, no life of it knows what an earlier one paid."""

    def __init__(self, name: str, file: Path | None) -> None:
        self._name, self._file = name, file
        self._open: _Open | None = None
        self._is_earlier = True
        if file is not None:
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                self._open = msgspec.json.decode(file.read_bytes(), type=_Open)

    def begin(self, board: Board, most: Cost) -> int:
        """Write down a call before the model is asked; return its number.

        Args:
            board: The board of the arena.
            most: The most that the call may cost; until it has answered, the question counts and no answer.
        """
        if self._open is None:
            self._open = _Open(board.tokens.get(self._name, 0), stated_usd(board, self._name))
        share = (most.tokens_in or 0) / max(1, (most.tokens_in or 0) + (most.tokens_out or 0))
        usd = None if most.usd is None else most.usd * share
        self._open.calls.append(Cost(usd=usd, tokens_in=most.tokens_in, tokens_out=0))
        self._write()
        return len(self._open.calls) - 1

    def answered(self, number: int, cost: Cost) -> None:
        """Write down what a call has cost."""
        if self._open is not None:
            self._open.calls[number] = cost
            self._write()

    def take(self, board: Board) -> tuple[int, Cost] | None:
        """Return how many calls an earlier life of the agent made that no fact has, and their cost; None for none.

        Later it forgets the calls so far: their facts are on the board. The first time, it forgets nothing, because
        the fact about an earlier life can be lost too.
        """
        was, is_earlier = self._open, self._is_earlier
        self._is_earlier = False
        if was is None:
            return None
        if not is_earlier:
            self._forget()
            return None
        tokens = sum((cost.tokens_in or 0) + (cost.tokens_out or 0) for cost in was.calls)
        missing = tokens - (board.tokens.get(self._name, 0) - was.tokens)
        if missing <= 0:
            self._forget()
            return None
        known = [cost.usd for cost in was.calls if cost.usd is not None]
        usd = max(0.0, sum(known) - (stated_usd(board, self._name) - was.usd)) if known else None
        answers = min(missing, sum(cost.tokens_out or 0 for cost in was.calls))
        return len(was.calls), Cost(usd=usd, tokens_in=missing - answers, tokens_out=answers)

    def _forget(self) -> None:
        self._open = None
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.unlink()

    def _write(self) -> None:
        if self._file is None:
            return
        with contextlib.suppress(OSError):  # a full disk keeps nobody from asking
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._file, durable=True) as path:
                path.write_bytes(msgspec.json.encode(self._open))

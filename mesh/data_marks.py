"""The marks between which text of other authors stands in a prompt, so that no text can end its mark early. Pure."""

import hashlib
import math
import re
from collections.abc import Sequence

from mesh.board import Board
from mesh.text import visible

_TOKEN_BYTES = 3
"""Bytes of one token at least, for any model."""


def fence_of(board: Board, texts: Sequence[str]) -> str:
    """Return a hash of the whole text, so that no author can know it in advance."""
    total = hashlib.sha256(f"{board.arena} {board.seq}".encode())
    for text in texts:
        data = text.encode(errors="replace")
        total.update(f"{len(data)} ".encode() + data)
    return total.hexdigest()[:24]


def tame(text: str) -> str:
    """Return text of another author without control characters and without anything like a mark of data."""
    return re.sub(r"<(/?)\s*data-", r"<\1data ", visible(text, keep="\n\t"), flags=re.IGNORECASE)


def fenced(label: str, text: str, fence: str) -> str:
    """Return text of another author between marks, below a label of ours."""
    return f"{label}\n<data-{fence}>\n{text.replace(fence, '')}\n</data-{fence}>"


def tokens_of(text: str) -> int:
    """Return an upper estimate of the tokens of a text that works for any model: one per three bytes."""
    return math.ceil(len(text.encode(errors="replace")) / _TOKEN_BYTES)


class BoundedText:
    """A text put together from pieces, with an empty line between them, within so many tokens of `tokens_of`.

    `room` is how many bytes are left.
    """

    def __init__(self, max_tokens: int, end: str = "") -> None:
        """Begin a text; `end` is a piece that stands last and has its place from the beginning."""
        self._pieces, self._ends = list[str](), [end] if end else []
        self.room = max_tokens * _TOKEN_BYTES - sum(map(_size, self._ends))

    def put(self, piece: str) -> bool:
        """Add a piece if there is room for it; return whether there was."""
        if (size := _size(piece)) > self.room:
            return False
        self._pieces.append(piece)
        self.room -= size
        return True

    def whole(self) -> str:
        """Return the text."""
        return "\n\n".join([*self._pieces, *self._ends])


def _size(piece: str) -> int:
    return len(piece.encode()) + len("\n\n")

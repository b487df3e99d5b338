"""The marks between which text of other authors stands in a prompt, so that no text can end its mark early. Pure."""

import hashlib
import math
import re
from collections.abc import Sequence

from mesh.board import Board
from mesh.text import visible


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
    return math.ceil(len(text.encode(errors="replace")) / 3)

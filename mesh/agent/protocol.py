"""What an agent is: a plain class that hears facts and answers with facts.

An agent never publishes, acknowledges or opens a connection. Every agent also hears its own `agent.joined`, once the
board is current: the moment to make up for whatever happened while it was away. So a restart needs no memory but the
log.
"""

import datetime as dt
from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

import msgspec

from mesh.board import Board
from mesh.code import CodeStore
from mesh.events import AnyEvent
from mesh.wire import Post


class Context(msgspec.Struct, frozen=True):
    """What an agent is made with: its name, its place among its like (from 0), the code store, and its options."""

    name: str
    index: int
    code: CodeStore
    options: dict[str, str] = {}


class Agent(Protocol):
    """A role; made by `Role(context)`.

    Attributes:
        listens: the kinds of facts that `handle` is called for.
        only_latest: whether a fact that waits is dropped for a later one, because the board alone decides.
    """

    listens: ClassVar[tuple[str, ...]]
    only_latest: ClassVar[bool]

    async def handle(self, post: Post, board: Board) -> Sequence[AnyEvent]:
        """Return the facts that `post` leads to, judged on a board that has folded at least `post`.

        Raises:
            Leaving: the agent leaves now; its reason is told once.
        """


@runtime_checkable
class Ticking(Protocol):
    """An agent that also acts as time passes."""

    every_s: ClassVar[float]

    async def tick(self, now: dt.datetime, board: Board) -> Sequence[AnyEvent]:
        """Return the facts that the passing of time leads to.

        Raises:
            Leaving: the agent leaves now; its reason is told once.
        """


@runtime_checkable
class Hearing(Protocol):
    """An agent that also hears what is live and no fact, such as learning curves while they grow (`curve.>`)."""

    hears: ClassVar[str]

    def heard(self, topic: str, data: bytes, board: Board) -> Sequence[AnyEvent]:
        """Return the facts that what was told under a topic leads to; called often, so it must be quick."""

"""What a role is: a plain class that hears facts and answers with facts and drafts.

A role never publishes, acknowledges, commits or opens a connection. It decides from the board, so that a restart needs
no memory but the log. `handle` is called for the facts that `listens` names; three more methods are optional: `joined`
(once, when the role begins: the moment to catch up), `tick` (as time passes) and `heard` (what is live and no fact).

Two optional attributes say more of a role: `role` is what it is (`explorer`, `researcher`, `critic`, `curator`, or a
word of its own; default: the class name in lower case), and `only_latest = True` drops a fact that waits for a later
one, because the board alone decides.
"""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import msgspec

from mesh.agent.code_reader import CodeReader
from mesh.agent.draft import Draft
from mesh.board import Board
from mesh.events import AnyEvent
from mesh.wire import Post

Answers = Sequence[AnyEvent | Draft]
"""What a role returns; the runtime turns each draft into a commit and a `proposal.posted`, and posts all in order."""


class Context(msgspec.Struct, frozen=True):
    """What a role is made with.

    Attributes:
        name: its name on the board, the author of all that it says.
        index: its place among the agents of its process, from 0.
        code: reads the files of proposals.
        options: what `--option KEY=VALUE` and the like gave it.
        path: folder in which a class of the user's own is found, where an option names one.
    """

    name: str
    index: int
    code: CodeReader
    options: dict[str, str] = {}
    path: Path = Path()


class Agent(Protocol):
    """A role; made by `Role(context)`.

    Attributes:
        listens: the kinds of facts that `handle` is called for, such as `("run.finished",)`.
    """

    listens: ClassVar[tuple[str, ...]]

    async def handle(self, post: Post, board: Board) -> Answers | None:
        """Return what `post` leads to, judged on a board that has folded at least `post`; None is nothing.

        Raises:
            Leaving: the agent leaves now; its reason is told once.
        """


@runtime_checkable
class Joining(Protocol):
    """A role that acts when it begins, once the board is current."""

    async def joined(self, board: Board) -> Answers | None:
        """Return what is due, such as answers to what happened while it was away.

        Raises: as `Agent.handle`.
        """


@runtime_checkable
class Ticking(Protocol):
    """A role that also acts as time passes, every `every_s` seconds."""

    every_s: ClassVar[float]

    async def tick(self, now: dt.datetime, board: Board) -> Answers | None:
        """Return what the passing of time leads to.

        Raises: as `Agent.handle`.
        """


@runtime_checkable
class Hearing(Protocol):
    """A role that also hears what is live and no fact, such as learning curves while they grow (`curve.>`)."""

    hears: ClassVar[str]

    def heard(self, topic: str, data: bytes, board: Board) -> Answers | None:
        """Return what was told under a topic leads to; called often, so it must be quick."""


def role_of(agent: Agent | type[Agent]) -> str:
    """Return what a role is, in one word: its attribute `role`, else the name of its class in lower case."""
    role = agent if isinstance(agent, type) else type(agent)
    return str(getattr(role, "role", role.__name__.lower()))

"""The protocol of a role: a plain class that receives facts and answers with facts and drafts.

A role never publishes, acknowledges, commits or opens a connection. It decides from the board, so after a restart it
needs only the log. The runtime calls `handle` for the facts that `listens` names. Four methods are optional: `joined`
(once, when the role begins, to catch up), `tick` (at intervals), `heard` (for live messages, which are not facts) and
`wakes` (whether it is worth calling `handle`).

Two attributes are optional. `role` is the kind of role: `explorer`, `researcher`, `critic`, `curator`, or a new word;
by default the class name in lower case. With `only_latest = True` a new fact replaces one that still waits, for roles
that decide from the board alone.
"""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal, Protocol, runtime_checkable

import msgspec

from mesh.agent.call_keeper import CallKeeper
from mesh.agent.code_reader import CodeReader
from mesh.agent.command_runner import CommandRunner
from mesh.agent.common import Common
from mesh.agent.draft import Draft
from mesh.agent.item_reader import ItemReader
from mesh.agent.owner_reader import OwnerReader
from mesh.agent.queue_reader import QueueReader
from mesh.agent.text_reader import TextReader
from mesh.board import Board
from mesh.events import AnyEvent
from mesh.wire import Post

Answers = Sequence[AnyEvent | Draft]
"""The return type of a role. The runtime turns drafts into commits and `proposal.posted`, and posts all in order."""


Wakes = Literal["yes", "no", "nobody"]
"""Whether to wake an agent, as `Resting.wakes` says."""


class Context(msgspec.Struct, frozen=True):
    """The argument of a role's constructor.

    Attributes:
        name: the role's name on the board, the author of all its posts.
        index: its place among the agents of its process, from 0.
        code: reads the files of proposals.
        options: the values of `--option KEY=VALUE` and of the options for models.
        path: folder of classes that the user wrote, if an option names one.
        items: reads the scores of single items; only a curator has it.
        calls: keeps calls of models; None keeps none.
        unposted: file for calls of models whose cost is in no fact yet; None for none.
        texts: puts texts of proposals back that the board has left to the log; None reads none.
        common: what the agents of its process have in common.
        commands: runs commands in a sandbox; only a coder has it.
        queue: reads how far the queue of runs is; only a curator has it.
        owners: reads who answers for members; only a curator has it.
    """

    name: str
    index: int
    code: CodeReader
    options: dict[str, str] = {}
    path: Path = Path()
    items: ItemReader | None = None
    calls: CallKeeper | None = None
    unposted: Path | None = None
    texts: TextReader | None = None
    common: Common = msgspec.field(default_factory=Common)
    commands: CommandRunner | None = None
    queue: QueueReader | None = None
    owners: OwnerReader | None = None


class Agent(Protocol):
    """A role; the runtime makes it as `Role(context)`.

    Attributes:
        listens: the kinds of facts that `handle` is called for, such as `("run.finished",)`.
        reserves_usd: optional, the most that model calls of one decision may cost: a budget keeps so much for them.
    """

    listens: ClassVar[tuple[str, ...]]

    async def handle(self, post: Post, board: Board) -> Answers | None:
        """Return the answers to a fact; None is none.

        Args:
            post: the fact with its author and time.
            board: the board, which has folded `post` and perhaps later entries.

        Raises:
            Leaving: the agent leaves for good; the runtime posts the reason as a note.
        """


@runtime_checkable
class Joining(Protocol):
    """A role that acts when it begins, once the board is current."""

    async def joined(self, board: Board) -> Answers | None:
        """Return the first answers, such as those to facts that were posted while the role was not running.

        Raises: as `Agent.handle`.
        """


@runtime_checkable
class Ticking(Protocol):
    """A role that also acts as time passes, every `every_s` seconds."""

    every_s: ClassVar[float]

    async def tick(self, now: dt.datetime, board: Board) -> Answers | None:
        """Return the answers that are due now.

        Args:
            now: the present time, UTC.
            board: the present board.

        Raises: as `Agent.handle`.
        """


@runtime_checkable
class Resting(Protocol):
    """A role that says when a fact is of no use to it, so that the runtime does not wake a thousand agents in vain."""

    def wakes(self, board: Board) -> Wakes:
        """Tell whether `handle` may have an answer now. It is called for every fact, so it must be fast.

        Args:
            board: the present board.

        Returns:
            "yes", "no", or "nobody" if none of its role in this process has an answer: then no other one is asked, but
            for the first.
        """


@runtime_checkable
class Hearing(Protocol):
    """A role that also receives live messages, such as growing learning curves (`curve.>`)."""

    hears: ClassVar[str]

    def heard(self, topic: str, data: bytes, board: Board) -> Answers | None:
        """Return the answers to a live message. It is called often, so it must be fast.

        Args:
            topic: the topic of the message.
            data: the message.
            board: the present board.
        """


@runtime_checkable
class Checking(Protocol):
    """A role that can check, before anything starts, what it depends on."""

    async def check(self) -> None:
        """Check it.

        Raises:
            BadInput: the role could do nothing.
        """


def role_of(agent: Agent | type[Agent]) -> str:
    """Return the kind of a role in one word: its attribute `role`, else its class name in lower case."""
    role = agent if isinstance(agent, type) else type(agent)
    return str(getattr(role, "role", role.__name__.lower()))

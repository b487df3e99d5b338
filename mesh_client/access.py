"""How a client reaches an arena: straight to its log, or through a hub; both ask the same functions of `gateway`."""

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from gateway.door import Door
from mesh.board import Board
from mesh_client.entries import LogEntry
from mesh_client.rows import SqlRows

Asked = TypeVar("Asked")


class Access(Protocol):
    """One arena, from afar."""

    arena: str

    def door(self) -> Door:
        """Return the arena as the gateway has it, with a board that follows the log.

        Raises:
            BadInput: the log cannot be read in this way.
        """

    async def board_now(self) -> Board:
        """Return a board of the caller's own, folded up to the last entry; the next call goes on with it."""

    async def ask(self, what: str, answer: type[Asked], **words: Any) -> Asked:
        """Return what a function of the gateway answers.

        Args:
            what: the name of the function.
            answer: the type of its answer.
            words: its arguments.
        """

    async def files(self, word: str) -> dict[str, bytes]:
        """Return the files of a proposal as a trial finds them."""

    async def folder(self, folder: Path) -> tuple[dict[str, bytes], str | None]:
        """Return the files that are proposed from a folder, and the tree of their parent, None if it is not known."""

    def follow(self, since: int | None, kinds: Sequence[str], until: int | None) -> AsyncGenerator[LogEntry]:
        """Yield the entries after one, None from now on, of these kinds, also after a lost connection."""

    async def rows(self, query: str, max_rows: int, timeout_s: float) -> SqlRows:
        """Return the rows of a query; `max_rows` 0 is all."""

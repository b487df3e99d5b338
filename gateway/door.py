"""What every function of the gateway works on: the log of an arena, its board, its code."""

import anyio
import anyio.lowlevel

from gateway.resolve import Named, find, find_proposal, named_words
from mesh.agent.code_reader import CodeReader
from mesh.board import Board
from mesh.bus import ArenaBus
from mesh.code import CodeStore
from mesh.errors import BadInput, BusUnavailable, UnknownName
from mesh.events import ProposalPosted
from mesh.follow import Follower
from mesh.leading_rows import LeadingRanking, leading_rows

_FOLDED_WITHIN_S = 40.0
"""Seconds in which the board has folded what was posted; the log is read as fast as it is written."""


class Door:
    """One arena, opened for an agent; another task must run `follower.follow`."""

    def __init__(self, bus: ArenaBus, follower: Follower, code: CodeStore) -> None:
        self.bus, self.follower, self.code = bus, follower, code
        self.files = CodeReader(code)

    @property
    def board(self) -> Board:
        """The board as of now.

        Raises:
            BadInput: the arena was never opened.
        """
        board = self.follower.board
        if board.opened is None:
            raise BadInput(f"arena {board.arena} was never opened; mesh open FOLDER opens it")
        return board

    async def proposal(self, word: str) -> str:
        """Return the proposal that a word names: a hash or its beginning, `champion`, `baseline`, a run, or a sequence.

        "" is the champion, else the baseline as it was opened, which nobody need have posted.

        Raises:
            UnknownName: it names none.
        """
        board = self.board
        if not word:
            return board.champion
        assert board.opened is not None
        if word == "baseline" and board.opened.base_tree not in board.proposals:
            return ""
        if not word.lstrip("#").isdecimal() and not word.startswith(("run:", "fact:")):
            try:
                return find_proposal(board, word)
            except UnknownName:
                if word not in board.runs:
                    raise
        named, _ = find(board, word)
        return named.id if named.kind == "proposal" else await self._of(named)

    async def ranking(self) -> LeadingRanking:
        """Return the ranking of the board as of now, whose first rows need no walk over all proposals.

        The first call looks at all of them, and lets others work meanwhile.
        """
        for _ in leading_rows(self.board).update(self.board):
            await anyio.lowlevel.checkpoint()
        return LeadingRanking(self.board)

    def entry(self, word: str) -> int:
        """Return the entry that a word names: a sequence, or the one that posted a proposal or requested a run.

        Raises:
            UnknownName: it names none.
        """
        board = self.board
        named, _ = find(board, word)
        match named.kind:
            case "fact":
                return int(named.id)
            case "proposal":
                return board.proposals[named.id].seq
            case "run":
                return board.runs[named.id].seq
        raise UnknownName(
            f"{named_words(named)} of arena {board.arena} is no entry of the log; use the sequence of one"
        )

    async def folded(self, seq: int) -> Board:
        """Return the board once it has folded entry `seq`, which was just posted.

        Raises:
            BusUnavailable: the log cannot be read; the entry is there.
        """
        with anyio.move_on_after(_FOLDED_WITHIN_S):
            await self.follower.reached(seq)
            return self.board
        raise BusUnavailable(
            f"entry {seq} is in the log of arena {self.board.arena}, but could not be read within "
            f"{_FOLDED_WITHIN_S:g} s; it need not be posted again"
        )

    async def _of(self, named: Named) -> str:
        """Return the proposal that a run, or a fact of the log, is about."""
        board = self.board
        if named.kind == "run":
            return board.runs[named.id].requested.proposal
        if named.kind == "fact":
            for entry in await self.bus.entries([int(named.id)]):
                event = entry.post.event if entry.post else None
                about = event.tree if isinstance(event, ProposalPosted) else getattr(event, "proposal", "")
                run = board.runs.get(getattr(event, "run", ""))
                tree = about or (run.requested.proposal if run else "")
                if tree in board.proposals:
                    return str(tree)
        what = named_words(named)
        raise UnknownName(f"{what} of arena {board.arena} is not about one proposal; name a proposal, or its sequence")

"""A role of your own: proposes half and twice the value of one constant, always from the best code so far.

In this folder:

    mesh up digits --role role:Halver                   # as part of a whole swarm
    python -m mesh.agent role:Halver --arena digits     # beside a swarm that runs
    python -m mesh.agent role:Halver --check            # say whether it can run, start nothing

`tests/test_examples.py` runs it.
"""

import re
from typing import ClassVar

from mesh.agent.draft import Draft
from mesh.agent.protocol import Context
from mesh.board import Board
from mesh.wire import Post

NUMBER = re.compile(r"^([A-Z_]+)( *= *)([0-9.]+(?:e-?[0-9]+)?)", re.MULTILINE)


class Halver:
    """Turns one constant at a time, in the order in which they stand in the code."""

    role: ClassVar[str] = "explorer"  # it counts as one: models keep to their share of the proposals
    listens: ClassVar[tuple[str, ...]] = ("run.finished", "proposal.promoted")
    only_latest: ClassVar[bool] = True  # the board alone decides, so old facts need no answer

    def __init__(self, context: Context) -> None:
        self.name, self.code = context.name, context.code

    async def joined(self, board: Board) -> list[Draft]:
        """Begin: the runtime posts the baseline before the first draft."""
        return await self.propose(board)

    async def handle(self, post: Post, board: Board) -> list[Draft]:
        """Propose whenever a result may have changed what is best."""
        return await self.propose(board)

    async def propose(self, board: Board) -> list[Draft]:
        """Return the first change that nobody has tried; nothing while one of its own waits for a verdict."""
        if board.opened is None or any(board.proposals[tree].author == self.name for tree in board.undecided):
            return []
        parent = board.champion or board.opened.base_tree
        files = await self.code.files(board, parent)
        for path in board.spec.artifact.editable:
            text = files[path].decode()
            for found in NUMBER.finditer(text):
                name, equals, old = found.groups()
                for factor in (0.5, 2):
                    new = str(max(1, int(int(old) * factor))) if old.isdigit() else f"{float(old) * factor:g}"
                    changed = f"{text[: found.start()]}{name}{equals}{new}{text[found.end() :]}"
                    draft = Draft({path: changed}, f"{name} {old} → {new}", f"{factor} times the value", (parent,))
                    if self.code.tree_of({**files, path: changed.encode()}) not in board.proposals:
                        return [draft]
        return []

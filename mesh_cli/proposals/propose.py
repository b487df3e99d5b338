"""What `mesh propose` posts: the editable files of a folder as a commit and a fact."""

import datetime as dt
from itertools import islice
from pathlib import Path

from mesh.agent.draft import Author, Draft, to_fact, to_facts
from mesh.board import Board
from mesh.bus import ArenaBus
from mesh.code import CodeStore
from mesh.editable_paths import editable_paths, is_pattern
from mesh.errors import BadInput
from mesh.events import ProposalPosted
from mesh.follow import post_once
from mesh.wire import Post

_MOST = 10_000
"""Files of a folder that are looked at."""


def editable_files(board: Board, folder: Path) -> dict[str, bytes]:
    """Return the editable files of the arena that `folder` has; the parent gives the others.

    Raises:
        BadInput: the folder has none of them, or one cannot be read.
    """
    files: dict[str, bytes] = {}
    below: list[str] = []
    if any(map(is_pattern, board.spec.artifact.editable)):
        below = [path.relative_to(folder).as_posix() for path in islice(folder.rglob("*"), _MOST) if path.is_file()]
    for name in editable_paths(board.spec, below):
        path = folder / name
        try:
            files[name] = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    if not files:
        wanted = ", ".join(board.spec.artifact.editable)
        raise BadInput(f"{folder} has no editable file of arena {board.arena}; put at least one there: {wanted}")
    return files


async def post_draft(bus: ArenaBus, code: CodeStore, board: Board, draft: Draft, author: str) -> tuple[str, str]:
    """Share and post a draft; return its tree, and who proposed the same files before ("": nobody).

    The baseline is posted first if nobody has proposed it.

    Raises:
        BadInput: the draft cannot be a proposal.
        ObjectMissing: nobody has shared the files of its parent.
    """
    writer, now = Author(author, "human"), dt.datetime.now(dt.UTC)
    fact = await to_fact(draft, writer, board, code, now, board.seq)
    if known := board.proposals.get(fact.tree):
        return fact.tree, known.author
    assert board.opened is not None
    for answer in await to_facts([draft], writer, board, code, now, board.seq):
        if isinstance(answer, ProposalPosted) and answer.commit != board.opened.base_commit:
            await code.push(answer.commit, base=board.opened.base_commit)
        await post_once(bus, board, Post.new(author, answer))
    return fact.tree, ""

"""`propose`: changed files become a commit and a fact, once, however often it is said.

What cannot be proposed is refused before anything is uploaded. Equal files are one proposal: whoever says it again gets
the post that is there. A call that was killed between upload and post is completed by saying it again.
"""

import datetime as dt
from collections.abc import Mapping, Sequence

from gateway.answers import Proposed, closed_words
from gateway.checkout import files_of_trial
from gateway.door import Door
from gateway.refusals import check_files, check_open, check_protected, check_words, parent_words
from mesh.admission_order import place_words, queue_place
from mesh.agent.draft import Author, Draft, to_fact, to_facts
from mesh.board import Board
from mesh.bus import ArenaBus
from mesh.code import CodeStore
from mesh.editable_paths import editable_paths
from mesh.errors import AlreadyPosted, BadInput
from mesh.events import Origin, ProposalPosted
from mesh.file_changes import MOST_CHANGED, file_changes
from mesh.fleet import slots
from mesh.follow import post_once
from mesh.leaderboard import Ranking
from mesh.text import printable
from mesh.wire import Post, check_token

_TITLE = 120


async def propose(
    door: Door,
    files: Mapping[str, bytes],
    *,
    author: str,
    parent: str = "",
    title: str = "",
    rationale: str = "",
    predicted_gain: float | None = None,
    confidence: float | None = None,
    model: str = "",
    also_from: Sequence[str] = (),
) -> Proposed:
    """Propose files, and return the post, its place in the queue and what happens next.

    Args:
        door: The arena.
        files: Editable files by path, whole; those that are not in it stay as the parent has them.
        author: Who proposes, as the log names them.
        parent: The proposal that is changed, by its tree; "" is the baseline.
        title: The change in one line; by default what differs.
        rationale: Why it should be better.
        predicted_gain: The expected gain over the parent, in units of the metric.
        confidence: The probability of a gain, 0 to 1.
        model: The model that made it; "" is a person.
        also_from: Further proposals that it takes something from, by their trees.

    Raises:
        ArenaIsClosed: The arena takes no proposals.
        BadInput: It is refused; nothing was posted.
        ObjectMissing: Nobody has shared the files of the parent.
        BusError: The log cannot be reached.
    """
    check_token("name", author)
    board = door.board
    check_open(board)
    before = await files_of_trial(door, parent)
    editable = editable_paths(board.spec, before, files)
    check_protected([name for name in files if name not in editable and before.get(name) != files[name]], [], editable)
    wanted = {name: data for name, data in files.items() if name in editable}
    check_files(parent_words(board, parent), before, wanted, editable)
    for where, text in (("the title", title), ("the rationale", rationale)):
        check_words(where, text.encode(errors="replace"))
    draft = Draft(
        wanted,
        title.strip() or change_title(before, wanted),
        rationale,
        _parents(board, parent, also_from),
        predicted_gain=predicted_gain,
        confidence=confidence,
        origin=Origin(how="model", name=model) if model else Origin(how="human", name=author),
    )
    known = set(board.proposals)
    tree, known_by = await post_draft(door.bus, door.code, board, draft, author)
    if tree == (parent or (board.opened.base_tree if board.opened else "")):
        raise BadInput(f"nothing is changed: what differs from {parent_words(board, parent)} may not be changed")
    await door.follower.until(lambda board: tree in board.proposals)
    board = door.board
    posted = board.proposals[tree]
    place = queue_place(board, tree)
    return Proposed(
        arena=board.arena,
        seq=board.seq,
        closed=closed_words(board),
        proposal=tree,
        posted=posted.seq,
        author=posted.author,
        title=printable(posted.event.title if posted.author == author else draft.title, _TITLE),
        parent=posted.event.parents[0] if posted.event.parents else "",
        is_new=not known_by and tree not in known,
        known_by=posted.author if posted.author != author else "",
        queue=place,
        next=next_words(board, tree),
    )


def _parents(board: Board, parent: str, also_from: Sequence[str]) -> tuple[str, ...]:
    first = parent or (board.opened.base_tree if board.opened and any(also_from) else "")
    return tuple(dict.fromkeys(tree for tree in (first, *also_from) if tree))


def next_words(board: Board, tree: str) -> str:
    """Return what happens next to a proposal, in a sentence that names no command: every door has its own."""
    place = queue_place(board, tree)
    if place.stage == "decided":
        return f"it is {Ranking(board).state(tree).replace('_', ' ')}"
    idle = "" if slots(board) else "no worker is there yet; "
    return f"{idle}{place_words(place)}"


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
        try:
            await post_once(bus, board, Post.new(author, answer))
        except AlreadyPosted as already:  # somebody was faster
            if isinstance(answer, ProposalPosted) and answer.tree == fact.tree:
                return fact.tree, already.author
    return fact.tree, ""


def change_title(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> str:
    """Return a title for a change: the line that differs, else how many lines do in which files."""
    parts: list[str] = []
    old = {name: before[name] for name in after if name in before}
    for change in file_changes(old, after, most_changed=MOST_CHANGED):
        lines = change.lines[2:]  # without the names of the files
        gone, come = ([line[1:].strip() for line in lines if line[:1] == sign] for sign in "-+")
        if change.remark:
            parts.append(f"{change.file}: {change.remark}")
        elif len(gone) == len(come) == 1:
            parts.append(f"{change.file}: {gone[0]} → {come[0]}")
        else:
            parts.append(f"{change.file} (+{len(come)} -{len(gone)} lines)")
    return printable(", ".join(parts), _TITLE)

"""`push`: the commits of a git bundle become objects and facts, and its heads proposals, once, however often it comes.

Nothing is stored before all of the bundle was looked at. Then each new commit is stored and posted, the oldest first,
so that a push that was killed half way is completed by saying it again. A head whose editable files are new is proposed
like any other proposal; where that is refused, the commit is kept as a commit, and the answer says why.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import BinaryIO, NamedTuple

import anyio.to_thread
import msgspec

from gateway.answers import DoorAnswer, closed_words
from gateway.commit_index import CommitIndex
from gateway.door import Door
from gateway.git_bundle import BadBundle, BundleHead, read_head
from gateway.git_pack import measure_pack
from gateway.git_quarantine import Quarantine, quarantined
from gateway.pack_plan import plan_packs
from gateway.propose import propose
from gateway.pushed_commits import CheckText, PushedCommit, commit_in, new_commits, objects_to_keep, peeled
from gateway.refusals import check_open, check_protected, check_words
from mesh.editable_paths import EditablePaths, editable_paths
from mesh.editable_regions import bounded
from mesh.errors import BadInput, ObjectMissing
from mesh.events import CommitPushed
from mesh.text import short
from mesh.wire import Post

_MOST_PULLED = 5000
_TITLE = 200


class CommitLog(msgspec.Struct, frozen=True):
    """An arena with the index of its commits; `reached` waits until board and index have an entry."""

    door: Door
    commits: CommitIndex
    reached: Callable[[int], Awaitable[None]]


class PushedHead(msgspec.Struct, frozen=True):
    """A head of a push: the proposal that its files are, and in a sentence why it was not proposed, "" if it was."""

    commit: str
    proposal: str
    refused: str = ""


class Pushed(DoorAnswer, frozen=True, kw_only=True):
    """What a push has brought: the commits of its references, how many commits were new, and its proposals."""

    hashes: tuple[str, ...]
    new: int
    heads: tuple[PushedHead, ...]


class _Found(NamedTuple):
    """What a bundle has: its heads, the same as commits, and the new commits, parents first.

    `keep` are the objects that it brings; `bases` is what each new commit is stored against.
    """

    heads: tuple[str, ...]
    commits: dict[str, PushedCommit]
    new: list[PushedCommit]
    keep: list[str]
    bases: dict[str, str]


async def push(
    log: CommitLog, bundle: BinaryIO, *, author: str, model: str = "", check: CheckText = check_words
) -> Pushed:
    """Take what a bundle brings, and return its heads.

    Args:
        log: The arena.
        bundle: The file of the bundle, with a descriptor of its own.
        author: Who pushes, as the log names them.
        model: What made the commits; "" is a person.
        check: Refuses a file or a message, by where it stands.

    Raises:
        ArenaIsClosed: The arena takes no proposals.
        BadBundle: The bundle is not valid, or builds on commits that are not here.
        BadInput: A file or a message has a secret.
        BundleTooLarge: It brings more than one push may.
        BusError: The log cannot be reached.
    """
    check_open(log.door.board)
    found = await _taken(log, bundle, check)
    await _post_all(log, found, author)
    outcomes = [await _propose(log, found.commits[each], author, model) for each in found.heads]
    board = log.door.board
    return Pushed(
        arena=board.arena,
        seq=board.seq,
        closed=closed_words(board),
        hashes=found.heads,
        new=len(found.new),
        heads=tuple(outcomes),
    )


async def _taken(log: CommitLog, file: BinaryIO, check: CheckText) -> _Found:
    """Look at all of a bundle, and take the objects of its new commits into the cache."""
    head = await anyio.to_thread.run_sync(_measured, file)
    if lacking := [each for each in head.needed if not log.commits.knows(each)]:
        raise BadBundle(
            f"invalid bundle: Repository lacks these prerequisite commits: {', '.join(lacking[:5])}; push them first, "
            "or a bundle with the whole history, such as `git bundle create FILE HEAD`"
        )
    for each in head.needed:
        await _pull(log, each)
    try:
        return await _unpacked(log, file, head, check)
    except BadBundle:
        if not head.needed:
            raise
    for known in (each for name in head.needed for each in log.commits.lineage(name, _MOST_PULLED)):
        await _pull(log, known.commit)  # git may leave out what any ancestor has
    return await _unpacked(log, file, head, check)


def _measured(file: BinaryIO) -> BundleHead:
    file.seek(0)
    head = read_head(file)
    measure_pack(file)
    return head


async def _unpacked(log: CommitLog, file: BinaryIO, head: BundleHead, check: CheckText) -> _Found:
    async with quarantined(file, head.pack_at, log.door.code.folder / "objects") as objects:
        found = await anyio.to_thread.run_sync(_look_through, log, objects, head, check)
        here = {commit.commit for commit in found.new}
        for parent in dict.fromkeys(each for commit in found.new for each in commit.parents if each not in here):
            await _pull(log, parent)
        return await anyio.to_thread.run_sync(_take, log, objects, found)


def _look_through(log: CommitLog, objects: Quarantine, head: BundleHead, check: CheckText) -> _Found:
    knows, read = log.commits.knows, objects.read
    heads = tuple(dict.fromkeys(peeled(read, name, knows) for name, _ in head.heads))
    new = new_commits(read, heads, knows)
    known = {name: commit_in(read, name) or _known_commit(log, name) for name in heads}
    return _Found(heads, known, new, objects_to_keep(read, new, check), {})


def _take(log: CommitLog, objects: Quarantine, found: _Found) -> _Found:
    """Plan how the new commits are stored, and take their objects into the cache."""

    def root_of(commit: str) -> str:
        known = log.commits.get(commit)
        return known.root if known else ""

    bases = plan_packs(lambda name: objects.read(name) or log.door.code.read(name), found.new, root_of)
    log.door.code.take(each for name in found.keep if (each := objects.read(name)))
    return found._replace(bases=bases)


def _known_commit(log: CommitLog, name: str) -> PushedCommit:
    known = log.commits.get(name)
    assert known is not None
    return PushedCommit(name, "", known.parents, known.subject, 0)


async def _post_all(log: CommitLog, found: _Found, author: str) -> None:
    """Store and post the new commits, the oldest first."""
    seq = 0
    for commit in found.new:
        base = found.bases[commit.commit]
        size = await _share(log, commit, base)
        files = await log.door.code.files(commit.commit, base=base)
        event = CommitPushed(
            commit=commit.commit,
            tree=commit.tree,
            parents=commit.parents,
            message=commit.message,
            at=commit.at,
            bytes=size,
            proposal=await _proposal_of(log.door, files),
            base=base,
        )
        seq = await log.door.follower.post_once(Post.new(author, event))
    if seq:
        await log.reached(seq)


async def _share(log: CommitLog, commit: PushedCommit, base: str) -> int:
    try:
        return await log.door.code.push(commit.commit, base=base)
    except ObjectMissing:
        for known in (each for name in commit.parents for each in log.commits.lineage(name, _MOST_PULLED)):
            await _pull(log, known.commit)
        return await log.door.code.push(commit.commit, base=base)


async def _pull(log: CommitLog, commit: str) -> None:
    known = log.commits.get(commit)
    await log.door.code.pull(commit, base=known.root if known else "")


async def _proposal_of(door: Door, files: Mapping[str, bytes]) -> str:
    """Return the id that the editable files of a commit have as a proposal, "" if it has none of them."""
    base = await door.files.files(door.board)
    wanted, _ = _editable(door, base, files)
    merged = {name: bounded(base[name], data) if name in base else data for name, data in wanted.items()}
    try:
        return door.files.tree_of({**base, **merged}) if wanted else ""
    except BadInput:
        return ""


def _editable(
    door: Door, base: Mapping[str, bytes], files: Mapping[str, bytes]
) -> tuple[dict[str, bytes], EditablePaths]:
    editable = editable_paths(door.board.spec, base, files)
    return {name: files[name] for name in editable if name in files}, editable


async def _propose(log: CommitLog, head: PushedCommit, author: str, model: str) -> PushedHead:
    """Propose the editable files of a head, if nobody has; a refusal is a part of the answer."""
    door, known = log.door, log.commits.get(head.commit)
    assert known is not None
    board = door.board
    assert board.opened is not None
    title, _, rationale = head.message.strip().partition("\n")
    try:
        files, base = await door.code.files(head.commit, base=known.root), await door.files.files(board)
        wanted, editable = _editable(door, base, files)
        others = [name for name in base if name not in editable and name in files and files[name] != base[name]]
        check_protected(others, [], editable)
        if not wanted:
            listed = ", ".join(board.spec.artifact.editable)
            raise BadInput(
                f"commit {short(head.commit)} has no editable file of arena {board.arena}; put one there: {listed}"
            )
        if known.proposal in board.proposals or known.proposal == board.opened.base_tree:
            return PushedHead(head.commit, known.proposal)
        made = await propose(
            door,
            wanted,
            author=author,
            parent=_parent_of(log, head),
            title=title[:_TITLE],
            rationale=rationale.strip(),
            model=model,
        )
    except BadInput as error:
        return PushedHead(head.commit, "", str(error))
    return PushedHead(head.commit, made.proposal)


def _parent_of(log: CommitLog, head: PushedCommit) -> str:
    """Return the nearest proposal that a commit comes from by first parents; "" is the baseline."""
    board = log.door.board
    seen, at = set[str](), log.commits.get(head.parents[0]) if head.parents else None
    while at is not None and at.commit not in seen:
        if at.proposal in board.proposals:
            return at.proposal
        seen.add(at.commit)
        at = log.commits.get(at.parents[0]) if at.parents else None
    return ""

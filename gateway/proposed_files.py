"""Where the files of a proposal come from: a checkout, any folder, a patch, or a commit of a git repository."""

import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import anyio.to_thread
import msgspec

from gateway.checkout import files_of_trial
from gateway.checkout_folder import CheckoutNote, files_there, folder_changes, folder_files
from gateway.door import Door
from gateway.refusals import check_protected
from mesh import git_objects as git
from mesh.answer_flaw import Unusable
from mesh.diffs import apply_diff, starts_diff
from mesh.editable_paths import editable_paths, is_pattern
from mesh.errors import BadInput
from mesh.foreign_commits import ForeignCommit, read_commits
from mesh.git_tree import Incomplete, add_object, files_below

_MOST_LINES = 1_000_000
_MAIL_END = re.compile(r"^-- \n[^\n]{0,80}\n*\Z", re.MULTILINE)
_SUBJECT = re.compile(r"^Subject: (?:\[PATCH[^\]]*\] )?(.*(?:\n .*)*)", re.MULTILINE)
_BINARY = re.compile(r"^(GIT binary patch|Binary files .* differ)$", re.MULTILINE)


class ProposedFiles(msgspec.Struct, frozen=True):
    """Editable files by path, and the words that came with them, "" if none did.

    `left_out` are new files that no proposal may have, such as outputs of a run. `parent` is the tree of the proposal
    that they change, None if it is not known.
    """

    files: dict[str, bytes]
    title: str = ""
    rationale: str = ""
    left_out: tuple[str, ...] = ()
    parent: str | None = None


async def from_checkout(door: Door, folder: Path, note: CheckoutNote) -> ProposedFiles:
    """Return the editable files of a folder that a proposal was checked out into.

    Raises:
        BadInput: it is of another arena, or protected files were changed, or files are gone.
    """
    board = door.board
    if note.arena != board.arena:
        raise BadInput(f"{folder} is a checkout of arena {note.arena}, not of {board.arena}; use --arena {note.arena}")
    change = folder_changes(folder, note)
    editable = editable_paths(board.spec, note.files, change.new)
    check_protected([name for name in change.changed if name not in editable], change.deleted, editable)
    wanted = [name for name in (*change.changed, *change.new) if name in editable]
    left_out = tuple(name for name in change.new if name not in editable)
    return ProposedFiles(folder_files(folder, wanted), left_out=left_out, parent=note.proposal)


def from_folder(door: Door, folder: Path) -> ProposedFiles:
    """Return the editable files that any folder has; the parent gives the others, and protected ones are passed over.

    Raises:
        BadInput: the folder has none of them, or one cannot be read.
    """
    board = door.board
    below = files_there(folder) if any(map(is_pattern, board.spec.artifact.editable)) else []
    files = folder_files(folder, [name for name in editable_paths(board.spec, below) if os.path.lexists(folder / name)])
    if not files:
        wanted = ", ".join(board.spec.artifact.editable)
        raise BadInput(f"{folder} has no editable file of arena {board.arena}; put at least one there: {wanted}")
    return ProposedFiles(files)


async def from_patch(door: Door, text: str, parent: str) -> ProposedFiles:
    """Return the files of a parent with a unified diff in them, such as `git diff` or `git format-patch` writes it.

    Raises:
        BadInput: there is no diff in the text, or it does not fit, or it changes protected or binary files.
    """
    board, before = door.board, await files_of_trial(door, parent)
    lines = text.replace("\r\n", "\n").split("\n")
    start = next((number for number in range(len(lines)) if starts_diff(lines, number)), None)
    if start is None:
        raise BadInput("the patch has no diff in it; use what `git diff` or `diff -u` writes")
    head, body = "\n".join(lines[:start]), _MAIL_END.sub("", "\n".join(lines[start:]))
    if _BINARY.search(body):
        raise BadInput("the patch changes a binary file; a proposal changes text")
    if len(_SUBJECT.findall(f"{head}\n{body}")) > 1:
        raise BadInput("the patch has several commits; use one diff, such as that of `git diff OLD NEW`")
    try:
        after = await anyio.to_thread.run_sync(partial(apply_diff, before, body, most_lines=_MOST_LINES))
    except Unusable as error:
        raise BadInput(f"the patch cannot be used: {error}") from None
    changed = {name: data for name, data in after.items() if before.get(name) != data}
    editable = editable_paths(board.spec, before, changed)
    check_protected([name for name in changed if name not in editable], [], editable)
    subject = _SUBJECT.search(head)
    title = " ".join(subject[1].split()) if subject else ""
    words = head[subject.end() :].strip().partition("\n---\n")[0].removesuffix("\n---") if subject else ""
    words = words.partition("\n\n")[2].strip() if re.match(r"[A-Z][\w-]+: ", words) else words.strip()
    return ProposedFiles(changed or dict(after), title, words, parent=parent)


async def from_commit(door: Door, repository: Path, revision: str) -> ProposedFiles:
    """Return the editable files of a commit, with its message as title and rationale.

    The folder may lie below the top of its repository: its files are those of the arena. The parent is the proposal
    whose files the commit's own parent has, if there is one.

    Raises:
        BadInput: there is no such repository or commit, or the commit changes protected files.
    """
    board = door.board
    prefix = _prefix_of(repository)
    found = await read_commits(repository, [revision, f"{revision}^"])
    if revision not in found:
        raise BadInput(f"{repository} has no commit {revision[:60]!r}; name one as for `git show`")
    files, message = _files_of(found[revision], prefix)
    base = await door.files.files(board)
    editable = editable_paths(board.spec, base, files)
    before = _files_of(found[f"{revision}^"], prefix)[0] if f"{revision}^" in found else None
    began = base if before is None else before
    touched = [name for name in base if name not in editable and name in files and files[name] != began.get(name)]
    gone = [name for name in base if name not in files and name in (before or {})]
    check_protected(touched, gone, editable)
    left_out = tuple(name for name in files if name not in {*base, *editable, *(before or {})})
    wanted = {name: files[name] for name in editable if name in files}
    if not wanted:
        raise BadInput(
            f"commit {revision[:60]} has no editable file of arena {board.arena} in {repository}; it needs one of "
            f"{', '.join(board.spec.artifact.editable)}"
        )
    title, _, rationale = message.strip().partition("\n")
    parent = None
    if before is not None:
        tree = door.files.tree_of({**base, **{name: before[name] for name in editable if name in before}})
        known = tree in board.proposals or (board.opened and tree == board.opened.base_tree)
        parent = tree if known else None
    return ProposedFiles(wanted, title.strip(), rationale.strip(), left_out=left_out, parent=parent)


def _files_of(commit: ForeignCommit, prefix: str) -> tuple[dict[str, bytes], str]:
    """Return the files of a commit below a folder, and its message."""
    objects: dict[str, git.Object] = {}
    try:
        for kind, body in commit.objects:
            add_object(kind, body, objects)
        _, body = objects[commit.commit]
        every: Mapping[str, bytes] = dict(files_below(git.commit_tree(body), objects.get))
    except (KeyError, ValueError, Incomplete) as error:
        raise BadInput(f"commit {commit.commit[:10]} cannot be used: {error}") from None
    message = body.partition(b"\n\n")[2].decode(errors="replace")
    return {name.removeprefix(prefix): data for name, data in every.items() if name.startswith(prefix)}, message


def _prefix_of(folder: Path) -> str:
    """Return where a folder lies in its git repository: "" at its top, else `a/b/`."""
    here = folder.resolve()
    top = next((parent for parent in (here, *here.parents) if (parent / ".git").exists()), here)
    inside = here.relative_to(top).as_posix()
    return "" if inside == "." else f"{inside}/"

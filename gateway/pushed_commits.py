"""The commits that a bundle brings, parents first, and whether their files may be kept here. Pure.

Only files and folders are taken: a symbolic link or a submodule would mean something else on another machine.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from gateway.git_bundle import BadBundle, BundleTooLarge
from gateway.refusals import check_words
from mesh import git_objects as git
from mesh.git_objects import BLOB, COMMIT, TREE, Object
from mesh.git_tree import MAX_COMMIT_DEPTH, MAX_COMMIT_FILES, MAX_COMMIT_PATH
from mesh.text import printable, short

MAX_NEW_COMMITS = 1000
"""Commits that one push may bring, at most."""
MAX_FILES_BYTES = 128 * 1024**2
"""Bytes of the files of one commit, at most."""

_TAG, _MOST_PARENTS, _MESSAGE = 4, 100, 16_000
_MODES = {"100644", "100755", "100664"}
_MOST_TEXT = 1024**2
"""Bytes of a file that is looked through for secrets, at most."""

ReadObject = Callable[[str], Object | None]
CheckText = Callable[[str, bytes], None]


class PushedCommit(msgspec.Struct, frozen=True):
    """A commit of a bundle; `at` is the Unix time at which its author made it."""

    commit: str
    tree: str
    parents: tuple[str, ...]
    message: str
    at: int


class _Folder(NamedTuple):
    """What is below a tree: folders on top of each other, files and folders, characters of a path, bytes."""

    depth: int = 0
    items: int = 0
    path: int = 0
    bytes: int = 0


def peeled(read: ReadObject, name: str, knows: Callable[[str], bool]) -> str:
    """Return the commit that a reference of a bundle means: that of a tag is what the tag names.

    Raises:
        BadBundle: it is not a commit.
    """
    for _ in range(10):
        kind, body = read(name) or (0, b"")
        if kind == COMMIT or (not kind and knows(name)):
            return name
        if kind != _TAG or not body.startswith(b"object "):
            break
        name = body[7:47].decode("ascii", "replace")
    raise BadBundle(f"invalid bundle: {printable(name, 50)} is not a commit; push references to commits")


def commit_in(read: ReadObject, name: str) -> PushedCommit | None:
    """Return a commit of a bundle; None if it has no such commit.

    Raises:
        BadBundle: it is not valid.
    """
    kind, body = read(name) or (0, b"")
    return _parsed(name, body) if kind == COMMIT else None


def new_commits(read: ReadObject, heads: Sequence[str], knows: Callable[[str], bool]) -> list[PushedCommit]:
    """Return the commits that are not known here, each after all of its parents.

    Args:
        read: gives the objects of the bundle.
        heads: the commits that it brings.
        knows: tells whether a commit is here.

    Raises:
        BadBundle: a commit is not valid, or a parent is missing.
        BundleTooLarge: they are too many.
    """
    found, seen, count = list[PushedCommit](), set[str](), 0
    todo: list[tuple[str, PushedCommit | None]] = [(head, None) for head in reversed(heads)]
    while todo:
        name, ready = todo.pop()
        if ready:
            found.append(ready)
        if ready or name in seen:
            continue
        seen.add(name)
        commit = commit_in(read, name)
        if commit is None:
            if knows(name):
                continue
            raise BadBundle(f"parent commit not found: {name}; push it first, or a bundle with the whole history")
        if not knows(name):
            todo.append((name, commit))
            count += 1
            if count > MAX_NEW_COMMITS:
                raise BundleTooLarge(
                    f"bundle too large: it brings more than {MAX_NEW_COMMITS:,} new commits; push them in parts, or "
                    "start from an orphan branch"
                )
        todo += [(parent, None) for parent in reversed(commit.parents)]
    return found


def _parsed(name: str, body: bytes) -> PushedCommit:
    try:
        tree, parents = git.commit_tree(body), tuple(git.commit_parents(body))
    except ValueError as error:
        raise BadBundle(f"invalid bundle: commit {short(name)}: {error}") from None
    if len(parents) > _MOST_PARENTS or not all(map(git.is_hash, parents)):
        raise BadBundle(f"invalid bundle: commit {short(name)} has more than {_MOST_PARENTS} parents, or bad ones")
    try:
        at = max(0, int(git.commit_time(body).timestamp()))
    except ValueError:
        at = 0
    message = body.partition(b"\n\n")[2].decode("utf-8", "replace").replace("\0", "")
    return PushedCommit(name, tree, parents, message[:_MESSAGE], at)


def objects_to_keep(read: ReadObject, commits: Iterable[PushedCommit], check: CheckText = check_words) -> list[str]:
    """Return the hashes of the objects that these commits bring, after a look at all of them.

    Args:
        read: gives the objects of the bundle.
        commits: the commits.
        check: refuses a text, by where it stands.

    Raises:
        BadBundle: a tree has what we do not take.
        BadInput: a file or a message has a secret.
        BundleTooLarge: a commit has too many files, or too large ones.
    """
    known: dict[str, _Folder] = {}
    kept: dict[str, None] = {}
    for commit in commits:
        check(f"the message of commit {short(commit.commit)}", commit.message.encode())
        _look_at(read, commit, known, kept, check)
        kept[commit.commit] = None
    return list(kept)


def _look_at(
    read: ReadObject, commit: PushedCommit, known: dict[str, _Folder], kept: dict[str, None], check: CheckText
) -> None:
    """Look at the trees and files of a commit that were not seen before; the deepest trees are done first."""
    todo: list[tuple[str, str, bool]] = [(commit.tree, "", False)]
    while todo:
        tree, path, is_done = todo.pop()
        if tree in known:
            continue
        kind, body = read(tree) or (0, b"")
        if not kind:
            known[tree] = _Folder()  # of a commit that is here, and was looked at then
            continue
        try:
            items = git.tree_items(body) if kind == TREE else None
        except ValueError:
            items = None
        if items is None:
            raise BadBundle(f"invalid bundle: {short(tree)} of commit {short(commit.commit)} is not a tree")
        if not is_done:
            todo += [(tree, path, True), *((name, f"{path}{word}/", False) for name, word in _folders(path, items))]
            continue
        known[tree] = _sum_of(path, items, known, list(_files(read, path, items, kept, check)))
        kept[tree] = None


def _folders(path: str, items: Sequence[git.TreeItem]) -> Iterator[tuple[str, str]]:
    """Yield the folders in a tree, by hash and name, after a look at all that is in it."""
    if len(path) > MAX_COMMIT_PATH or path.count("/") > MAX_COMMIT_DEPTH:
        raise BundleTooLarge(f"bundle too large: {printable(path, 60)}… has more than {MAX_COMMIT_DEPTH} folders")
    for item in items:
        where = printable(f"{path}{item.name}", 80)
        if not git.is_file_name(item.name):
            raise BadBundle(f"invalid bundle: {where} cannot be the name of a file")
        if item.mode == "120000":
            raise BadBundle(f"invalid bundle: {where} is a symbolic link; commit the file itself")
        if item.mode == "160000":
            raise BadBundle(f"invalid bundle: {where} is a submodule; commit its files")
        if item.kind == TREE:
            yield item.hash, item.name
        elif item.mode not in _MODES:
            raise BadBundle(f"invalid bundle: {where} has the mode {printable(item.mode, 10)}; commit plain files")


def _files(
    read: ReadObject, path: str, items: Sequence[git.TreeItem], kept: dict[str, None], check: CheckText
) -> Iterator[int]:
    """Yield the sizes of the files in a tree that the bundle brings."""
    for item in items:
        if item.kind != BLOB or (found := read(item.hash)) is None:
            continue
        if found[0] != BLOB:
            raise BadBundle(f"invalid bundle: {printable(path + item.name, 80)} is not a file")
        if item.hash not in kept and len(found[1]) <= _MOST_TEXT:
            check(path + item.name, found[1])
        kept[item.hash] = None
        yield len(found[1])


def _sum_of(path: str, items: Sequence[git.TreeItem], known: dict[str, _Folder], sizes: Sequence[int]) -> _Folder:
    inner = [(item, known[item.hash]) for item in items if item.kind == TREE]
    found = _Folder(
        1 + max((each.depth for _, each in inner), default=0),
        len(items) + sum(each.items for _, each in inner),
        max((len(item.name) + 1 + (known[item.hash].path if item.kind == TREE else 0) for item in items), default=0),
        sum(sizes) + sum(each.bytes for _, each in inner),
    )
    if found.depth > MAX_COMMIT_DEPTH or found.path > MAX_COMMIT_PATH:
        raise BundleTooLarge(f"bundle too large: {printable(path, 60)}… has more than {MAX_COMMIT_DEPTH} folders")
    if found.items > MAX_COMMIT_FILES or found.bytes > MAX_FILES_BYTES:
        raise BundleTooLarge(
            f"bundle too large: a commit has more than {MAX_COMMIT_FILES:,} files or {MAX_FILES_BYTES // 1024**2} MiB"
        )
    return found

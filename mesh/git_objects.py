"""Git's objects as bytes: blobs, trees and commits, their names, and how a tree and a commit are read and written.

It knows as much of git's format as a commit of plain files needs, and uses no library of git: those read files that
they have not checked.
"""

import datetime as dt
import hashlib
import re
from collections.abc import Iterable, Sequence

import msgspec

COMMIT, TREE, BLOB = 1, 2, 3
OBJECT_KINDS = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob"}
"""Git's numbers and words for the kinds of objects that we have."""

Object = tuple[int, bytes]
"""An object's kind, in git's numbers, and its body."""

_FILE, _FOLDER = "100644", "40000"
_HASH = re.compile(r"[0-9a-f]{40}")
_TREE_LINE = re.compile(rb"tree ([0-9a-f]{40})\n")


class TreeItem(msgspec.Struct, frozen=True):
    """One line of a tree: the mode in git's digits, the file name, and the hash of the object."""

    mode: str
    name: str
    hash: str

    @property
    def kind(self) -> int | None:
        """Whether it is a blob or a tree; None if it is neither (a commit of another repository)."""
        mode = self.mode.lstrip("0")
        return TREE if mode == _FOLDER else BLOB if mode[:2] in ("10", "12") else None


def is_hash(name: str) -> bool:
    """Tell whether a text is the full name of an object: 40 hex digits in lower case."""
    return _HASH.fullmatch(name) is not None


def object_name(kind: int, body: bytes) -> str:
    """Return the name that git gives an object: the SHA-1 of its kind, length and body.

    Raises:
        ValueError: the kind is not known.
    """
    if kind not in OBJECT_KINDS:
        raise ValueError(f"kind {kind} of object is not known")
    return hashlib.sha1(b"%s %d\x00" % (OBJECT_KINDS[kind], len(body)) + body, usedforsecurity=False).hexdigest()


def file_item(name: str, blob: str) -> TreeItem:
    """Return the line of a file in a tree."""
    return TreeItem(_FILE, name, blob)


def folder_item(name: str, tree: str) -> TreeItem:
    """Return the line of a folder in a tree."""
    return TreeItem(_FOLDER, name, tree)


def is_file_name(name: str) -> bool:
    """Tell whether git allows a file or folder of this name in a tree."""
    if name in ("", ".", "..") or name.lower() == ".git" or "/" in name or "\x00" in name:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def tree_body(items: Iterable[TreeItem]) -> bytes:
    """Return the body of a tree; git sorts a folder as if its name ended in a slash."""
    order = sorted(items, key=lambda item: item.name.encode() + (b"/" if item.mode == _FOLDER else b""))
    return b"".join(f"{item.mode} {item.name}\x00".encode() + bytes.fromhex(item.hash) for item in order)


def tree_items(body: bytes) -> list[TreeItem]:
    """Return the lines of a tree.

    Raises:
        ValueError: it is not a valid tree.
    """
    items: list[TreeItem] = []
    at = 0
    while at < len(body):
        end = body.index(b"\x00", at)
        mode, _, name = body[at:end].decode("utf-8", "replace").partition(" ")
        at = end + 21
        if at > len(body) or not mode or not name:
            raise ValueError("a tree is cut off")
        items.append(TreeItem(mode, name, body[end + 1 : at].hex()))
    return items


def commit_body(tree: str, parents: Sequence[str], *, author: str, at: dt.datetime, message: str) -> bytes:
    """Return the body of a commit; the author also commits."""
    who = f"{_signature(author)} <{_signature(author)}@mesh.invalid> {int(at.timestamp())} +0000"
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents), f"author {who}", f"committer {who}"]
    return ("\n".join(lines) + "\n\n" + message).encode("utf-8", "replace")


def _signature(name: str) -> str:
    return re.sub(r"[<>\n\x00]", "", name).strip() or "nobody"


def commit_tree(body: bytes) -> str:
    """Return the tree of a commit.

    Raises:
        ValueError: it is not a valid commit.
    """
    found = _TREE_LINE.match(body)
    if not found:
        raise ValueError("a commit names no tree")
    return found[1].decode()


def commit_parents(body: bytes) -> list[str]:
    """Return the parents of a commit."""
    head = body.partition(b"\n\n")[0]
    return [line[7:].decode("ascii", "replace") for line in head.split(b"\n") if line.startswith(b"parent ")]


def commit_time(body: bytes) -> dt.datetime:
    """Return the author's time of a commit.

    Raises:
        ValueError: it names none.
    """
    found = re.search(rb"^author .* (\d{1,12}) [+-]\d{4}$", body.partition(b"\n\n")[0], re.MULTILINE)
    if not found:
        raise ValueError("a commit names no time")
    try:
        return dt.datetime.fromtimestamp(int(found[1]), dt.UTC)
    except (OverflowError, OSError):
        raise ValueError("the time of a commit is out of range") from None

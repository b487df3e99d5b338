"""Which commit each pushed commit is stored against, so that a history takes no more than its changes. Pure.

A pack has what its commit adds to one other commit, whose own pack has everything (`mesh.code`). That is the one that
the first parent is stored against, until a commit adds much to it: then it is stored whole, and the next ones against
it. Without that, a large file in the second of a thousand commits would be stored a thousand times.
"""

from collections.abc import Callable, Sequence

from gateway.git_bundle import BundleTooLarge
from gateway.pushed_commits import PushedCommit, ReadObject
from mesh import git_objects as git
from mesh.git_objects import COMMIT, TREE

MAX_STORED_BYTES = 256 * 1024**2
"""Bytes that one push may take in the store, before compression."""

_MUCH, _SHARE = 1024 * 1024, 8


def plan_packs(read: ReadObject, commits: Sequence[PushedCommit], root_of: Callable[[str], str]) -> dict[str, str]:
    """Return for each commit the one that it is stored against, "" if it is stored whole.

    Args:
        read: gives objects of the bundle, and of commits that are here.
        commits: the new commits, parents first.
        root_of: gives the commit that one which is here is stored against, itself if whole; "" if it is not here.

    Raises:
        BundleTooLarge: they would take too much.
    """
    sizes = _Sizes(read)
    planned: dict[str, str] = {}
    total = 0
    for commit in commits:
        first = commit.parents[0] if commit.parents else ""
        root = (planned[first] or first) if first in planned else root_of(first) if first else ""
        own = sizes.below(commit.tree)
        whole = sum(own.values())
        added = whole
        if root:
            had = sizes.of_commit(root)
            added = sum(size for name, size in own.items() if name not in had)
        if not root or added > max(_MUCH, whole // _SHARE):
            root, added = "", whole
        planned[commit.commit] = root
        total += added
        if total > MAX_STORED_BYTES:
            raise BundleTooLarge(
                f"bundle too large: its commits take more than {MAX_STORED_BYTES // 1024**2} MiB; keep data out of them"
            )
    return planned


class _Sizes:
    """The sizes of objects, and of all that is below a tree."""

    def __init__(self, read: ReadObject) -> None:
        self._read = read
        self._items: dict[str, list[tuple[str, bool]]] = {}
        self._size: dict[str, int] = {}
        self._last: tuple[str, dict[str, int]] = ("", {})

    def of_commit(self, commit: str) -> dict[str, int]:
        """Return the objects of a commit with their sizes; the last answer is kept."""
        if self._last[0] != commit:
            kind, body = self._read(commit) or (0, b"")
            self._last = commit, self.below(git.commit_tree(body)) if kind == COMMIT else {}
        return self._last[1]

    def below(self, tree: str) -> dict[str, int]:
        """Return a tree and all below it with their sizes; what cannot be read has none."""
        found, todo = dict[str, int](), [tree]
        while todo:
            name = todo.pop()
            if name in found:
                continue
            items = self._of_tree(name)
            found[name] = self._size.get(name, 0)
            for inner, is_folder in items:
                if is_folder:
                    todo.append(inner)
                elif inner not in found:
                    found[inner] = self._of_file(inner)
        return found

    def _of_tree(self, name: str) -> list[tuple[str, bool]]:
        if name not in self._items:
            kind, body = self._read(name) or (0, b"")
            self._size[name] = len(body)
            items = git.tree_items(body) if kind == TREE else []
            self._items[name] = [(item.hash, item.kind == TREE) for item in items]
        return self._items[name]

    def _of_file(self, name: str) -> int:
        if name not in self._size:
            self._size[name] = len((self._read(name) or (0, b""))[1])
        return self._size[name]

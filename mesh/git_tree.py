"""Files as git's trees: a tree is made from files, and the files below a tree are found again, within bounds.

Nothing here recurses into what others wrote: a tree may be as deep and as wide as its author liked.
"""

from collections.abc import Callable, Iterator, Mapping

from mesh import git_objects as git
from mesh.errors import BadInput
from mesh.git_objects import BLOB, TREE, Object, TreeItem, object_name

MAX_COMMIT_FILES = 100_000
"""Files and folders of a commit, at most."""
MAX_COMMIT_BYTES = 1024**3
"""Bytes of all files of a commit, at most."""
MAX_COMMIT_PATH = 1024
"""Characters of a path in a commit, at most."""
MAX_COMMIT_DEPTH = 100
"""Folders above a file in a commit, at most."""


class Incomplete(Exception):
    """An object is missing or damaged here."""


def add_object(kind: int, body: bytes, objects: dict[str, Object]) -> str:
    """Add an object under its name, and return the name; raises ValueError if its kind is not known."""
    name = object_name(kind, body)
    objects[name] = kind, body
    return name


def add_tree(files: Mapping[str, bytes], objects: dict[str, Object]) -> str:
    """Add the blobs and trees of files; return the hash of the uppermost tree.

    Args:
        files: contents by relative path.
        objects: what gets the objects.

    Raises:
        BadInput: git does not allow a path, or it is too deep.
    """
    for path in files:
        if len(path) > MAX_COMMIT_PATH or path.count("/") > MAX_COMMIT_DEPTH:
            raise BadInput(f"{path[:100]!r}… is too deep for a commit: use at most {MAX_COMMIT_DEPTH} folders")
    return _add_folder(files, objects)


def _add_folder(files: Mapping[str, bytes], objects: dict[str, Object]) -> str:
    folders: dict[str, dict[str, bytes]] = {}
    items: dict[str, TreeItem] = {}
    for path, data in files.items():
        name, slash, rest = path.partition("/")
        if not git.is_file_name(name):
            raise BadInput(f"{name!r} cannot be the name of a file in a commit")
        if slash:
            folders.setdefault(name, {})[rest] = data
        else:
            items[name] = git.file_item(name, add_object(BLOB, data, objects))
    for name, inner in folders.items():
        if name in items:
            raise BadInput(f"{name!r} cannot be both a file and a folder in a commit")
        items[name] = git.folder_item(name, _add_folder(inner, objects))
    return add_object(TREE, git.tree_body(items.values()), objects)


def items_below(tree: str, read: Callable[[str], Object | None]) -> Iterator[tuple[str, TreeItem]]:
    """Return the files and folders below a tree with their paths.

    Raises:
        Incomplete: a tree is missing.
        ValueError: there are too many, or a name is not allowed.
    """
    count, todo = 0, [("", tree)]
    while todo:
        prefix, folder = todo.pop()
        kind, body = read(folder) or (0, b"")
        if kind != TREE:
            raise Incomplete(f"object {folder} is missing")
        for item in git.tree_items(body):
            count += 1
            if count > MAX_COMMIT_FILES:
                raise ValueError(f"they are more than {MAX_COMMIT_FILES:,}")
            if not git.is_file_name(item.name):
                raise ValueError(f"{item.name!r} cannot be the name of a file in a commit")
            if item.kind is None:
                continue
            path = prefix + item.name
            if item.kind == TREE:
                if len(path) > MAX_COMMIT_PATH or path.count("/") >= MAX_COMMIT_DEPTH:
                    raise ValueError(
                        f"a path has more than {MAX_COMMIT_PATH:,} characters or {MAX_COMMIT_DEPTH} folders"
                    )
                todo.append((path + "/", item.hash))
            yield path, item


def files_below(tree: str, read: Callable[[str], Object | None]) -> Iterator[tuple[str, bytes]]:
    """Return the contents of the files below a tree by path; raises as `items_below`."""
    total = 0
    for path, item in items_below(tree, read):
        if item.kind == BLOB:
            kind, body = read(item.hash) or (0, b"")
            if kind != BLOB:
                raise Incomplete(f"object {item.hash} is missing")
            total += len(body)
            if total > MAX_COMMIT_BYTES:
                raise ValueError(f"they have more than {MAX_COMMIT_BYTES:,} bytes")
            yield path, body

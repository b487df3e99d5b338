"""The code of proposals: a git DAG without a main branch, packs beside the log, a bare repository as cache.

A pack has what a commit adds to the arena's base commit, so two fetches give all files of any commit, however long its
ancestry is. Objects are named by git's own hashes. The cache computes each hash again, so a pack that someone changed
does not give its commit. pygit2 does the work; nothing here runs git.
"""

import datetime as dt
import shutil
import threading
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import anyio.to_thread
import msgspec
import pygit2
from pygit2.enums import FileMode, ObjectType, ResetMode

from mesh.bus import Objects
from mesh.errors import BadInput, ObjectMissing

MAX_UNPACKED_BYTES = 256 * 1024 * 1024
"""Bytes of a pack after decompression, at most."""


class Commit(msgspec.Struct, frozen=True):
    """A commit's hash and the hash of its tree (40 hex digits each)."""

    commit: str
    tree: str


class _Pack(msgspec.Struct, frozen=True, array_like=True):
    """The objects that a commit adds to `base` ("": all objects), as git's type and body, the commit last."""

    base: str
    objects: list[tuple[int, bytes]]


class CodeStore:
    """One arena's commits: local cache at `path`, packs in `objects`."""

    def __init__(self, path: Path, objects: Objects) -> None:
        self._objects = objects
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._repo = pygit2.init_repository(str(path), bare=True)

    def commit(
        self,
        files: Mapping[str, bytes],
        *,
        parents: Iterable[str] = (),
        message: str,
        author: str,
        at: dt.datetime,
    ) -> Commit:
        """Write a commit into the cache and return its hashes; `push` shares it.

        Args:
            files: contents of all files by relative path.
            parents: hashes of the parent commits.
            message: the commit message.
            author: name of the author.
            at: the time of the commit; with the same time, the same files give the same commit.

        Raises:
            BadInput: git does not allow a path (`..`, `.git`, a file that is also a folder).
            ObjectMissing: a parent is not in the cache.
        """
        with self._lock:
            tree = self._write_tree(files)
            who = pygit2.Signature(author, f"{author}@mesh.invalid", int(at.timestamp()), 0)
            oid = self._repo.create_commit(None, who, who, message, tree, [self._commit(p).id for p in parents])
            return Commit(str(oid), str(tree))

    def tree_of(self, files: Mapping[str, bytes]) -> str:
        """Return the tree hash of `files`: the id that a proposal of them would have.

        Raises: as `commit`.
        """
        with self._lock:
            return str(self._write_tree(files))

    def _write_tree(self, files: Mapping[str, bytes]) -> pygit2.Oid:
        folders: dict[str, dict[str, bytes]] = {}
        builder = self._repo.TreeBuilder()
        for name, data in files.items():
            head, slash, rest = name.partition("/")
            if slash:
                folders.setdefault(head, {})[rest] = data
            else:
                _insert(builder, name, self._repo.create_blob(data), FileMode.BLOB)
        for head, inner in folders.items():
            _insert(builder, head, self._write_tree(inner), FileMode.TREE)
        return builder.write()

    def adopt(self, repository: Path, name: str) -> tuple[Commit, dt.datetime]:
        """Copy a commit of another repository into the cache unchanged; return it and its author's time.

        Its parents are not copied.

        Args:
            repository: folder of the other repository.
            name: a full or short hash, or any other name that git accepts for a commit.

        Raises:
            BadInput: the folder is not a git repository.
            ObjectMissing: the repository has no such commit, or lacks some of its files.
        """
        try:
            other = pygit2.Repository(str(repository))
        except pygit2.GitError as error:
            raise BadInput(f"{repository} is not a git repository: {error}") from None
        try:
            found = other.revparse_single(name).peel(pygit2.Commit)
            with self._lock:
                for oid in (*_objects_of(found), found.id):
                    self._repo.odb.write(*other.odb.read(oid))
        except (KeyError, ValueError, pygit2.GitError):
            raise ObjectMissing(f"{repository} has no commit {name}, or lacks some of its files") from None
        zone = dt.timezone(dt.timedelta(minutes=found.author.offset))
        at = dt.datetime.fromtimestamp(found.author.time, zone).astimezone(dt.UTC)
        return Commit(str(found.id), str(found.tree.id)), at

    async def push(self, commit: str, *, base: str = "") -> None:
        """Share a commit of the cache.

        Args:
            commit: hash of the commit.
            base: hash of the arena's base commit, whose objects the pack leaves out; "" leaves out none.
        """
        data = await anyio.to_thread.run_sync(self._pack, commit, base)
        await self._objects.put(commit, data)

    async def pull(self, commit: str, *, base: str = "") -> None:
        """Fetch a commit, and its `base`, into the cache.

        Raises:
            ObjectMissing: nobody has shared the commit, or its pack does not contain it.
        """
        for name in filter(None, (base, commit)):
            if self.has(name):
                continue
            pack = await self._fetch(name)
            if pack.base and not self.has(pack.base):
                whole = await self._fetch(pack.base)
                await anyio.to_thread.run_sync(self._unpack, pack.base, whole)
            await anyio.to_thread.run_sync(self._unpack, name, pack)

    async def _fetch(self, commit: str) -> _Pack:
        data = await self._objects.get(commit)
        try:
            plain = zlib.decompressobj().decompress(data, MAX_UNPACKED_BYTES)
            return msgspec.msgpack.decode(plain, type=_Pack)
        except (zlib.error, msgspec.MsgspecError) as error:
            raise ObjectMissing(f"the pack of commit {commit} is damaged: {error}") from None

    def has(self, commit: str) -> bool:
        """Tell whether the commit is in the cache."""
        with self._lock:
            try:
                return isinstance(self._repo.get(commit), pygit2.Commit)
            except ValueError:
                return False

    async def files(self, commit: str, *, base: str = "") -> dict[str, bytes]:
        """Return the files of a commit by relative path; fetch what the cache lacks.

        Args:
            commit: hash of the commit.
            base: hash of the arena's base commit, to which packs refer; "" if there is none.

        Raises:
            ObjectMissing: there is no such commit, or a part of it is missing.
        """
        await self.pull(commit, base=base)
        return await anyio.to_thread.run_sync(self._files, commit)

    def _files(self, commit: str) -> dict[str, bytes]:
        with self._lock:
            found: dict[str, bytes] = {}
            try:
                for path, blob in _walk(self._commit(commit).tree):
                    found[path] = blob.data
            except (KeyError, pygit2.GitError) as error:
                raise ObjectMissing(f"commit {commit} is incomplete here: {error.args[0]}") from None
            return found

    def tree(self, commit: str) -> str:
        """Return the tree hash of a commit in the cache."""
        with self._lock:
            return str(self._commit(commit).tree.id)

    def _commit(self, commit: str) -> pygit2.Commit:
        try:
            found = self._repo.get(commit)
        except ValueError:
            found = None
        if not isinstance(found, pygit2.Commit):
            raise ObjectMissing(f"there is no commit {commit}")
        return found

    def _pack(self, commit: str, base: str) -> bytes:
        with self._lock:
            head = self._commit(commit)
            have = _objects_of(self._commit(base)) if base and base != commit else set()
            names = [*sorted(str(oid) for oid in _objects_of(head) - have), str(head.id)]
            packed = [(int(kind), data) for kind, data in (self._repo.odb.read(pygit2.Oid(hex=n)) for n in names)]
        return zlib.compress(msgspec.msgpack.encode(_Pack(base if have else "", packed)), 6)

    def _unpack(self, commit: str, pack: _Pack) -> None:
        try:
            with self._lock:
                for kind, body in pack.objects:
                    self._repo.odb.write(ObjectType(kind), body)
        except ValueError:
            raise ObjectMissing(f"the pack of commit {commit} is damaged: an object has an unknown type") from None
        if not self.has(commit):
            raise ObjectMissing(f"the pack of commit {commit} does not contain the commit")

    def export(self, folder: Path, refs: Mapping[str, str]) -> None:
        """Write an ordinary git repository with every cached object, and check out `HEAD` if `refs` has it.

        Args:
            folder: where to write; it must be empty or not exist.
            refs: hashes of commits by full name, such as `refs/heads/champion`.

        Raises:
            FileExistsError: `folder` exists and is not empty.
        """
        if folder.exists() and any(folder.iterdir()):
            raise FileExistsError(f"{folder} exists and is not empty")
        repo = pygit2.init_repository(str(folder))
        with self._lock:
            for oid in self._repo.odb:
                kind, data = self._repo.odb.read(oid)
                repo.odb.write(kind, data)
        _mark_shallow(repo)
        for name, commit in refs.items():
            if name == "HEAD":
                repo.set_head(pygit2.Oid(hex=commit))
            else:
                repo.references.create(name, pygit2.Oid(hex=commit), force=True)
        if "HEAD" in refs:
            repo.reset(pygit2.Oid(hex=refs["HEAD"]), ResetMode.HARD)

    def forget(self) -> None:
        """Delete the cache; shared packs stay."""
        shutil.rmtree(self._repo.path)


def _mark_shallow(repo: pygit2.Repository) -> None:
    """List the commits whose parents were not copied, so that git treats them like the ends of a shallow clone."""
    cut: list[str] = []
    for oid in repo.odb:
        commit = repo.get(oid)
        if isinstance(commit, pygit2.Commit) and any(parent not in repo.odb for parent in commit.parent_ids):
            cut.append(str(oid))
    if cut:
        Path(repo.path, "shallow").write_text("".join(f"{name}\n" for name in sorted(cut)), encoding="ascii")


def _insert(builder: pygit2.TreeBuilder, name: str, oid: pygit2.Oid, mode: FileMode) -> None:
    try:
        if builder.get(name) is not None:
            raise BadInput(f"{name!r} cannot be both a file and a folder in a commit")
        builder.insert(name, oid, mode)
    except (pygit2.GitError, ValueError):
        raise BadInput(f"{name!r} cannot be the name of a file in a commit") from None


def _walk(tree: pygit2.Tree, prefix: str = "") -> Iterable[tuple[str, pygit2.Blob]]:
    for item in tree:
        if isinstance(item, pygit2.Tree):
            yield from _walk(item, f"{prefix}{item.name}/")
        elif isinstance(item, pygit2.Blob):
            yield f"{prefix}{item.name}", item


def _objects_of(commit: pygit2.Commit) -> set[pygit2.Oid]:
    """The trees and blobs of a commit, without the commit itself."""
    seen: set[pygit2.Oid] = set()
    todo = [commit.tree]
    while todo:
        tree = todo.pop()
        seen.add(tree.id)
        for item in tree:
            if isinstance(item, pygit2.Tree):
                todo.append(item)
            else:
                seen.add(item.id)
    return seen

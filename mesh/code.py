"""The code of proposals: a git DAG without a main branch, packs beside the log, a bare repository as cache.

A pack has what a commit adds to the arena's base commit, so two fetches give all files of any commit, however long its
ancestry is. Objects are named by git's own hashes, which are computed again from what was read or fetched: a changed
pack does not give its commit, and a damaged cache is fetched again. The library of git only writes exports: it may wait
for ever on a damaged file.
"""

import datetime as dt
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import anyio.to_thread
import msgspec

from mesh import git_objects as git
from mesh.bus import Objects
from mesh.errors import BadInput, ObjectMissing
from mesh.foreign_commits import read_commits
from mesh.git_cache import ObjectCache
from mesh.git_objects import COMMIT, Object, is_hash
from mesh.git_tree import MAX_COMMIT_FILES, Incomplete, add_object, add_tree, files_below, items_below

MAX_UNPACKED_BYTES = 256 * 1024 * 1024
"""Bytes of a pack after decompression, at most."""

_KEPT = 16
"""Commits made here and not pushed yet whose objects are also kept in memory."""
_KNOWN = 10_000
_MAX_OBJECTS = 2 * MAX_COMMIT_FILES


class Commit(msgspec.Struct, frozen=True):
    """A commit's hash and the hash of its tree (40 hex digits each)."""

    commit: str
    tree: str


class _Pack(msgspec.Struct, frozen=True, array_like=True):
    """The objects that a commit adds to `base` ("": all objects), as git's type and body, the commit last."""

    base: str
    objects: Annotated[list[tuple[int, bytes]], msgspec.Meta(max_length=_MAX_OBJECTS)]


class CodeStore:
    """One arena's commits: local cache at `path`, packs in `objects`."""

    def __init__(self, path: Path, objects: Objects) -> None:
        self._objects = objects
        self._cache = ObjectCache(path)
        self._made: dict[str, dict[str, Object]] = {}
        self._trees: dict[str, str] = {}

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
        objects: dict[str, Object] = {}
        tree = add_tree(files, objects)
        known = list(parents)
        for parent in known:
            self.tree(parent)
        name = add_object(COMMIT, git.commit_body(tree, known, author=author, at=at, message=message), objects)
        self._keep(name, tree, objects)
        return Commit(name, tree)

    def _keep(self, commit: str, tree: str, objects: dict[str, Object]) -> None:
        for kind, body in objects.values():
            self._cache.write(kind, body)
        self._made[commit] = objects
        while len(self._made) > _KEPT:
            del self._made[next(iter(self._made))]
        self._note(commit, tree)

    def _note(self, commit: str, tree: str) -> None:
        if len(self._trees) >= _KNOWN:
            self._trees.clear()
        self._trees[commit] = tree

    def tree_of(self, files: Mapping[str, bytes]) -> str:
        """Return the tree hash of `files`: the id that a proposal of them would have.

        Raises: as `commit`.
        """
        return add_tree(files, {})

    async def adopt(self, repository: Path, names: Sequence[str]) -> dict[str, tuple[Commit, dt.datetime]]:
        """Copy commits of another repository into the cache unchanged; return them and their authors' times.

        Their parents are not copied. Commits that the repository lacks, or that are damaged there, are left out.

        Args:
            repository: folder of the other repository.
            names: full or short hashes, or any other names that git accepts for a commit.

        Raises:
            BadInput: the folder is not a git repository.
        """
        adopted: dict[str, tuple[Commit, dt.datetime]] = {}
        for name, found in (await read_commits(repository, names)).items():
            try:
                objects: dict[str, Object] = {}
                for kind, body in found.objects:
                    add_object(kind, body, objects)
                _, body = objects[found.commit]
                tree, at = git.commit_tree(body), git.commit_time(body)
                for _ in files_below(tree, objects.get):
                    pass
            except (KeyError, ValueError, Incomplete):
                continue
            await anyio.to_thread.run_sync(self._keep, found.commit, tree, objects)
            adopted[name] = Commit(found.commit, tree), at
        return adopted

    def take(self, objects: Iterable[Object]) -> None:
        """Write objects into the cache that were checked, such as those of pushed commits."""
        for kind, body in objects:
            self._cache.write(kind, body)

    async def push(self, commit: str, *, base: str = "") -> int:
        """Share a commit of the cache, and return the bytes of its pack.

        Args:
            commit: hash of the commit.
            base: hash of a commit whose objects the pack leaves out, such as the arena's base commit; its own pack must
                have all objects. "" leaves out none.

        Raises:
            ObjectMissing: the commit is not in the cache.
        """
        if base and base != commit:
            await self.pull(base)
        data = await anyio.to_thread.run_sync(self._pack, commit, base)
        await self._objects.put(commit, data)
        self._made.pop(commit, None)
        return len(data)

    def _pack(self, commit: str, base: str) -> bytes:
        try:
            have = set(self._names(base)) if base and base != commit else set()
        except Incomplete:
            have = set()  # the cache cannot be written: the pack has everything
        try:
            names = [*sorted(name for name in self._names(commit) if name not in have and name != commit), commit]
            packed = [self._read(name, commit) for name in names]
        except Incomplete as error:
            raise self._missing(commit, error) from None
        return zlib.compress(msgspec.msgpack.encode(_Pack(base if have else "", packed)), 6)

    def objects(self, commit: str, known: set[str]) -> Iterator[Object]:
        """Yield the objects of a commit in the cache, the commit first, but for those in `known`, and add their names.

        Raises:
            ObjectMissing: one of them is missing.
        """
        try:
            for name in self._names(commit):
                if name not in known:
                    known.add(name)
                    yield self._read(name, commit)
        except (Incomplete, ValueError) as error:
            raise ObjectMissing(f"commit {commit} is incomplete here: {error}") from None

    def read(self, name: str) -> Object | None:
        """Return an object of the cache by its hash; None if it is missing or damaged."""
        return self._cache.read(name)

    def parents(self, commit: str) -> list[str]:
        """Return the parents of a commit in the cache.

        Raises:
            ObjectMissing: it is not there.
        """
        try:
            return git.commit_parents(self._read(commit, commit)[1])
        except Incomplete as error:
            raise ObjectMissing(f"commit {commit} is incomplete here: {error}") from None

    @property
    def folder(self) -> Path:
        """The folder of the cache, in the layout of a bare repository."""
        return self._cache.path

    def _names(self, commit: str) -> Iterator[str]:
        """Return the hashes of a commit and of its trees and blobs."""
        yield commit
        tree = self._tree_in(commit)
        yield tree
        for _, item in items_below(tree, lambda name: self._read(name, commit)):
            yield item.hash

    def _read(self, name: str, commit: str = "") -> Object:
        found = self._made.get(commit, {}).get(name) or self._cache.read(name)
        if found is None:
            raise Incomplete(f"object {name} is missing")
        return found

    async def pull(self, commit: str, *, base: str = "") -> None:
        """Fetch a commit, and its `base`, into the cache.

        Raises:
            ObjectMissing: nobody has shared the commit, or its pack does not contain it.
        """
        for name in filter(None, (base, commit)):
            if not (name in self._trees and self.has(name)):
                await self.files(name)

    async def _fetch(self, commit: str) -> _Pack:
        if not is_hash(commit):
            raise ObjectMissing(f"there is no commit {commit[:100]!r}: a commit has 40 hex digits")
        data = await self._objects.get(commit)
        try:
            plain = zlib.decompressobj().decompress(data, MAX_UNPACKED_BYTES)
            return msgspec.msgpack.decode(plain, type=_Pack)
        except (zlib.error, msgspec.MsgspecError, RecursionError, MemoryError) as error:
            raise ObjectMissing(f"the pack of commit {commit} is damaged: {error}") from None

    def has(self, commit: str) -> bool:
        """Tell whether the commit is in the cache."""
        try:
            return self._read(commit, commit)[0] == COMMIT
        except Incomplete:
            return False

    async def files(self, commit: str, *, base: str = "") -> dict[str, bytes]:
        """Return the files of a commit by relative path; fetch what the cache lacks, also where it is damaged.

        Args:
            commit: hash of the commit.
            base: hash of the arena's base commit, to which packs refer; "" if there is none.

        Raises:
            ObjectMissing: there is no such commit, or a part of it is missing, or it is too large.
        """
        try:
            return await anyio.to_thread.run_sync(self._files, commit, {})
        except Incomplete:
            pass
        fetched: dict[str, Object] = {}
        pack = await self._fetch(commit)
        if pack.base and not self.has(pack.base):
            await self._unpack(pack.base, await self._fetch(pack.base), fetched)
        await self._unpack(commit, pack, fetched)
        try:
            return await anyio.to_thread.run_sync(self._files, commit, fetched)
        except Incomplete as error:
            wider = pack.base or base
            if not wider or wider == commit:
                raise self._missing(commit, error) from None
        await self._unpack(wider, await self._fetch(wider), fetched)
        try:
            return await anyio.to_thread.run_sync(self._files, commit, fetched)
        except Incomplete as error:
            raise self._missing(commit, error) from None

    async def _unpack(self, commit: str, pack: _Pack, fetched: dict[str, Object]) -> None:
        """Add the objects of a pack to those fetched, and to the cache."""

        def unpack() -> None:
            for kind, body in pack.objects:
                add_object(kind, body, fetched)
                self._cache.write(kind, body)

        try:
            await anyio.to_thread.run_sync(unpack)
        except ValueError:
            raise ObjectMissing(f"the pack of commit {commit} is damaged: an object has an unknown type") from None
        if fetched.get(commit, (0, b""))[0] != COMMIT:
            raise ObjectMissing(f"the pack of commit {commit} does not contain the commit")

    def _files(self, commit: str, fetched: Mapping[str, Object]) -> dict[str, bytes]:
        """Return the files of a commit from what was fetched and from the cache.

        Raises:
            Incomplete: an object is in neither.
            ObjectMissing: the commit is too large, or a name in it is not allowed.
        """

        def read(name: str) -> Object:
            return fetched.get(name) or self._read(name, commit)

        kind, body = read(commit)
        if kind != COMMIT:
            raise Incomplete(f"object {commit} is not a commit")
        try:
            tree = git.commit_tree(body)
        except ValueError as error:
            raise ObjectMissing(f"commit {commit} is damaged: {error}") from None
        try:
            found = dict(files_below(tree, read))
        except ValueError as error:
            raise ObjectMissing(f"the files of commit {commit} cannot be used: {error}") from None
        self._note(commit, tree)
        return found

    def tree(self, commit: str) -> str:
        """Return the tree hash of a commit in the cache.

        Raises:
            ObjectMissing: it is not there.
        """
        if commit in self._trees:
            return self._trees[commit]
        try:
            return self._tree_in(commit)
        except Incomplete:
            raise ObjectMissing(f"there is no commit {commit}") from None

    def _tree_in(self, commit: str) -> str:
        kind, body = self._read(commit, commit)
        if kind != COMMIT:
            raise Incomplete(f"object {commit} is not a commit")
        try:
            return git.commit_tree(body)
        except ValueError as error:
            raise Incomplete(str(error)) from None

    def _missing(self, commit: str, error: Incomplete) -> ObjectMissing:
        if not self.has(commit):
            return ObjectMissing(f"there is no commit {commit}")
        return ObjectMissing(f"commit {commit} is incomplete here: {error}")

    def export(self, folder: Path, refs: Mapping[str, str]) -> None:
        """Write an ordinary git repository with every cached object, and check out `HEAD` if `refs` has it.

        It blocks while it writes.

        Args:
            folder: where to write; it must be empty or not exist.
            refs: hashes of commits by full name, such as `refs/heads/champion`; `pull` them first.

        Raises:
            FileExistsError: `folder` exists and is not empty.
            OSError: the folder cannot be written.
            BadInput: git refuses a name, or a commit is not in the cache.
        """
        import pygit2
        from pygit2.enums import ResetMode

        if folder.exists() and any(folder.iterdir()):
            raise FileExistsError(f"{folder} exists and is not empty")
        try:
            repo = pygit2.init_repository(str(folder))
            out = ObjectCache(Path(repo.path), is_made=True)
            commits: dict[str, list[str]] = {}
            for name in self._cache.names():
                if (found := self._cache.read(name)) is not None:
                    out.store(*found)
                    if found[0] == COMMIT:
                        commits[name] = git.commit_parents(found[1])
            # Commits whose parents were not copied are listed, as at the ends of a shallow clone.
            cut = sorted(name for name, parents in commits.items() if any(p not in commits for p in parents))
            if cut:
                Path(repo.path, "shallow").write_text("".join(f"{name}\n" for name in cut), encoding="ascii")
            for name, commit in refs.items():
                if name == "HEAD":
                    repo.set_head(pygit2.Oid(hex=commit))
                else:
                    repo.references.create(name, pygit2.Oid(hex=commit), force=True)
            if "HEAD" in refs:
                repo.reset(pygit2.Oid(hex=refs["HEAD"]), ResetMode.HARD)
        except (pygit2.GitError, KeyError, ValueError) as error:
            raise BadInput(f"the repository {folder} cannot be written: {error}") from None

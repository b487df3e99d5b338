"""The folder of one run of a coding agent: its files, its own home, and what was changed in it.

A stranger's program fills it, so it is read back by descriptors: no link is followed, no pipe is opened, nothing large
is read. Files below names that no artifact may have (`.git`, `node_modules`) are not looked at.
"""

import os
import stat
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from mesh.editable_paths import MAX_NEW_BYTES, editable_paths
from mesh.errors import BadInput, HostTrouble
from mesh.file_trees import delete, open_folder, walk
from mesh.spec import ArenaSpec

TASK, REPORT, OTHER = "TASK.md", "PROPOSAL.md", "PARENT_B"
"""The task, the report that the agent writes, and the folder with the second parent of a recombination."""

_PASSED_OVER = frozenset({".git", ".mesh", "__pycache__", ".venv", "node_modules"})
_MOST_FILES = 50_000
_MOST_LOGIN = 1024**2
_MOST_REPORT = 64 * 1024


class FolderChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent did to the files that were laid out.

    Attributes:
        files: the editable files that it changed or made, by path.
        protected: protected files that it changed or deleted.
        deleted: editable files that it deleted.
        unreadable: editable files that are no plain files any more, or are too large.
    """

    files: dict[str, bytes]
    protected: list[str]
    deleted: list[str]
    unreadable: list[str]


class RunFolder:
    """A fresh folder: `work` is what the agent sees as its own, `home` its home, `tmp` its temporary files.

    Raises:
        HostTrouble: it cannot be made.
    """

    def __init__(self, above: Path) -> None:
        self.path = above / uuid.uuid4().hex[:12]
        self.work, self.home, self.tmp = (self.path / name for name in ("work", "home", "tmp"))
        try:
            for folder in (self.work, self.home, self.tmp):
                folder.mkdir(parents=True, mode=0o700)
        except OSError as error:
            raise HostTrouble(f"{self.path} cannot be made: {error.strerror}") from None

    def lay_out(self, files: Mapping[str, bytes]) -> None:
        """Write files by their relative paths.

        Raises:
            BadInput: a path leads out of the folder.
            HostTrouble: a file cannot be written.
        """
        for name, data in files.items():
            if name.startswith("/") or any(part in ("", ".", "..") for part in name.split("/")):
                raise BadInput(f"file {name!r} of a proposal leads out of its folder")
            path = self.work / name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            except OSError as error:
                raise HostTrouble(f"{path} cannot be written: {error.strerror}") from None

    def lend(self, real_home: Path, names: Collection[str]) -> list[str]:
        """Copy files of the user's home, such as a login, to the home of the run; return the names of those copied."""
        lent = []
        for name in names:
            data = _plain_file(real_home / name, _MOST_LOGIN)
            if data is not None:
                self._put(name, data)
                lent.append(name)
        return lent

    def furnish(self, files: Mapping[str, str]) -> None:
        """Write files into the home of the run."""
        for name, text in files.items():
            self._put(name, text.encode())

    def _put(self, name: str, data: bytes) -> None:
        path = self.home / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(data)
        except OSError as error:
            raise HostTrouble(f"{path} cannot be written: {error.strerror}") from None

    def report(self) -> str:
        """Return what the agent wrote about its change, "" if it wrote nothing."""
        data = _plain_file(self.work / REPORT, _MOST_REPORT)
        return data.decode(errors="replace") if data else ""

    def changes(self, laid: Mapping[str, bytes], spec: ArenaSpec) -> FolderChanges:
        """Return what was changed since the files were laid out.

        Raises:
            BadInput: the folder cannot be read.
        """
        try:
            there = self._there(laid, spec)
        except OSError as error:
            raise BadInput(f"its folder cannot be read any more: {error.strerror or error}") from None
        editable = editable_paths(spec, laid, there)
        changed = [name for name in there if there[name] != laid.get(name)]
        gone = [name for name in laid if name not in there]
        return FolderChanges(
            files={name: data for name in changed if name in editable and (data := there[name]) is not None},
            protected=sorted(name for name in (*changed, *gone) if name in laid and name not in editable),
            deleted=sorted(name for name in gone if name in editable),
            unreadable=sorted(name for name in changed if name in editable and there[name] is None),
        )

    def remove(self) -> None:
        """Delete the folder with all that is in it."""
        delete(self.path)

    def _there(self, laid: Mapping[str, bytes], spec: ArenaSpec) -> dict[str, bytes | None]:
        """Return the files that were laid out or may be new, by path; None for what is not a plain file of any use."""
        found: dict[str, bytes | None] = {}
        allowed = editable_paths(spec, laid)
        seen = 0
        top = open_folder(self.work)
        try:
            for path, here, entries in walk(top):
                for entry in [*entries]:
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name in _PASSED_OVER or (not path and entry.name == OTHER and OTHER not in laid):
                            entries.remove(entry)
                        continue
                    seen += 1
                    name = path + entry.name
                    if seen > _MOST_FILES:
                        raise OSError(f"it has more than {_MOST_FILES:,} files")
                    if name in laid or (name in allowed and name not in (TASK, REPORT)):
                        found[name] = _read(entry.name, here, max(MAX_NEW_BYTES, len(laid.get(name, b""))))
        finally:
            os.close(top)
        return found


def clear_runs(above: Path) -> None:
    """Delete what earlier lives have left in a folder of runs."""
    if above.is_dir():
        for path in above.iterdir():
            if path.is_dir():
                delete(path)


def _plain_file(path: Path, most: int) -> bytes | None:
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _read(path.name, folder, most)
    finally:
        os.close(folder)


def _read(name: str, folder: int, most: int) -> bytes | None:
    """Return the contents of a plain file of at most `most` bytes, None for anything else."""
    try:
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    with open(opened, "rb") as file:
        kind = os.fstat(opened)
        if not stat.S_ISREG(kind.st_mode) or kind.st_size > most:
            return None
        data = file.read(most + 1)
        return data if len(data) <= most else None

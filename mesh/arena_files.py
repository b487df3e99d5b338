"""The files of an arena's folder that are the artifact: what is read at opening, and what is left out and why.

`mesh.folder_rules` decides. Links inside of the folder are followed; what leaves it, leads in a circle, or is no file
is left out. `mesh.folder_report` says what happened in a line or two, and nothing for a clean folder.
"""

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from mesh.errors import BadArena
from mesh.file_trees import TooDeep, open_folder, walk
from mesh.folder_report import FolderRead, LeftOut, size_words, some_names
from mesh.folder_rules import ATTACKS, MADE_BY_PREPARE, MADE_BY_TRIALS, Rules, words_of_commands
from mesh.hidden_files import is_hidden, leads_to, without_match
from mesh.ignore_patterns import verdict
from mesh.leavings import EMPTY_FOLDER, NEVER_TAKEN, is_secret
from mesh.spec import ArenaSpec, ArtifactSpec
from mesh.task_toml import string

MAX_FILE_BYTES = 8 * 1024 * 1024
"""Size of the largest file of an arena."""
MAX_ARENA_BYTES = 128 * 1024 * 1024
"""Size of all files of an arena together: every worker keeps them, and every trial gets a copy."""
_MAX_FILES = 2000
_MAX_COUNTED = 50_000
_POINTER = b"version https://git-lfs.github.com/spec/"
_ANY = ArtifactSpec(editable=())


def never_part(name: str, artifact: ArtifactSpec) -> str:
    """Return why a file can be no part of an arena, "" if it can."""
    parts = Path(name).parts
    if apart := {part for part in parts if part in NEVER_TAKEN or is_secret(part)} | {ATTACKS}.intersection(parts[:1]):
        return f"is in {min(apart)!r}, which is never part of an artifact: move the file"
    if verdict(artifact.ignore, name) or is_hidden((*(artifact.leave_out or ()), *artifact.cache), name):
        return "is left out of the artifact by artifact.ignore: move the file, or change the list"
    made = (MADE_BY_TRIALS, *([MADE_BY_PREPARE] if artifact.prepare else []))
    if artifact.leave_out is None and parts[0] in made and verdict(artifact.ignore, name) is None:
        return f'is in {parts[0]!r}, which is made anew: move the file, or write "!{parts[0]}/" into artifact.ignore'
    return ""


def read_files(folder: Path, artifact: ArtifactSpec = _ANY) -> dict[str, bytes]:
    """Return the files of a folder by relative POSIX path; see `read_arena`."""
    return _read(folder, artifact).files


def read_arena(folder: Path, spec: ArenaSpec, data: Path | None = None) -> FolderRead:
    """Read an arena's files by relative POSIX path, and say what is left out.

    Args:
        folder: the arena.
        spec: what its `arena.toml` says.
        data: the source of the data, which wins over `data.source`; None if it was not given.

    Raises:
        BadArena: there are too many files, one is too large, is a link to a hidden file or to what a program needs
            outside of the folder, a pattern matches nothing, or folders are nested too deep.
    """
    source = _place_of_source(folder, spec, data)
    return _read(folder, spec.artifact, words_of_commands(spec), source)


def _place_of_source(folder: Path, spec: ArenaSpec, data: Path | None) -> str:
    """Return where in the folder the source of the data lies, "" if it is elsewhere or has editable files in it."""
    if not data and not spec.data.source:
        return ""
    named = data or folder / Path(spec.data.source).expanduser()
    inside = os.path.relpath(named.resolve(), folder.resolve())
    is_ours = any(name == inside or name.startswith(f"{inside}/") for name in spec.artifact.editable)
    return "" if inside.startswith("..") or inside == "." or is_ours else inside


def _read(folder: Path, artifact: ArtifactSpec, words: Collection[str] = (), source: str = "") -> FolderRead:
    reading = _Reading(folder, Rules(folder, artifact, words, source), artifact)
    try:
        reading.read("", folder.resolve())
    except TooDeep as error:
        raise BadArena(f"{folder}: {error}: nest them less, or name the folder in artifact.ignore") from None
    except OSError as error:
        raise BadArena(f"{error.filename or folder} cannot be read: {error.strerror}") from None
    reading.check()
    reading.keep_folders()
    if nothing := without_match(artifact.hidden, reading.files):
        raise BadArena(f"{folder / 'arena.toml'}: artifact.hidden: {nothing[0]!r} matches no file in {folder}")
    left = tuple(sorted(reading.left, key=lambda each: each.path))
    return FolderRead(reading.files, left, tuple(sorted(reading.anyway())), tuple(reading.remarks()))


class _Reading:
    """One reading of a folder: what it took and left."""

    def __init__(self, folder: Path, rules: Rules, artifact: ArtifactSpec) -> None:
        self.files: dict[str, bytes] = {}
        self.left: list[LeftOut] = []
        self._folder, self._here = folder, folder.resolve()
        self._rules, self._artifact = rules, artifact
        self._large: list[tuple[int, str]] = []
        self._folders: list[str] = []
        self._pointers: list[str] = []

    def read(self, prefix: str, top: Path) -> None:
        """Read what belongs to the arena in a folder, whose files get names that begin with the prefix."""
        opened = open_folder(top, needs=0)
        linked: list[tuple[str, Path]] = []
        try:
            for below, _, entries in walk(opened, needs=0, live=True):
                kept = []
                for entry in sorted(entries, key=lambda entry: entry.name):
                    path = f"{prefix}{below}{entry.name}"
                    if not self._rules.never(path) and self._take(path, entry, linked):
                        kept.append(entry)
                entries[:] = kept
        finally:
            os.close(opened)
        for path, target in linked:
            self.read(f"{path}/", target)

    def _take(self, path: str, entry: os.DirEntry[str], linked: list[tuple[str, Path]]) -> bool:
        """Take a file, or tell whether a folder is entered."""
        place = self._folder / path
        try:
            is_dir = entry.is_dir()
        except OSError:
            is_dir = False
        why = self._rules.why_apart(path, is_dir=is_dir)
        is_own = is_dir and not entry.is_symlink() and (not why or why in _EMPTIED)
        if is_own and self._rules.fills(entry.name):
            self._folders.append(path)
        if why and not (is_dir and self._rules.enters(path)):
            self._leave(path, why, is_named=self._rules.names(entry.name))
            return False
        if fault := self._fault(path, entry, place, is_dir):
            self._leave(path, fault, is_odd=True)
            return False
        if is_dir:
            if not entry.is_symlink():
                return True
            linked.append((path, place.resolve()))
            return False
        self._read_file(path, place)
        return False

    def _fault(self, path: str, entry: os.DirEntry[str], place: Path, is_dir: bool) -> str:
        """Return why a file or folder cannot be taken, "" if it can."""
        try:
            path.encode()
        except UnicodeEncodeError:
            return "has a name that is not UTF-8"
        if not path.isprintable():
            return "has a control character in its name"
        if entry.is_symlink() and (fault := self._fault_of_link(path, place)):
            return fault
        if not os.access(place, os.R_OK | (os.X_OK if is_dir else 0)):
            return self._fault_of_rights(path, place)
        if not is_dir and not place.is_file():
            return "is a socket, a pipe or a device"
        return ""

    def _fault_of_rights(self, path: str, place: Path) -> str:
        """Return the words for what this user may not read; refuse what the arena needs."""
        editable = self._artifact.editable
        is_needed = path == ".meshignore" or is_hidden(editable, path) or leads_to(editable, path)
        if is_needed or self._rules.names(place.name) or self._rules.imports(path):
            why = "it says what the arena is made of" if path == ".meshignore" else "the arena needs it"
            raise BadArena(
                f"{place} cannot be read by you, and {why}: change its rights (`chmod u+rX {place}`)"
                + ("" if is_needed else ", or name it in artifact.ignore if no run reads it")
            )
        more = ", so what it names is not ignored" if place.name == ".gitignore" else ""
        return f"cannot be read by you{more}"

    def _fault_of_link(self, path: str, place: Path) -> str:
        try:
            target = place.resolve(strict=True)
        except (OSError, RuntimeError):
            return f"is a link to {os.readlink(place)!r}, which does not exist or leads in a circle"
        if not target.is_relative_to(self._here):
            if self._rules.names(place.name):
                raise BadArena(
                    f"{place} is a link that leaves the arena, to {target}, and a program names it: copy it into the "
                    f"folder; where it is large data, {_cure_of_data(target)}; or name it in artifact.ignore"
                )
            return f"is a link that leaves the arena, to {target}: copy it into the folder if trials need it"
        inside = target.relative_to(self._here).as_posix()
        parts = Path(path).parts
        if any(self._here.joinpath(*parts[:n]).resolve().is_relative_to(target) for n in range(len(parts))):
            return "is a link to a folder that it is in"
        hidden = self._artifact.hidden
        if target.is_file() and is_hidden(hidden, inside) and not is_hidden(hidden, path):
            raise BadArena(
                f"{place} is a link to {inside!r}, which artifact.hidden keeps from trials: hide the link too"
            )
        if self._is_apart(inside, is_dir=target.is_dir()):
            return f"is a link to {inside!r}, which is left out"
        return ""

    def _is_apart(self, path: str, *, is_dir: bool) -> bool:
        parts = path.split("/")
        above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        return any(
            self._rules.never(each) or self._rules.why_apart(each, is_dir=is_dir or each != path) for each in above
        )

    def _read_file(self, path: str, place: Path) -> None:
        try:
            if (size := place.stat().st_size) > MAX_FILE_BYTES:
                self._large.append((size, path))
                return
            self.files[path] = place.read_bytes()
        except FileNotFoundError:  # another program has removed it meanwhile
            return
        if self.files[path].startswith(_POINTER):
            self._pointers.append(path)
        if len(self.files) > _MAX_FILES:
            tops = Counter(f"{name.split('/')[0]}/" if "/" in name else "" for name in self.files)
            most = ", ".join(f"{name or 'the folder itself'} {n:,}" for name, n in tops.most_common(3))
            raise BadArena(
                f"{self._folder} has more than {_MAX_FILES:,} files (of those read, {most}): name what is not code in "
                "artifact.ignore or .meshignore"
            )

    def _leave(self, path: str, why: str, *, is_named: bool = False, is_odd: bool = False) -> None:
        if is_odd:
            self.left.append(LeftOut(path, why, is_odd=True))
            return
        count, size, names = _measured(self._folder / path)
        if not count:
            return
        is_read = is_named and why in _WARNED and any(map(self._rules.names, names))
        self.left.append(LeftOut(path, why, count, size, is_read))

    def check(self) -> None:
        """Refuse files that are too large.

        Raises:
            BadArena: there are some; the message names them and the cure.
        """
        if not self._large:
            self._check_total()
            return
        self._large.sort(reverse=True)
        size, path = self._large[0]
        place = self._folder / path
        more = some_names([f"{name} ({size_words(size)})" for size, name in self._large[1:]])
        raise BadArena(
            f"{place} has {size:,} bytes, but a file of an arena may have {MAX_FILE_BYTES:,}: if the task does not "
            f"need it, name it in artifact.ignore or .meshignore; if it does, {_cure_of_data(place)}"
            + (f" (also too large: {more})" if more else "")
        )

    def keep_folders(self) -> None:
        """Keep the folders that programs name and that have no file to take: a program that writes there needs them."""
        taken = {"/".join(name.split("/")[:depth]) for name in self.files for depth in range(1, name.count("/") + 1)}
        for path in self._folders:
            if path not in taken and not is_hidden(self._artifact.hidden, path):
                self.files[f"{path}/{EMPTY_FOLDER}"] = b""

    def _check_total(self) -> None:
        if (total := sum(map(len, self.files.values()))) <= MAX_ARENA_BYTES:
            return
        largest = sorted(((len(data), name) for name, data in self.files.items()), reverse=True)
        names = some_names([f"{name} ({size_words(size)})" for size, name in largest])
        raise BadArena(
            f"the files of {self._folder} have {size_words(total)} together, but an arena may have "
            f"{size_words(MAX_ARENA_BYTES)}: the largest are {names}. What the task does not need, name in "
            f"artifact.ignore or .meshignore; for data, {_cure_of_data(self._folder / largest[0][1])}"
        )

    def anyway(self) -> Iterator[str]:
        """Yield what git ignores and is taken because a program names it."""
        taken = self._rules.taken_for
        for path in taken:
            above = path.rpartition("/")[0]
            if above not in taken and (path in self.files or any(n.startswith(f"{path}/") for n in self.files)):
                yield path

    def remarks(self) -> Iterator[str]:
        """Yield sentences about what lies here other than a user may expect."""
        if self._pointers:
            names = some_names(self._pointers)
            yield f"warning: {names} is a pointer of git LFS, not the file itself: `git lfs pull` gets it"
        for link in self._rules.submodules():
            if not any(name.startswith(f"{link}/") for name in self.files):
                yield f"warning: {link} is a submodule without files: `git submodule update --init` gets them"
        if unread := self._rules.unread():
            yield f"warning: {unread} cannot be read by you, so it is not known what git tracks and ignores"
        if missing := self._rules.missing():
            yield f"git tracks files that are not in this sparse checkout: {some_names(missing)}"


_WARNED = {"results", "checkpoints", "a log", "left by another system", "a tracker's folder", "ignored by git"}
"""What programs write more often than they read it."""
_EMPTIED = {*_WARNED, "artifact.ignore or .meshignore"}
"""Why folders are left out that a trial finds empty if a program names them."""


def _cure_of_data(place: Path) -> str:
    named = string(str(place.absolute()))
    return (
        f"keep it out of the artifact and let source = {named} under [data] give it to artifact.prepare (docs/howto/"
        f"data.md), or let trials read it where it lies: readable = [{named}] under [environment], and that path in "
        "the program"
    )


def _measured(place: Path) -> tuple[int, int, set[str]]:
    """Return how many files something has, their bytes and names; it stops at a large number of files."""
    try:
        state = place.lstat()
        if not stat.S_ISDIR(state.st_mode):
            return 1, state.st_size, {place.name}
    except OSError:
        return 0, 0, set()
    count, size, known = 0, 0, set[str]()
    with suppress(OSError):
        opened = open_folder(place, needs=0)
        try:
            for _, _, entries in walk(opened, needs=0, live=True):
                files = [entry for entry in entries if not entry.is_dir(follow_symlinks=False)]
                known.update(entry.name for entry in files)
                count += len(files)
                size += sum(entry.stat(follow_symlinks=False).st_size for entry in files)
                if count >= _MAX_COUNTED:
                    break
        finally:
            os.close(opened)
    return count, size, known

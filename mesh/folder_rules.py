"""What belongs to an artifact: which files and folders of an arena's folder are taken, and why others are left out.

The first that names a path decides: keys and caches that are never taken, `artifact.hidden`, `artifact.ignore` and
`.meshignore`, git's index, what tools and other systems leave, what git ignores and no program of the arena names.
Where there is no repository, `.gitignore` counts all the same.
"""

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from mesh.folder_report import OPEN_KEYS
from mesh.git_folder import GitFolder
from mesh.hidden_files import is_hidden, leads_to
from mesh.ignore_patterns import read_patterns, takes_back_below, verdict
from mesh.leavings import NEVER_TAKEN, is_secret, keeps_secrets, leaving, may_be_secret
from mesh.named_files import MAX_SOURCE_BYTES, SOURCES, NamedWords, words_in, words_of_command
from mesh.spec import ArenaSpec, ArtifactSpec

ATTACKS = "attacks"
"""The folder of an arena with cheating artifacts (`mesh check --attacks`): no trial, model or commit ever has it."""
MADE_BY_TRIALS, MADE_BY_PREPARE = "out", "data"
_LEGACY = frozenset({".venv", "node_modules", ".ipynb_checkpoints", ".pytest_cache", ".mypy_cache", ".ruff_cache"})
_MAX_SOURCES = 400
_IMPORT = re.compile(r"^[ \t]*(?:from|import)[ \t]+\.*(\w+)", re.MULTILINE)


class Rules:
    """Decides about the paths below a folder.

    Args:
        folder: the folder of the arena.
        artifact: what `arena.toml` says of its files.
        words: parts of paths in the arena's commands.
        source: where the owner's data lies, which no trial reads.
    """

    def __init__(self, folder: Path, artifact: ArtifactSpec, words: Collection[str] = (), source: str = "") -> None:
        """Read the patterns, git's index and what the programs name."""
        self._folder, self._artifact, self._source = folder, artifact, source.removeprefix("./").strip("/")
        self._own = (*read_patterns(folder / ".meshignore"), *artifact.ignore)
        self._git = GitFolder(folder)
        self._by_folder: dict[str, tuple[str, ...]] = {}
        self._apart: dict[str, str] = {}
        self._untracked: dict[str, bool] = {}
        named, written = _named_words(folder)
        self._named, self._written = NamedWords(named.union(words)), NamedWords(named | written)
        self.taken_for: dict[str, str] = {}
        self._imported: set[str] | None = None

    def never(self, path: str) -> bool:
        """Tell whether a path is passed over without a word."""
        name = path.rpartition("/")[2]
        return path == ATTACKS or name in NEVER_TAKEN or name.endswith(".pyc")

    def enters(self, path: str) -> bool:
        """Tell whether a folder that is left out may have files that are taken."""
        return leads_to(self._artifact.hidden, path) or takes_back_below(self._own, path)

    def why_apart(self, path: str, *, is_dir: bool) -> str:
        """Return why a file or folder is left out, "" if it is taken; a folder is remembered."""
        why = self._decide(path, is_dir)
        if is_dir and why:
            self._apart[path] = why
        return why

    def names(self, name: str) -> bool:
        """Tell whether a program of the arena names a file or folder as one that it reads."""
        return self._named.name(name)

    def imports(self, path: str) -> bool:
        """Tell whether a program of the arena imports a module of this name."""
        if self._imported is None:
            self._imported = {word for text in _texts(self._folder) for word in _IMPORT.findall(text)}
        name = path.rpartition("/")[2]
        return (name.removesuffix(".py") if name.endswith(".py") else name) in self._imported

    def fills(self, name: str) -> bool:
        """Tell whether a program of the arena names a folder at all, also as one that it writes to."""
        return self._written.name(name)

    def is_part(self, name: str) -> bool:
        """Tell whether a folder that trials or `prepare` could have made belongs to the task, as far as git shows."""
        return not self._git.tracks(name) and (not self._is_git_ignored(name, True) or self.names(name))

    def submodules(self) -> list[str]:
        """Return the submodules of the repository in the folder."""
        return self._git.links

    def unread(self) -> str:
        """Return the `.git` of the folder that this user may not read; "" if there is none."""
        return self._git.unread

    def missing(self) -> list[str]:
        """Return the files that git tracks and that are not here, because the checkout is sparse."""
        return self._git.missing()

    def _decide(self, path: str, is_dir: bool) -> str:
        name = path.rpartition("/")[2]
        if is_secret(name):
            return "may hold keys"
        if is_hidden(self._artifact.hidden, path):
            return ""
        own = verdict(self._own, path, is_dir=is_dir)
        if own is not None:
            return "artifact.ignore or .meshignore" if own else ""
        if not is_dir and keeps_secrets(name) and not self._is_git_ignored(path, is_dir):
            return OPEN_KEYS
        if is_hidden(self._artifact.cache, path):
            return "made by builds"
        if self._artifact.leave_out is not None:
            return self._decide_by_list(path, name, is_dir)
        if self._is_source(path):
            return "the source of the data"
        if self._git.tracks(path):
            return ""
        if (above := path.rpartition("/")[0]) in self._apart:
            return self._apart[above]
        if why := self._made(path, is_dir):
            return why
        if why := leaving(
            path, str(self._folder), is_dir=is_dir, is_named=lambda path: self.names(path.rpartition("/")[2])
        ):
            return why
        if self._is_git_ignored(path, is_dir):
            if not self._is_read(path, name, above):
                return "ignored by git"
            self.taken_for[path] = name
        return ""

    def _decide_by_list(self, path: str, name: str, is_dir: bool) -> str:
        """Decide by `artifact.leave_out`, the older list, which stands for all that others leave and git ignores."""
        if name in _LEGACY or is_hidden(self._artifact.leave_out or (), path):
            return "artifact.leave_out"
        is_environment = is_dir and os.path.exists(self._folder / path / "pyvenv.cfg")
        return "a virtualenv" if is_environment else ""

    def _made(self, path: str, is_dir: bool) -> str:
        top, _, below = path.partition("/")
        if not is_dir and not below:
            return ""
        if top == MADE_BY_PREPARE and self._artifact.prepare:
            return "made by prepare"
        return "made by trials" if top == MADE_BY_TRIALS else ""

    def _is_source(self, path: str) -> bool:
        return bool(self._source) and (path == self._source or path.startswith(f"{self._source}/"))

    def _is_git_ignored(self, path: str, is_dir: bool) -> bool:
        if self._git.is_here:
            return self._git.ignores(path, is_dir)
        parts = path.split("/")
        for depth in range(len(parts) - 1, -1, -1):
            above = "/".join(parts[:depth])
            if above not in self._by_folder:
                self._by_folder[above] = read_patterns(self._folder / above / ".gitignore")
            found = verdict(self._by_folder[above], "/".join(parts[depth:]), is_dir=is_dir)
            if found is not None:
                return found
        return False

    def _is_read(self, path: str, name: str, above: str) -> bool:
        """Tell whether a program reads what git ignores: it names it, or the folder in which all is ignored."""
        if may_be_secret(name):
            return False
        if self.names(name) or above in self.taken_for:
            return True
        if above not in self._untracked:
            self._untracked[above] = (
                bool(above) and self.names(above.rpartition("/")[2]) and not self._has_tracked(above)
            )
        return self._untracked[above]

    def _has_tracked(self, folder: str) -> bool:
        names = (name for name in os.listdir(self._folder / folder) if not name.startswith((".", "README")))
        return any(self._git.tracks(f"{folder}/{name}") for name in names)


def words_of_commands(spec: ArenaSpec) -> set[str]:
    """Return the parts of paths in an arena's commands."""
    commands = (spec.trial.command, spec.score.command, spec.score.predict, spec.artifact.prepare)
    return {
        part for each in (*commands, *(stage.command for stage in spec.score.stage)) for part in words_of_command(each)
    }


def _named_words(folder: Path) -> tuple[set[str], set[str]]:
    """Return what the programs of a folder name as what they read, and all that they name."""
    found, every = set[str](), set[str]()
    for text in _texts(folder):
        found |= words_in(text)
        every |= words_in(text, written=True)
    return found, every


def _texts(folder: Path) -> Iterator[str]:
    """Yield the programs of a folder that can be read."""
    for path in _sources(folder):
        try:
            with path.open("rb") as file:
                yield file.read(MAX_SOURCE_BYTES).decode(errors="replace")
        except OSError:
            continue


def _sources(folder: Path) -> list[Path]:
    """Return the programs in a folder and in the folders in it, as far as nobody else left them."""
    found: list[Path] = []
    folders = [folder]
    for here in folders:
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            path = here / entry.name
            if _is_file(entry) and entry.name.endswith(SOURCES) and len(found) < _MAX_SOURCES:
                found.append(path)
            elif here == folder and entry.is_dir(follow_symlinks=False) and _may_have_programs(entry.name, folder):
                folders.append(path)
    return found


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _may_have_programs(name: str, folder: Path) -> bool:
    return name not in NEVER_TAKEN and not leaving(name, str(folder), is_dir=True, is_named=lambda path: False)

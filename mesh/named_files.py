"""Which files the programs of an arena name, and which files beside them no score depends on: notes, licences, logs.

A name counts where it stands as a text in a program or in a command, also as part of a path (`"data/points.csv"`) or as
a pattern (`"*.csv"`), in a line that does more than write a file.
"""

import fnmatch
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath

from mesh.hidden_files import is_hidden
from mesh.leavings import is_empty_folder

SOURCES = (".py", ".sh", ".c", ".h", ".cc", ".cpp", ".rs", ".go", ".js", ".ts", ".jl", ".R", ".r", ".lua", ".java")
"""Ends of the names of programs."""
MAX_SOURCE_BYTES = 256 * 1024
"""Bytes of a program that are looked through."""

_SETTINGS = (".json", ".yaml", ".yml", ".toml", ".ini", ".cfg")
_BETWEEN = re.compile(r"""[\s/"'`=:,;|&<>(){}\[\]]+""")
_HOLE = re.compile(r"\{[^{}]*\}")
_LITERAL = re.compile(r"""["']([^"'\n]{1,200})["']""")
_WRITES = re.compile(
    r"""\b(save\w*|dump|to_(csv|json|parquet|pickle)|write\w*|mkdir|makedirs|\w*FileHandler|unlink|remove|rmtree)\b"""
    r"""|open\([^()]*,\s*(mode\s*=\s*)?["'][wax]"""
)
_CONSTANT = re.compile(r"""^\s*(\w+)\s*=\s*(?:Path\()?["']([^"'\n]{1,200})["']\)?\s*(?:#.*)?$""", re.MULTILINE)
_WORD = re.compile(r"[A-Za-z_]\w*")
_LOOKS = re.compile(r"\b(exists|is_file|is_dir|isfile|isdir|getsize)\b")
_READS = re.compile(r"\b(load\w*|read\w*|genfromtxt|connect|exists|is_file|is_dir)\b")
_NOTE = re.compile(
    r"""(.*\.(md|markdown|rst|log)|(readme|licen[cs]e|copying|changelog|changes|notes?|todo|authors|contributing|citation)
    [^/.]*(\.(txt|cff))?|\.git(ignore|attributes|modules|keep)|\.meshignore|\.editorconfig|\.pre-commit-config\.yaml)""",
    re.IGNORECASE | re.VERBOSE,
)


def words_in(source: str, *, written: bool = False) -> set[str]:
    """Return the parts of paths that stand as texts in a program; those of lines that only write if they are wanted."""
    found = set[str]()
    for line in source.splitlines():
        if written or not _WRITES.search(line) or _READS.search(line):
            found.update(part for literal in _LITERAL.findall(line) for part in literal.split("/"))
    return found - {"", ".", ".."}


def written_in(source: str) -> set[str]:
    """Return the paths that a program writes or appends to and reads nowhere: texts of a line, or constants in it.

    To look whether a file is there is not to read it.
    """
    constants = dict(_CONSTANT.findall(source))
    written, other = set[str](), set[str]()
    for line in source.splitlines():
        writes, reads = _WRITES.search(line), _READS.search(_LOOKS.sub("", line))
        if _CONSTANT.match(line) or (_LOOKS.search(line) and not writes and not reads):
            continue
        named = {*_LITERAL.findall(line), *(constants[word] for word in _WORD.findall(line) if word in constants)}
        (written if writes and not reads else other).update(named)
    return {path.removeprefix("./") for path in written - other}


class NamedWords:
    """Words that programs have as texts, which name files and folders."""

    def __init__(self, words: Iterable[str]) -> None:
        """Take the words; those with `*` are patterns."""
        self._words = frozenset(words)
        self._patterns = [word for word in self._words if "*" in word and word.strip("*.")]

    def name(self, file: str) -> bool:
        """Tell whether the name of a file or folder is one of these words, or matches one that is a pattern."""
        return file in self._words or any(fnmatch.fnmatchcase(file, pattern) for pattern in self._patterns)


def words_of_command(command: Iterable[str]) -> set[str]:
    """Return the parts of paths in a command, also where it is a line for a shell."""
    return {part for word in command for part in _BETWEEN.split(word)} - {"", ".", ".."}


def score_inputs(
    files: Mapping[str, bytes], editable: Iterable[str], hidden: Collection[str], said: Collection[str] = ()
) -> dict[str, bytes]:
    """Return the files that a score may depend on: all but `arena.toml` and notes that nothing names.

    A program may name a note itself, a folder that it is in, its suffix, or a file of settings that names it.

    Args:
        files: the files of an arena by path.
        editable: names of the editable files, which all count.
        hidden: patterns of hidden files, which all count.
        said: parts of paths in the arena's commands.
    """
    ours = set(editable)
    aside = {n for n in files if n not in ours and is_note(n) and not is_hidden(tuple(hidden), n)}
    if aside:
        sources = (data[:MAX_SOURCE_BYTES] for name, data in files.items() if name.endswith(SOURCES))
        words = {word for data in sources for word in words_in(data.decode(errors="replace"))}.union(said)
        named = NamedWords(_HOLE.sub("*", word) for word in words)
        lists = [
            data[:MAX_SOURCE_BYTES].decode(errors="replace")
            for name, data in files.items()
            if name.endswith(_SETTINGS) and name != "arena.toml" and named.name(name.rpartition("/")[2])
        ]
        named = NamedWords({_HOLE.sub("*", word) for word in words | words_of_command(lists)})
        aside = {
            name
            for name in aside
            if PurePosixPath(name).suffix not in words and not any(map(named.name, name.split("/")))
        }
    aside |= {name for name, data in files.items() if is_empty_folder(name, data)} - ours
    return {name: data for name, data in files.items() if name not in aside and name != "arena.toml"}


def is_note(path: str) -> bool:
    """Tell whether a file is for readers by its name: a note, a licence, a log, a rule of git."""
    return path.startswith(".github/") or _NOTE.fullmatch(path.rpartition("/")[2]) is not None

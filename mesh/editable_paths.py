"""Which files of an artifact proposals may change: `artifact.editable` names files, folders (`src/`) and patterns.

A folder or a pattern also allows new files. What decides a score stays protected whatever a pattern says: programs that
score or prepare, hidden files, `arena.toml`, and names that no artifact may have.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache

from mesh.hidden_files import is_hidden
from mesh.ignore_patterns import verdict
from mesh.spec import ArenaSpec

MAX_NEW_FILES, MAX_NEW_BYTES = 100, 4 * 1024**2
"""How many files, of how many bytes in all, a proposal may have that the arena's base commit has not."""
_NEVER = frozenset({".git", ".mesh", "__pycache__", ".venv", "node_modules", "attacks"})
_MAX_LENGTH = 255


class EditablePaths(tuple[str, ...]):
    """The editable files that there are, in order; `in` also holds for new files that a folder or a pattern allows."""

    _spec: ArenaSpec | None = None
    _programs: frozenset[str] = frozenset()

    def __contains__(self, name: object) -> bool:
        """Tell whether a proposal may change or add this file."""
        if super().__contains__(name):
            return True
        return self._spec is not None and isinstance(name, str) and _allows(self._spec, self._programs, name)


def editable_paths(spec: ArenaSpec, *files: Iterable[str]) -> EditablePaths:
    """Return the editable files of an arena.

    Args:
        spec: the arena.
        files: names of the files that there are, as of the base commit and of a proposal.
    """
    listed = spec.artifact.editable
    if not any(map(is_pattern, listed)):
        return EditablePaths(listed)
    programs = _programs(spec)
    names = dict.fromkeys(name for name in listed if not is_pattern(name))
    names |= dict.fromkeys(name for each in files for name in sorted(each) if _allows(spec, programs, name))
    found = EditablePaths(names)
    found._spec, found._programs = spec, programs
    return found


def is_pattern(entry: str) -> bool:
    """Tell whether an entry of `artifact.editable` means files that it does not name."""
    return entry.endswith("/") or "*" in entry or "?" in entry


def too_many_new(base: Collection[str], files: Mapping[str, bytes]) -> str:
    """Return why a proposal adds too much to the base commit, "" if it does not."""
    new = [data for name, data in files.items() if name not in base]
    if len(new) > MAX_NEW_FILES:
        return f"adds {len(new)} files, but a proposal may add {MAX_NEW_FILES}"
    if (size := sum(map(len, new))) > MAX_NEW_BYTES:
        return f"adds files of {size:,} bytes, but a proposal may add {MAX_NEW_BYTES:,}"
    return ""


def text_names(names: Iterable[str], files: Mapping[str, bytes]) -> list[str]:
    """Return the names of those files that are text: a model is not shown others, and cannot change them."""
    return [name for name in names if name in files and _is_text(files[name])]


def _is_text(data: bytes) -> bool:
    if b"\0" in data[:4096]:
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _allows(spec: ArenaSpec, programs: frozenset[str], name: str) -> bool:
    artifact = spec.artifact
    if not _is_plain_path(name) or name in programs or is_hidden(artifact.hidden, name):
        return False
    if verdict(artifact.ignore, name) or (artifact.leave_out and is_hidden(artifact.leave_out, name)):
        return False
    return is_hidden(_patterns(artifact.editable), name) and f"{name}/" not in artifact.editable


@lru_cache(maxsize=64)
def _patterns(listed: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(entry for entry in listed if is_pattern(entry))


def _programs(spec: ArenaSpec) -> frozenset[str]:
    """Return the names of protected files that a pattern never covers."""
    score = spec.score
    commands: Sequence[Sequence[str]] = (
        score.command,
        spec.artifact.prepare,
        *(stage.command for stage in score.stage),
    )
    words = (word.removeprefix("./") for command in commands for word in command)
    return frozenset({"arena.toml", "program.md", score.file, *words})


def _is_plain_path(name: str) -> bool:
    parts = name.split("/")
    return (
        0 < len(name) <= 4096
        and name.isprintable()
        and "\\" not in name
        and all(part not in ("", ".", "..") and len(part.encode()) <= _MAX_LENGTH for part in parts)
        and not _NEVER.intersection(part.lower() for part in parts)
    )

"""What `mesh apply` writes: the editable files of a proposal, into the folder of its arena; others stay as they are.

What the owner has changed is kept: in the folder since the arena was opened, and in versions since the one that the
proposal was made under. Where the owner and the proposal changed the same place, nothing is written.
"""

import ast
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from mesh.atomic_write import atomic_write
from mesh.errors import BadInput, HostTrouble
from mesh.foreign_folder import origin
from mesh.python_syntax import parse_python
from mesh_cli.proposals.merge_text import merge_texts

_Files = Mapping[str, bytes]
_LINES = 5
"""Lines that a refusal names."""


class FileToWrite(msgspec.Struct, frozen=True):
    """One file that differs: its path in the arena, where it lies, and its contents before and after.

    `kept` if it has changes of its owner that the proposal itself has not.
    """

    name: str
    path: Path
    before: bytes | None
    after: bytes
    kept: bool = False


def origin_of(home: Path, arena: str, proposal: str) -> Path:
    """Return the folder that an arena was last opened from on this machine.

    Args:
        home: The folder of the mesh.
        arena: The name of the arena.
        proposal: The word that names the proposal.

    Raises:
        BadInput: The folder is not known or is gone, or the word is a folder and not a proposal.
    """
    if Path(proposal).is_dir():
        raise BadInput(f"{proposal} is a folder: use `mesh apply champion --folder {proposal}`")
    folder = Path(origin(home, arena))
    if not folder.name:
        raise BadInput(f"it is not known which folder arena {arena} was opened from: name it with --folder")
    if not folder.is_dir():
        raise BadInput(f"{folder}, from which arena {arena} was opened, is gone: name another one with --folder")
    return folder


def files_to_write(
    folder: Path,
    editable: Sequence[str],
    chosen: _Files,
    known: Iterable[_Files],
    *,
    own_base: _Files | None = None,
) -> list[FileToWrite]:
    """Return the editable files of a folder that differ from a proposal, joined with what their owner has changed.

    Args:
        folder: The folder of the arena.
        editable: The paths that proposals may change.
        chosen: The files of the proposal.
        known: Versions that may have been written here before: first those of the baseline, then those of champions.
        own_base: The files of the version that the proposal was made under; None for the baseline in force.

    Raises:
        BadInput: A file has a change of its owner where the proposal changes it too, leaves the folder, or cannot be
            read.
    """
    versions = list(known)
    wanted: list[FileToWrite] = []
    refused: list[str] = []
    for name in sorted(name for name in editable if name in chosen):
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise BadInput(f"{folder / name} is a link that leaves {folder}; copy the file into it first")
        try:
            before = path.read_bytes() if path.exists() else None
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror}") from None
        began = (versions[0] if own_base is None and versions else own_base or {}).get(name)
        after = _after(name, before, chosen[name], began, [version.get(name) for version in versions])
        if after.data is None:
            refused.append(
                f"{name} (line {', '.join(map(str, after.conflicts[:_LINES]))})" if after.conflicts else name
            )
        elif before != after.data:
            wanted.append(FileToWrite(name, path, before, after.data, kept=after.data != chosen[name]))
    if refused:
        raise BadInput(
            f"{', '.join(refused)} in {folder} changed since the arena was opened, where the proposal changes it too; "
            f"keep your change elsewhere, or open the arena again with `mesh up {folder}`, which measures it as the "
            "new baseline"
        )
    return wanted


class _After(NamedTuple):
    """What a file is to be; None if both sides changed it in these lines."""

    data: bytes | None
    conflicts: tuple[int, ...] = ()


def _after(
    name: str, before: bytes | None, chosen: bytes, began: bytes | None, known: Sequence[bytes | None]
) -> _After:
    """Return what a file is to be: as the proposal has it, with what its owner has changed.

    Args:
        name: The path of the file.
        before: What the folder has.
        chosen: What the proposal has.
        began: What the version has that the proposal was made under.
        known: What the baseline in force has, then what champions have.
    """
    carried = _joined(name, began, known[0] if known else None, chosen)
    if before in (began, chosen) and before is not None:
        return _After(chosen)
    if before is None or before in known:
        return carried
    closest = max((text for text in (began, *known) if text is not None), key=lambda text: _likeness(text, before),
                  default=None)  # fmt: skip
    if closest == began or carried.data is None:
        return _joined(name, began, before, chosen)
    return _joined(name, closest, before, carried.data)


def _joined(name: str, base: bytes | None, ours: bytes | None, theirs: bytes) -> _After:
    """Return a file with the changes of both sides; that of the proposal where only that is known."""
    if ours is None or base is None or ours in (base, theirs):
        return _After(theirs if base is not None or ours in (None, theirs) else None)
    if theirs == base:
        return _After(ours)
    try:
        merged = merge_texts(base.decode(), ours.decode(), theirs.decode())
    except UnicodeDecodeError:
        return _After(None)
    if merged.text is None or (name.endswith(".py") and _parses(ours) and _parses(theirs) and not _parses(merged.text)):
        return _After(None, merged.conflicts)
    return _After(merged.text.encode())


def kept_words(file: FileToWrite, measured: bytes) -> str:
    """Say what is kept of its owner's changes in a file, and whether the result is what was measured.

    Args:
        file: The file.
        measured: What the proposal has, which was measured.
    """
    with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        if file.name.endswith(".py") and ast.dump(parse_python(file.after)) == ast.dump(parse_python(measured)):
            return "your comments are kept, and the code is the proposal's"
    return "your changes are kept, and nobody has measured them together with the proposal's"


def _parses(source: bytes | str) -> bool:
    try:
        parse_python(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _likeness(one: bytes, other: bytes) -> int:
    """Return how much alike two texts are: the words that they have in common, without those that only one has."""
    words, others = (Counter(re.findall(rb"[\w.]+|[^\w\s]", text)) for text in (one, other))
    return 2 * (words & others).total() - (words | others).total()


def write_over(files: Sequence[FileToWrite]) -> Iterator[Path]:
    """Write files, each at once and with the mode that it had; yield what was written.

    Raises:
        HostTrouble: A file cannot be written; those before it are.
    """
    for file in files:
        try:
            file.path.parent.mkdir(parents=True, exist_ok=True)
            mode = stat.S_IMODE(file.path.stat().st_mode) if file.before is not None else None
            with atomic_write(file.path, durable=True) as beside:
                beside.write_bytes(file.after)
                if mode is not None:
                    beside.chmod(mode)
        except OSError as error:
            raise HostTrouble(f"{file.path} cannot be written: {error.strerror}") from None
        yield file.path


def shown_path(path: Path) -> str:
    """Return a path from the current folder, if it lies below that."""
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd().resolve()))
    return str(path)

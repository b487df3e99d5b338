"""What `mesh apply` writes: the editable files of a proposal, into the folder of its arena; others stay as they are.

A file that its owner has changed since the arena was opened is never overwritten.
"""

import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from mesh.atomic_write import atomic_write
from mesh.errors import BadInput, HostTrouble
from mesh.foreign_folder import origin

_Files = Mapping[str, bytes]


class FileToWrite(msgspec.Struct, frozen=True):
    """One file that differs: its path in the arena, where it lies, and its contents before and after."""

    name: str
    path: Path
    before: bytes | None
    after: bytes


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


def files_to_write(folder: Path, editable: Sequence[str], chosen: _Files, known: Iterable[_Files]) -> list[FileToWrite]:
    """Return the editable files of a folder that differ from a proposal.

    Args:
        folder: The folder of the arena.
        editable: The paths that proposals may change.
        chosen: The files of the proposal.
        known: Versions that may be overwritten: those of the baseline and of champions.

    Raises:
        BadInput: A file has contents that are in none of these versions, leaves the folder, or cannot be read.
    """
    versions = list(known)
    wanted: list[FileToWrite] = []
    changed: list[str] = []
    for name in sorted(name for name in editable if name in chosen):
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise BadInput(f"{folder / name} is a link that leaves {folder}; copy the file into it first")
        try:
            before = path.read_bytes() if path.exists() else None
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror}") from None
        if before == chosen[name]:
            continue
        wanted.append(FileToWrite(name, path, before, chosen[name]))
        if before is not None and all(version.get(name) != before for version in versions):
            changed.append(name)
    if changed:
        raise BadInput(
            f"{', '.join(changed)} in {folder} changed since the arena was opened; keep your change elsewhere, or open "
            f"the arena again with `mesh up {folder}`, which measures it as the new baseline"
        )
    return wanted


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

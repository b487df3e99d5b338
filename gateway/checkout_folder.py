"""A folder that a proposal was checked out into: what it remembers, what was changed in it, how it is written.

`.mesh-checkout.json` names the arena, the proposal and the hash of each file as it was written.
"""

import hashlib
import os
from collections.abc import Collection, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from mesh.atomic_write import atomic_write
from mesh.errors import BadInput, HostTrouble
from mesh.leavings import CHECKOUT_NOTE
from mesh.text import printable

SETTINGS = "mesh.toml"
"""The settings with which commands find the arena from that folder."""

_MOST = 100_000
_AHEAD = frozenset({".git", ".mesh", "__pycache__", ".venv", "node_modules"})
_NAMED = 5


class CheckoutNote(msgspec.Struct, frozen=True):
    """What a folder remembers: the arena, the proposal ("": the baseline), its files by hash, and the last proposal.

    `proposed` is the tree that was last proposed from the folder, "" if none was.
    """

    arena: str
    proposal: str
    commit: str
    files: dict[str, str]
    proposed: str = ""


class Changed(NamedTuple):
    """Files of a folder that differ from what was checked out: other contents, new ones, and those that are gone."""

    changed: list[str]
    new: list[str]
    deleted: list[str]


def read_note(folder: Path) -> CheckoutNote | None:
    """Return what a folder remembers of its checkout, None if it is no checkout.

    Raises:
        BadInput: the file cannot be read.
    """
    path = folder / CHECKOUT_NOTE
    try:
        return msgspec.json.decode(path.read_bytes(), type=CheckoutNote)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadInput(f"{path} is damaged; check the proposal out into a new folder") from None


def write_note(folder: Path, note: CheckoutNote) -> None:
    """Write what a folder remembers.

    Raises:
        HostTrouble: it cannot be written.
    """
    _write(folder / CHECKOUT_NOTE, msgspec.json.format(msgspec.json.encode(note), indent=1) + b"\n")


def folder_changes(folder: Path, note: CheckoutNote) -> Changed:
    """Return what was changed in a folder since it was checked out; outputs of runs are among the new files."""
    there = set(files_there(folder))
    changed = [name for name in note.files if name in there and _hash(folder / name) != note.files[name]]
    return Changed(sorted(changed), sorted(there - set(note.files)), sorted(set(note.files) - there))


def files_there(folder: Path) -> list[str]:
    """Return the files below a folder by relative path, without those of tools and of checkouts."""
    found: list[str] = []
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _AHEAD and not Path(here, name, CHECKOUT_NOTE).is_file()]
        base = Path(here).relative_to(folder)
        found += [(base / name).as_posix() for name in names]
        if len(found) > _MOST:
            break
    return [name for name in islice(found, _MOST) if name not in (CHECKOUT_NOTE, SETTINGS)]


def lay_out(folder: Path, files: Mapping[str, bytes], note: CheckoutNote) -> tuple[list[str], list[str]]:
    """Write files into a folder and remember them; return the names of those written and deleted.

    What was changed there is never overwritten. Files of an earlier checkout that the new one lacks are deleted.

    Raises:
        BadInput: a file was changed in the folder, or is not of the checkout, or leaves the folder.
        HostTrouble: the folder cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file; name a folder to check out into")
    before = read_note(folder)
    known = before.files if before else {}
    wanted, refused = list[str](), list[str]()
    for name in files:
        path = _inside(folder, name)
        found = _hash(path)
        if found is None and not os.path.lexists(path):
            wanted.append(name)
        elif found != note.files[name]:
            (wanted if found is not None and found == known.get(name) else refused).append(name)
    if refused:
        names = ", ".join(printable(name, 80) for name in refused[:_NAMED])
        names += f" and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
        what = "changed since it was checked out" if before else "is not of a checkout"
        raise BadInput(f"{names} in {folder} {what} and is not overwritten; propose it, or name a new folder")
    gone = [name for name in known if name not in files and _hash(_inside(folder, name)) == known[name]]
    for name in wanted:
        _write(_inside(folder, name), files[name])
    for name in gone:
        _inside(folder, name).unlink(missing_ok=True)
    write_note(folder, note)
    return sorted(wanted), sorted(gone)


def hashes_of(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the hash of each file, as a note has them."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}


def folder_files(folder: Path, names: Collection[str]) -> dict[str, bytes]:
    """Return files of a folder by relative path.

    Raises:
        BadInput: one cannot be read, or is a link that leaves the folder.
    """
    found = {}
    for name in names:
        path = _inside(folder, name)
        try:
            found[name] = path.read_bytes()
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    return found


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BadInput(f"{path} is a link that leaves {folder}; remove the link, or name a new folder")
    return path


def _hash(path: Path) -> str | None:
    """Return the hash of a file; None if there is none that can be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    except OSError:
        return None


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as beside:
            beside.write_bytes(data)
    except OSError as error:
        raise HostTrouble(f"{path} cannot be written: {error.strerror or error}") from None

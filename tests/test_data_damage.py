"""Prepared data, boards and the projection in a home that somebody damaged: each is made again from the log."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mesh import file_trees, frozen_data
from mesh.errors import BadArena, ObjectMissing
from mesh.memory import MemoryBus, MemoryHub
from tests.test_code import PREPARED, write
from tests.test_code_damage import DAMAGE


@pytest.fixture
async def bus() -> MemoryBus:
    return await MemoryHub().arena("a", create=True)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return the mode and the bytes of every file below a folder, and the mode of every folder."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {name: (p.stat().st_mode, b"" if p.is_dir() else p.read_bytes()) for name, p in found.items()}


def same_size(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"3" * path.stat().st_size)
    path.chmod(0o444)


def writable(path: Path) -> None:
    path.chmod(0o666)


@pytest.mark.parametrize("how", [*(DAMAGE[kind] for kind in DAMAGE if "bomb" not in kind), same_size, writable])
@pytest.mark.parametrize("is_new", [False, True], ids=["while it is used", "before the process began"])
async def test_prepared_data_that_was_changed_is_fetched_again(
    tmp_path: Path, bus: MemoryBus, how: Callable[[Path], None], is_new: bool
) -> None:
    name = await frozen_data.freeze(write(tmp_path / "out", PREPARED), bus)
    thawed = await frozen_data.thaw(name, bus, tmp_path / "cache")
    before = contents(thawed)
    for path in [path for path in thawed.rglob("*") if path.is_file() and path.stat().st_size]:
        how(path)
        if is_new:
            frozen_data._checked_files.clear()
        assert await frozen_data.thaw(name, bus, tmp_path / "cache") == thawed
        assert contents(thawed) == before
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [name]


def as_file(thawed: Path) -> None:
    shutil.rmtree(thawed)
    thawed.write_bytes(b"")


def as_moved(thawed: Path) -> None:
    shutil.move(thawed, f"{thawed}-")
    thawed.symlink_to(f"{thawed}-")


FOLDERS: dict[str, Callable[[Path], object]] = {
    "a folder is deleted": lambda thawed: shutil.rmtree(thawed / "public" / "more"),
    "a part is deleted": lambda thawed: shutil.rmtree(thawed / "private"),
    "all is deleted": shutil.rmtree,
    "a file in its place": as_file,
    "a link in its place": as_moved,
    "a file too many": lambda thawed: (thawed / "public" / "more" / "extra").write_bytes(b""),
    "a folder too many": lambda thawed: (thawed / "private" / "x" / "y").mkdir(parents=True),
    "no way in": lambda thawed: (thawed / "public").chmod(0o700),
}


@pytest.mark.parametrize("how", FOLDERS)
async def test_a_folder_of_prepared_data_that_was_changed_is_made_again(
    tmp_path: Path, bus: MemoryBus, how: str
) -> None:
    name = await frozen_data.freeze(write(tmp_path / "out", PREPARED), bus)
    thawed = await frozen_data.thaw(name, bus, tmp_path / "cache")
    before = contents(thawed)
    FOLDERS[how](thawed)
    assert await frozen_data.thaw(name, bus, tmp_path / "cache") == thawed
    assert contents(thawed) == before
    assert not thawed.is_symlink()


async def test_data_is_hashed_once_and_again_when_its_file_changes(
    tmp_path: Path, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await frozen_data.freeze(write(tmp_path / "out", PREPARED), bus)
    thawed = await frozen_data.thaw(name, bus, tmp_path / "cache")
    hashed: list[str] = []
    digest = hashlib.file_digest

    def counting(file: object, kind: str) -> object:
        hashed.append(kind)
        return digest(file, kind)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "file_digest", counting)
    await frozen_data.thaw(name, bus, tmp_path / "cache")
    assert hashed == []
    os.utime(thawed / "public" / "train.bin")
    await frozen_data.thaw(name, bus, tmp_path / "cache")
    assert len(hashed) == 1


async def test_what_prepare_wrote_may_not_be_too_deep(tmp_path: Path, bus: MemoryBus) -> None:
    (tmp_path / "out" / "public").mkdir(parents=True)
    here = os.getcwd()
    os.chdir(tmp_path / "out" / "public")
    for _ in range(300):
        os.mkdir("d")
        os.chdir("d")
    os.chdir(here)
    with pytest.raises(BadArena, match=r"^what artifact.prepare wrote cannot be read: folders are nested deeper than"):
        await frozen_data.freeze(tmp_path / "out", bus)
    file_trees.delete(tmp_path / "out")


async def test_missing_data_is_told_and_leaves_the_rest(tmp_path: Path, bus: MemoryBus) -> None:
    name = await frozen_data.freeze(write(tmp_path / "out", PREPARED), bus)
    thawed = await frozen_data.thaw(name, bus, tmp_path / "cache")
    (thawed / "public" / "train.bin").unlink()
    lost = hashlib.sha256(PREPARED["public/train.bin"]).hexdigest()
    with pytest.raises(ObjectMissing, match=rf"^arena b has no object {lost}$"):
        await frozen_data.thaw(name, await MemoryHub().arena("b", create=True), tmp_path / "cache")
    assert await frozen_data.thaw(name, bus, tmp_path / "cache") == thawed
    assert (thawed / "public" / "train.bin").read_bytes() == PREPARED["public/train.bin"]

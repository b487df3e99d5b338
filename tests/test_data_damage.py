"""Prepared data, boards and the projection in a home that somebody damaged: each is made again from the log."""

import hashlib
import os
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import duckdb
import msgspec
import pytest

from analytics.projection import Projection
from analytics.projector import project, replay
from mesh import file_trees, frozen_data
from mesh.bus import ArenaBus
from mesh.errors import BadArena, ObjectMissing
from mesh.events import NotePosted
from mesh.follow import Follower
from mesh.memory import MemoryBus, MemoryHub
from mesh.wire import Post
from mesh_cli.board.read_marks import Marks
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


LINK = "a link in its place"
FOLDERS: dict[str, Callable[[Path], object]] = {
    "a folder is deleted": lambda thawed: shutil.rmtree(thawed / "public" / "more"),
    "a part is deleted": lambda thawed: shutil.rmtree(thawed / "private"),
    "all is deleted": shutil.rmtree,
    "a file in its place": as_file,
    LINK: as_moved,
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
    assert await frozen_data.is_intact(thawed)
    FOLDERS[how](thawed)
    assert await frozen_data.is_intact(thawed) == (how in ("a file too many", "a folder too many", "no way in", LINK))
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


async def folded(path: Path) -> bytes:
    """Fold a log into a projection of some blocks, and return the bytes of its file."""
    log = await MemoryHub().arena("a", create=True)
    texts = [random.Random(n).randbytes(300).hex() for n in range(1000)]
    await log.post_all([Post.new("ann", NotePosted(channel="g", text=text)) for text in texts])
    await replay(log, path)
    return path.read_bytes()


def zeroed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes(4096) + data[at + 4096 :]


async def test_a_projection_that_is_damaged_anywhere_is_folded_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.duckdb"
    whole = await folded(path)
    identity, seq = read(path)
    found = []
    zeros = [data for part in range(1, 10) if (data := zeroed(whole, len(whole) * part // 10)) != whole]
    for data in (whole[:-1], *zeros[-2:]):
        path.write_bytes(data)
        projection = Projection.open(path)
        found.append(projection.checkpoint("a", identity, seq))
        projection.close()
        said = capsys.readouterr().err
        assert (found[-1], said.count("folding again\n")) in [(0, 1), (seq, 0)]
    assert found[0] == 0
    assert 0 in found[1:]


def read(path: Path) -> tuple[str, int]:
    with duckdb.connect(str(path), read_only=True) as db:
        [found] = db.sql("SELECT identity, seq FROM internal.checkpoints").fetchall()
        return str(found[0]), int(found[1])


async def test_a_log_of_changes_that_is_damaged_is_moved_aside_too(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    await folded(path)
    path.with_name("a.duckdb.wal").write_bytes(random.Random(1).randbytes(5000))
    projection = Projection.open(path)
    projection.close()
    assert not path.with_name("a.duckdb.wal").exists()


async def test_damage_that_a_query_finds_makes_the_projector_fold_the_log_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = MemoryHub()
    await (await hub.arena("a", create=True)).post(Post.new("ann", NotePosted(channel="g", text="kept")))
    path, used = tmp_path / "a.duckdb", []

    async def beside(projection: Projection, _: ArenaBus) -> None:
        used.append(projection)
        if len(used) == 1:
            projection.suspect(duckdb.InvalidInputException("Corrupt database file, says error()"))
            assert projection.damage == ""
            projection.suspect(duckdb.IOException("Corrupt database file: computed checksum 1 does not match"))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(project, hub, path, beside=beside))
            while len(used) < 2 or used[1].cursor().sql("SELECT count(*) FROM internal.posts").fetchall() != [(1,)]:
                await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()
    assert "moved to a.duckdb.damaged-1, folding again\n" in capsys.readouterr().err


OTHER_TYPES = msgspec.msgpack.encode(("x", 1))
NO_BOARD = msgspec.msgpack.encode(("x", b"\xc1"))


@pytest.mark.parametrize("body", [b"", b"junk", OTHER_TYPES, NO_BOARD, b"\xa1\xff", b"\x91" * 9999], ids=range(6))
async def test_a_board_of_nonsense_under_its_own_hash_is_not_used(tmp_path: Path, bus: MemoryBus, body: bytes) -> None:
    await bus.post(Post.new("ann", NotePosted(channel="g", text="kept")))
    path = tmp_path / "a.msgpack"
    path.write_bytes(hashlib.sha256(body).digest() + body)
    follower = Follower(bus, snapshot=path)
    await follower.catch_up()
    assert follower.board.seq == 1


async def test_a_pipe_in_the_place_of_a_board_or_of_marks_makes_nobody_wait(tmp_path: Path, bus: MemoryBus) -> None:
    os.mkfifo(tmp_path / "pipe")
    with anyio.fail_after(60):
        await Follower(bus, snapshot=tmp_path / "pipe").catch_up()
    assert Marks(tmp_path / "pipe", "log").of("general") == 0
    for text in (b"\xff" * 99, b"[" * 99_999, b'{"log":"log","read":{"general":"x"}}'):
        (tmp_path / "marks").write_bytes(text)
        assert Marks(tmp_path / "marks", "log").of("general") == 0

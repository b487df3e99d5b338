"""Whatever happens to a cache of code, its files come back from the log's objects, and nobody waits for ever."""

import datetime as dt
import hashlib
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import anyio
import msgspec
import pytest

from mesh import foreign_commits, git_tree
from mesh.code import CodeStore, Commit
from mesh.errors import BadInput, ObjectMissing
from mesh.memory import MemoryBus, MemoryHub

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
FILES = {"train.py": b"LR = 1\n" * 100, "lib/model.py": b"", "lib/deep/data.bin": bytes(range(256))}


def as_folder(path: Path) -> None:
    path.unlink()
    (path / "more").mkdir(parents=True)


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def as_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere")


def changed(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.chmod(0o644)
    path.write_bytes(change(path.read_bytes()))


DAMAGE: dict[str, Callable[[Path], None]] = {
    "truncated": lambda path: changed(path, lambda data: data[: len(data) // 2]),
    "last byte lost": lambda path: changed(path, lambda data: data[:-1]),
    "zeroed": lambda path: changed(path, lambda data: bytes(len(data))),
    "a bit flipped": lambda path: changed(path, lambda data: data[:5] + bytes([data[5] ^ 8]) + data[6:]),
    "empty": lambda path: changed(path, lambda _: b""),
    "another object": lambda path: changed(path, lambda _: zlib.compress(b"blob 1\x00x")),
    "a bomb": lambda path: changed(path, lambda _: zlib.compress(b"blob 9\x00" + bytes(1_000_000))),
    "a folder": as_folder,
    "a pipe": as_pipe,
    "missing": Path.unlink,
    "unreadable": lambda path: path.chmod(0),
    "a link to nowhere": as_link,
}


@pytest.fixture
async def bus() -> MemoryBus:
    return await MemoryHub().arena("a", create=True)


async def shared(store: CodeStore) -> tuple[Commit, Commit]:
    """Commit and share a base and a child."""
    base = store.commit(FILES, message="base", author="ann", at=NOW)
    child = store.commit(FILES | {"train.py": b"2"}, parents=[base.commit], message="child", author="ann", at=NOW)
    await store.push(base.commit)
    await store.push(child.commit, base=base.commit)
    return base, child


def objects(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "objects").rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", DAMAGE)
async def test_a_damaged_object_is_fetched_again(tmp_path: Path, bus: MemoryBus, kind: str) -> None:
    base, child = await shared(CodeStore(tmp_path / "a.git", bus))
    before = {path: path.read_bytes() for path in objects(tmp_path / "a.git")}
    for path in before:
        DAMAGE[kind](path)
        for store in (CodeStore(tmp_path / "a.git", bus), CodeStore(tmp_path / "a.git", bus)):
            store.has(base.commit)
            assert await store.files(child.commit, base=base.commit) == FILES | {"train.py": b"2"}
            assert await store.files(base.commit) == FILES
            assert (store.tree(child.commit), store.tree(base.commit)) == (child.tree, base.tree)
            assert store.commit(FILES, message="base", author="ann", at=NOW) == base
        await CodeStore(tmp_path / "a.git", bus).pull(child.commit, base=base.commit)
        store.export(tmp_path / "out", {"HEAD": child.commit, "refs/heads/base": base.commit})
        assert git(tmp_path / "out", "fsck", "--full", "--strict") == ""
        shutil.rmtree(tmp_path / "out")
    again = {path: path.read_bytes() for path in objects(tmp_path / "a.git")}
    assert again == before or kind == "unreadable"


@pytest.mark.parametrize("name", ["HEAD", "config", "refs", "packed-refs", "objects", "index.lock", "HEAD.lock", ""])
@pytest.mark.parametrize("how", ["deleted", "a file", "a folder"])
async def test_a_damaged_repository_is_only_a_cache(tmp_path: Path, bus: MemoryBus, name: str, how: str) -> None:
    base, child = await shared(CodeStore(tmp_path / "a.git", bus))
    store = CodeStore(tmp_path / "a.git", bus)
    path = tmp_path / "a.git" / name
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
    if how == "a file":
        path.write_bytes(b"\x00garbage")
    elif how == "a folder":
        path.mkdir()
    for each in (store, CodeStore(tmp_path / "a.git", bus)):
        assert await each.files(child.commit, base=base.commit) == FILES | {"train.py": b"2"}
        await each.push(each.commit(FILES, parents=[child.commit], message="m", author="ann", at=NOW).commit)


async def test_a_commit_that_was_made_is_shared_though_its_cache_is_lost(tmp_path: Path, bus: MemoryBus) -> None:
    store = CodeStore(tmp_path / "a.git", bus)
    base, _ = await shared(store)
    made = store.commit({"train.py": b"3"}, parents=[base.commit], message="m", author="ann", at=NOW)
    shutil.rmtree(tmp_path / "a.git")
    await store.push(made.commit, base=base.commit)
    assert await CodeStore(tmp_path / "b.git", bus).files(made.commit) == {"train.py": b"3"}


async def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, bus: MemoryBus) -> None:
    base, child = await shared(CodeStore(tmp_path / "a.git", bus))
    store = CodeStore(Path("/proc/cannot/be/written.git"), bus)
    assert await store.files(child.commit, base=base.commit) == FILES | {"train.py": b"2"}
    assert store.tree(child.commit) == child.tree
    made = store.commit({"x": b"1"}, parents=[child.commit], message="m", author="ann", at=NOW)
    await store.push(made.commit, base=base.commit)
    assert await CodeStore(tmp_path / "b.git", bus).files(made.commit) == {"x": b"1"}
    store.export(tmp_path / "out", {"HEAD": child.commit})
    assert (tmp_path / "out" / "train.py").read_bytes() == b"2"


WRITER = """
import anyio, sys
from pathlib import Path
from mesh.memory import MemoryBus
from mesh.code import CodeStore
from tests.test_code_damage import FILES, NOW

store = CodeStore(Path(sys.argv[1]), MemoryBus("a"))
for number in range(40):
    made = store.commit(FILES | {"n": b"%d" % number}, message="m", author="ann", at=NOW)
    assert store.has(made.commit)
    assert anyio.run(store.files, made.commit)["n"] == b"%d" % number
"""


def test_several_processes_write_one_cache(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "a.git")]) for _ in range(3)]
    assert [writer.wait(200) for writer in writers] == [0, 0, 0]
    assert git(tmp_path / "a.git", "fsck", "--full", "--strict", "--no-dangling") == ""
    assert not [path for path in objects(tmp_path / "a.git") if path.name.startswith("tmp_")]


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False, timeout=100)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith(("notice:", "dangling"))]
    return "\n".join(lines) if done.returncode == 0 else f"exit {done.returncode}: {done.stderr}"


@pytest.mark.parametrize("kind", ["truncated", "zeroed", "a bit flipped", "empty", "a pipe"])
async def test_a_damaged_commit_of_another_repository_is_left_out_and_stops_nobody(
    tmp_path: Path, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    other, store = CodeStore(tmp_path / "other.git", bus), CodeStore(tmp_path / "a.git", bus)
    good, bad = (other.commit({"x": text}, message="m", author="ann", at=NOW) for text in (b"good" * 99, b"bad" * 99))
    damaged = hashlib.sha1(b"blob 297\x00" + b"bad" * 99).hexdigest()
    DAMAGE[kind](tmp_path / "other.git" / "objects" / damaged[:2] / damaged[2:])
    found: object = {}
    for within_s in (6.0, 60.0):  # git waits for ever on some damage; on a busy machine who reads takes long to start
        monkeypatch.setattr(foreign_commits, "READ_WITHIN_S", within_s)
        with anyio.fail_after(200):
            found = await store.adopt(tmp_path / "other.git", [bad.commit, "HEAD", good.commit[:8], "no such name"])
        if found:
            break
    assert found == {good.commit[:8]: (good, NOW)}
    assert await store.files(good.commit) == {"x": b"good" * 99}


async def test_a_folder_that_is_no_repository_is_one_sentence(tmp_path: Path, bus: MemoryBus) -> None:
    with pytest.raises(BadInput, match=f"^{tmp_path} is not a git repository: "):
        await CodeStore(tmp_path / "a.git", bus).adopt(tmp_path, ["HEAD"])


async def forged(bus: MemoryBus, items: dict[str, bytes], levels: int = 1) -> str:
    """Share a commit whose tree is inside of itself so many times; return its hash."""
    found: dict[str, tuple[int, bytes]] = {}
    name = git_tree.add_object(3, b"x", found)
    body = b"".join(mode + b" " + path.encode() + b"\x00" + bytes.fromhex(name) for path, mode in items.items())
    for _ in range(levels):
        tree = git_tree.add_object(2, body, found)
        body = b"".join(b"40000 " + path.encode() + b"\x00" + bytes.fromhex(tree) for path in items)
    commit = git_tree.add_object(1, b"tree " + tree.encode() + b"\nauthor a <a> 0 +0000\n\nm", found)
    await bus.put(commit, zlib.compress(msgspec.msgpack.encode(("", list(found.values())))))
    return commit


async def test_a_commit_that_is_a_bomb_or_leaves_its_folder_is_refused_in_one_sentence(
    tmp_path: Path, bus: MemoryBus
) -> None:
    store = CodeStore(tmp_path / "a.git", bus)
    wide = await forged(bus, {f"f{number}": b"100644" for number in range(10)}, levels=5)
    deep = await forged(bus, {"f": b"100644"}, levels=3000)
    climbs = await forged(bus, {"..": b"40000"})
    sentences = {wide: "they are more than 100,000", deep: "a path has more than", climbs: "'..' cannot be the name"}
    for commit, why in sentences.items():
        with pytest.raises(ObjectMissing, match=f"^the files of commit {commit} cannot be used: {why}"):
            await store.files(commit)
    for name in ("../../etc/x", "", "HEAD", "x" * 100_000):
        with pytest.raises(ObjectMissing, match=r"^there is no commit '.*': a commit has 40 hex digits$"):
            await store.files(name)
    with pytest.raises(BadInput, match=r"is too deep for a commit: use at most 100 folders$"):
        store.tree_of({"a/" * 3000 + "b": b""})

"""Code and data: commits and frozen files travel as objects, are what their names say, and git can read them."""

import datetime as dt
import hashlib
import json
import re
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from mesh import frozen_data
from mesh.bus import Objects
from mesh.code import CodeStore, Commit
from mesh.errors import BadArena, BadInput, ObjectMissing
from mesh.memory import MemoryBus, MemoryHub

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
FILES = {"train.py": b"LR = 1\n", "lib/model.py": b"", "lib/deep/data.bin": bytes(range(256))}


class Place:
    """Objects that everybody reaches, and caches of somebody's own."""

    def __init__(self, bus: MemoryBus, folder: Path) -> None:
        self.bus, self.folder = bus, folder

    def store(self, name: str) -> CodeStore:
        return CodeStore(self.folder / f"{name}.git", self.bus)


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    return Place(await MemoryHub().arena("a", create=True), tmp_path)


def commit(store: CodeStore, files: dict[str, bytes], *parents: Commit, message: str = "m") -> Commit:
    return store.commit(files, parents=[p.commit for p in parents], message=message, author="ann", at=NOW)


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


async def test_a_commit_comes_back_from_another_cache_with_all_its_files(place: Place) -> None:
    mine, theirs = place.store("mine"), place.store("theirs")
    made = commit(mine, FILES)
    assert (mine.has(made.commit), theirs.has(made.commit)) == (True, False)
    await mine.push(made.commit)
    assert await theirs.files(made.commit) == FILES
    assert (theirs.has(made.commit), theirs.tree(made.commit)) == (True, made.tree)


async def test_a_pack_leaves_out_what_its_base_has_and_names_it(place: Place) -> None:
    mine = place.store("mine")
    large = {"large.bin": hashlib.shake_256(b"seed").digest(100_000)}
    base = commit(mine, FILES | large)
    child = commit(mine, FILES | large | {"train.py": b"LR = 2\n"}, base)
    await mine.push(base.commit)
    await mine.push(child.commit, base=base.commit)
    assert len(await place.bus.get(base.commit)) > 100_000
    assert len(await place.bus.get(child.commit)) < 1_000
    assert await place.store("knows").files(child.commit, base=base.commit) == FILES | large | {"train.py": b"LR = 2\n"}
    assert await place.store("knows not").files(child.commit) == FILES | large | {"train.py": b"LR = 2\n"}


def test_equal_files_are_one_tree_whoever_commits_them_when(place: Place) -> None:
    mine, theirs = place.store("mine"), place.store("theirs")
    first = commit(mine, FILES)
    second = theirs.commit(
        dict(reversed(FILES.items())), message="other", author="bob", at=NOW + dt.timedelta(seconds=1)
    )
    assert first.tree == second.tree == theirs.tree_of(FILES)
    assert first.commit != second.commit
    assert commit(theirs, FILES) == first
    assert theirs.tree_of({**FILES, "train.py": b"LR = 2\n"}) != first.tree


async def test_an_export_is_an_ordinary_git_repository(place: Place) -> None:
    mine, out = place.store("mine"), place.folder / "out"
    base = commit(mine, FILES, message="base")
    left = commit(mine, {**FILES, "train.py": b"LR = 2\n"}, base, message="left")
    right = commit(mine, {**FILES, "lib/model.py": b"W = 2\n"}, base, message="right")
    both = commit(mine, {**FILES, "train.py": b"LR = 2\n", "lib/model.py": b"W = 2\n"}, left, right, message="both")
    mine.export(out, {"HEAD": both.commit, "refs/heads/base": base.commit, f"refs/proposals/{left.tree}": left.commit})
    assert git(out, "fsck", "--full", "--strict", "--no-dangling") == ""
    assert sorted(git(out, "log", "--format=%s %H %P %an").splitlines()) == [
        f"base {base.commit}  ann",
        f"both {both.commit} {left.commit} {right.commit} ann",
        f"left {left.commit} {base.commit} ann",
        f"right {right.commit} {base.commit} ann",
    ]
    assert git(out, "cat-file", "-p", f"{both.commit}:train.py") == "LR = 2\n"
    assert git(out, "rev-parse", f"refs/proposals/{left.tree}^{{tree}}", "base").split() == [left.tree, base.commit]
    assert git(out, "diff", "--name-only", left.commit, both.commit) == "lib/model.py\n"
    assert git(out, "status", "--short") == ""
    assert (out / "lib" / "deep" / "data.bin").read_bytes() == FILES["lib/deep/data.bin"]
    with pytest.raises(FileExistsError, match=rf"^{re.escape(str(out))} exists and is not empty$"):
        mine.export(out, {})


async def test_what_nobody_has_is_said_in_one_sentence(place: Place) -> None:
    store, nobody = place.store("mine"), "f" * 40
    with pytest.raises(ObjectMissing, match=rf"^arena a has no object {nobody}$"):
        await store.files(nobody)
    for ask in (store.tree, lambda name: commit(store, FILES, Commit(name, "")), lambda name: store.tree("no hash")):
        with pytest.raises(ObjectMissing, match=rf"^there is no commit ({nobody}|no hash)$"):
            ask(nobody)
    with pytest.raises(ObjectMissing, match=rf"^there is no commit {nobody}$"):
        await store.push(nobody)
    assert [store.has(name) for name in (nobody, "", "HEAD")] == [False, False, False]


def packed(*objects: tuple[int, bytes], base: str = "") -> bytes:
    return zlib.compress(msgspec.msgpack.encode((base, objects)))


TREE = b"tree dddddddddddddddddddddddddddddddddddddddd\nauthor a <a> 0 +0000\ncommitter a <a> 0 +0000\n\nm"
TREELESS = hashlib.sha1(b"commit %d\x00%s" % (len(TREE), TREE)).hexdigest()


@pytest.mark.parametrize(
    ("name", "pack", "sentence"),
    [
        ("e" * 40, b"junk", "the pack of commit e+ is damaged: .*"),
        ("e" * 40, zlib.compress(b"junk"), "the pack of commit e+ is damaged: .*"),
        ("e" * 40, packed((99, b"x")), "the pack of commit e+ is damaged: an object has an unknown type"),
        ("e" * 40, packed((-1, b"x")), "the pack of commit e+ is damaged: an object has an unknown type"),
        ("e" * 40, packed((3, b"x")), "the pack of commit e+ does not contain the commit"),
        ("e" * 40, packed((1, TREE)), "the pack of commit e+ does not contain the commit"),
        ("e" * 40, packed((1, TREE), base="d" * 40), "arena a has no object d+"),
        (TREELESS, packed((1, TREE)), f"commit {TREELESS} is incomplete here: .*"),
    ],
    ids=["no zlib", "no msgpack", "kind 99", "kind -1", "a blob", "another commit", "no base", "no tree"],
)
async def test_a_pack_that_was_tampered_with_does_not_yield_its_commit(
    place: Place, name: str, pack: bytes, sentence: str
) -> None:
    await place.bus.put(name, pack)
    with pytest.raises(ObjectMissing, match=f"^{sentence}$"):
        await place.store("mine").files(name)


@pytest.mark.parametrize("name", ["", "/x", "a//b", "../x", "x/../y", ".git/config", "a\x00b"])
def test_a_path_that_git_would_not_take_is_refused_in_one_sentence(place: Place, name: str) -> None:
    with pytest.raises(BadInput, match=r"^'.*' cannot be the name of a file in a commit$"):
        commit(place.store("mine"), {name: b""})


def test_a_file_cannot_be_a_folder_too(place: Place) -> None:
    with pytest.raises(BadInput, match=r"^'a' cannot be both a file and a folder in a commit$"):
        place.store("mine").tree_of({"a": b"", "a/b": b""})


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, body in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    return folder


PREPARED = {"public/train.bin": b"1" * 1000, "public/more/x": b"", "private/test.bin": b"2" * 1000}


async def test_frozen_data_is_laid_out_the_same_everywhere_and_read_only(place: Place) -> None:
    name = await frozen_data.freeze(write(place.folder / "out", PREPARED), place.bus)
    assert name == await frozen_data.freeze(write(place.folder / "again", dict(reversed(PREPARED.items()))), place.bus)
    thawed = await frozen_data.thaw(name, place.bus, place.folder / "cache")
    files = [path for path in thawed.rglob("*") if path.is_file()]
    assert {path.relative_to(thawed).as_posix(): path.read_bytes() for path in files} == PREPARED
    assert {path.stat().st_mode & 0o777 for path in files} == {0o444}
    assert await frozen_data.thaw(name, place.bus, place.folder / "cache") == thawed
    assert [path.name for path in (place.folder / "cache").iterdir()] == [name]


async def test_other_data_has_another_name_and_no_data_has_none(place: Place) -> None:
    names = [
        await frozen_data.freeze(write(place.folder / "1", PREPARED), place.bus),
        await frozen_data.freeze(write(place.folder / "2", PREPARED | {"public/more/x": b"."}), place.bus),
        await frozen_data.freeze(write(place.folder / "3", {"public/test.bin": b"2" * 1000}), place.bus),
        await frozen_data.freeze(write(place.folder / "4", {"private/test.bin": b"2" * 1000}), place.bus),
    ]
    assert len(set(names)) == 4
    (place.folder / "empty" / "public").mkdir(parents=True)
    assert await frozen_data.freeze(place.folder / "empty", place.bus) == ""
    nothing = await frozen_data.thaw("", place.bus, place.folder / "cache")
    assert sorted(path.relative_to(nothing).as_posix() for path in nothing.rglob("*")) == [
        "hidden",
        "private",
        "public",
    ]


async def tampered(bus: MemoryBus, name: str, change: Callable[[bytes], bytes]) -> MemoryBus:
    """The objects of `bus`, but for what one of them holds."""
    other = await MemoryHub().arena("a", create=True)
    for known, body in bus._objects.items():
        await other.put(known, change(body) if known == name else body)
    return other


async def test_data_that_was_tampered_with_is_not_laid_out(place: Place) -> None:
    name = await frozen_data.freeze(write(place.folder / "out", PREPARED), place.bus)
    for target in (name, hashlib.sha256(PREPARED["private/test.bin"]).hexdigest()):
        forged = await tampered(place.bus, target, lambda body: body.replace(b"2", b"3"))
        with pytest.raises(ObjectMissing, match=rf"^object {target} is damaged: its contents do not match its name$"):
            await frozen_data.thaw(name, forged, place.folder / "cache")
        assert list((place.folder / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        (b'[["../../x","{sha}",1]]', "data {name} contains the file '../../x', whose path leaves the folder"),
        (b'[["/tmp/x","{sha}",1]]', "data {name} contains the file '/tmp/x', whose path leaves the folder"),
        (b'[["public/x","%s",1]]' % (b"0" * 64), "arena a has no object 0{{64}}"),
        (b'{"a":1}', "object {name} is not a valid manifest of data: .*"),
    ],
    ids=["climbs out", "absolute", "a missing file", "no manifest"],
)
async def test_a_manifest_that_lies_lays_out_nothing(place: Place, manifest: bytes, sentence: str) -> None:
    name = hashlib.sha256(manifest).hexdigest()
    await place.bus.put(name, manifest)
    with pytest.raises(ObjectMissing, match=f"^{sentence.format(name=name)}$"):
        await frozen_data.thaw(name, place.bus, place.folder / "cache")
    assert list((place.folder / "cache").iterdir()) == []


async def test_prepare_may_only_write_regular_files_into_its_two_folders(place: Place) -> None:
    rule = r": write only regular files, and only into public/ and private/$"
    with pytest.raises(BadArena, match=rf"^artifact.prepare wrote 'x.bin'{rule}"):
        await frozen_data.freeze(write(place.folder / "1", {"x.bin": b""}), place.bus)
    linked = write(place.folder / "2", PREPARED)
    (linked / "public" / "link").symlink_to(linked / "private")
    with pytest.raises(BadArena, match=rf"^artifact.prepare wrote 'public/link'{rule}"):
        await frozen_data.freeze(linked, place.bus)


class Seen:
    """Objects that remember how large each one was."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.put_sizes: list[int] = []
        self.got: list[str] = []

    async def put(self, name: str, data: bytes) -> None:
        self.put_sizes.append(len(data))
        await self.objects.put(name, data)

    async def get(self, name: str) -> bytes:
        self.got.append(name)
        return await self.objects.get(name)


async def test_a_large_file_is_stored_and_laid_out_in_pieces(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"none": 0, "one": 699, "just": 700, "more": 701, "twice": 1400, "many": 10_000}
    whole = {f"public/{name}": bytes(n % 251 for n in range(size)) for name, size in sizes.items()}
    before = await frozen_data.freeze(write(place.folder / "small", {"public/one": whole["public/one"]}), place.bus)
    monkeypatch.setattr(frozen_data, "PIECE_BYTES", 700)
    same = await frozen_data.freeze(write(place.folder / "again", {"public/one": whole["public/one"]}), place.bus)
    assert same == before  # what is one piece has the name that it always had
    seen = Seen(place.bus)
    name = await frozen_data.freeze(write(place.folder / "out", whole), seen)
    assert max(seen.put_sizes[:-1]) == 700  # the last one is the manifest
    thawed = await frozen_data.thaw(name, seen, place.folder / "cache")
    assert {path: (thawed / path).read_bytes() for path in whole} == whole
    assert await frozen_data.is_intact(thawed)
    seen.got.clear()
    damaged = thawed / "public" / "many"
    damaged.unlink()
    damaged.write_bytes(b"x" * 10_000)
    assert await frozen_data.thaw(name, seen, place.folder / "cache") == thawed
    assert damaged.read_bytes() == whole["public/many"]
    assert len(seen.got) == 15  # only the pieces of what was damaged


async def test_pieces_in_another_order_are_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen_data, "PIECE_BYTES", 4)
    name = await frozen_data.freeze(write(place.folder / "out", {"private/x": b"aaaabbbb"}), place.bus)
    [[path, sha256, size, pieces]] = json.loads(await place.bus.get(name))
    forged = json.dumps([[path, sha256, size, pieces[::-1]]]).encode()
    await place.bus.put(hashlib.sha256(forged).hexdigest(), forged)
    with pytest.raises(ObjectMissing, match="the pieces of 'private/x' do not match its hash"):
        await frozen_data.thaw(hashlib.sha256(forged).hexdigest(), place.bus, place.folder / "cache")
    assert list((place.folder / "cache").iterdir()) == []

"""Bundles that lie, are cut, unpack to too much, or have what we do not take: refused in a sentence; nothing stays."""

import io
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.git_bundle import BadBundle, BundleTooLarge, read_head, write_bundle
from gateway.git_pack import MAX_PUSHED_OBJECTS, measure_pack
from gateway.pushed_commits import MAX_NEW_COMMITS
from mesh.errors import BadInput
from mesh.git_objects import BLOB, COMMIT, TREE, Object, object_name
from mesh.testing import FILES
from tests.support.commits import Git, commit_log, push_file

WHO = b"author A <a@b> 1700000000 +0000\ncommitter A <a@b> 1700000000 +0000\n"
QUICK_S = 5.0


def commit_of(tree: str, *parents: str, text: str = "x") -> Object:
    lines = "".join(f"parent {parent}\n" for parent in parents)
    return COMMIT, f"tree {tree}\n{lines}".encode() + WHO + f"\n{text}\n".encode()


def tree_of(*items: tuple[bytes, bytes, str]) -> Object:
    return TREE, b"".join(mode + b" " + name + b"\0" + bytes.fromhex(each) for mode, name, each in items)


def bundled(*objects: Object, head: str = "") -> bytes:
    """A bundle of these objects; its head is the last one unless it is named."""
    file = io.BytesIO()
    heads = [(head or object_name(*objects[-1]), "refs/heads/main")]
    write_bundle(file, heads, (), objects, len(objects))
    return file.getvalue()


def with_tree(*items: tuple[bytes, bytes, str], more: tuple[Object, ...] = ()) -> bytes:
    tree = tree_of(*items)
    return bundled(*more, tree, commit_of(object_name(*tree)))


TEXT: Object = (BLOB, b"LR = 1\n")
BLOB_NAME = object_name(*TEXT)
EMPTY = tree_of()
PLAIN = with_tree((b"100644", b"train.py", BLOB_NAME), more=(TEXT,))


def many_commits(count: int) -> bytes:
    chain: list[Object] = [EMPTY]
    last: tuple[str, ...] = ()
    for number in range(count):
        chain.append(commit_of(object_name(*EMPTY), *last, text=str(number)))
        last = (object_name(*chain[-1]),)
    return bundled(*chain)


def large_files() -> bytes:
    files = [(BLOB, bytes([number]) * (30 * 1024**2)) for number in range(9)]
    items = [(b"100644", b"f%d" % number, object_name(*file)) for number, file in enumerate(files)]
    return with_tree(*items, more=tuple(files))


def growing_data() -> bytes:
    """Commits that each add a large file to those before."""
    objects, items, last = list[Object](), list[tuple[bytes, bytes, str]](), tuple[str, ...]()
    for number in range(4):
        objects.append((BLOB, bytes([number]) * (30 * 1024**2)))
        items.append((b"100644", b"f%d" % number, object_name(*objects[-1])))
        objects.append(tree_of(*items))
        objects.append(commit_of(object_name(*objects[-1]), *last))
        last = (object_name(*objects[-1]),)
    return bundled(*objects)


def tree_bomb() -> bytes:
    trees = [tree_of(*((b"100644", b"f%d" % n, BLOB_NAME) for n in range(10)))]
    for _ in range(9):
        trees.append(tree_of(*((b"40000", b"d%d" % n, object_name(*trees[-1])) for n in range(10))))
    return bundled(TEXT, *trees, commit_of(object_name(*trees[-1])))


def deep_tree() -> bytes:
    trees = [tree_of((b"100644", b"f", BLOB_NAME))]
    for _ in range(3000):
        trees.append(tree_of((b"40000", b"d", object_name(*trees[-1]))))
    return bundled(TEXT, *trees, commit_of(object_name(*trees[-1])))


def delta_bomb() -> bytes:
    """A file, and deltas that each say that their result is twice as long as what they build on."""
    size = 1024**2
    pieces = [_head(BLOB, size) + zlib.compress(bytes(size))]
    for _ in range(30):
        copy = b"\xf0" + (size & 0xFFFFFF).to_bytes(3, "little")
        delta = _number(size) + _number(2 * size) + copy + copy
        offset = len(pieces[-1])
        pieces.append(_head(6, len(delta)) + _offset(offset) + zlib.compress(delta))
        size *= 2
    head = f"# v2 git bundle\n{BLOB_NAME} refs/heads/main\n\n".encode()
    return head + b"PACK" + (2).to_bytes(4, "big") + len(pieces).to_bytes(4, "big") + b"".join(pieces) + bytes(20)


def _head(kind: int, size: int) -> bytes:
    data, size = [kind << 4 | size & 15], size >> 4
    while size:
        data[-1] |= 128
        data.append(size & 127)
        size >>= 7
    return bytes(data)


def _number(value: int) -> bytes:
    data = [value & 127]
    while value := value >> 7:
        data[-1] |= 128
        data.append(value & 127)
    return bytes(data)


def _offset(value: int) -> bytes:
    data = [value & 127]
    while value := value >> 7:
        value -= 1
        data.insert(0, 128 | value & 127)
    return bytes(data)


def lying_size() -> bytes:
    at = PLAIN.index(b"PACK") + 12
    return PLAIN[:at] + _head(BLOB, 3) + PLAIN[at + 1 :]


def flipped() -> bytes:
    return PLAIN[:-25] + bytes([PLAIN[-25] ^ 255]) + PLAIN[-24:]


def with_head(text: bytes) -> bytes:
    return text + PLAIN[PLAIN.index(b"PACK") :]


BAD: dict[str, tuple[bytes | Callable[[], bytes], type[BadInput], str]] = {
    "empty": (b"", BadBundle, "does not begin with"),
    "no head": (b"\0" * 4000, BadBundle, "does not begin with"),
    "html": (b"<html>hello</html>\n" * 9, BadBundle, "does not begin with"),
    "cut in its head": (PLAIN[:40], BadBundle, "its head is cut off"),
    "cut before its pack": (PLAIN[: PLAIN.index(b"PACK")], BadBundle, "its pack is cut off"),
    "cut in its pack": (PLAIN[:-60], BadBundle, "its pack is cut off"),
    "without its sum": (PLAIN[:-20], BadBundle, "its pack is cut off"),
    "damaged": (flipped, BadBundle, "invalid bundle: "),
    "with more": (PLAIN + b"more", BadBundle, "bytes follow its pack"),
    "no refs": (with_head(b"# v2 git bundle\n\n"), BadBundle, "contains no refs"),
    "a bad line": (with_head(b"# v2 git bundle\nhello\n\n"), BadBundle, "has the line 'hello'"),
    "endless lines": (
        with_head(b"# v2 git bundle\n" + b"-%s\n" % (b"a" * 40) * 20_000),
        BundleTooLarge,
        "10,000 lines",
    ),
    "sha256": (with_head(b"# v3 git bundle\n@object-format=sha256\n%s refs/a\n\n" % (b"a" * 40)), BadBundle, "sha256"),
    "filter": (with_head(b"# v3 git bundle\n@filter=blob:none\n%s refs/a\n\n" % (b"a" * 40)), BadBundle, "--filter"),
    "capability": (with_head(b"# v3 git bundle\n@magic\n%s refs/a\n\n" % (b"a" * 40)), BadBundle, "'magic'"),
    "another head": (bundled(TEXT, EMPTY, head="a" * 40), BadBundle, "is not a commit"),
    "a file as head": (bundled(TEXT), BadBundle, "is not a commit"),
    "no parent": (bundled(EMPTY, commit_of(object_name(*EMPTY), "a" * 40)), BadBundle, "invalid bundle|not found"),
    "no tree": (bundled(commit_of("a" * 40)), BadBundle, "invalid bundle"),
    "a link": (with_tree((b"120000", b"train.py", BLOB_NAME), more=(TEXT,)), BadBundle, "symbolic link"),
    "a submodule": (with_tree((b"160000", b"sub", "a" * 40)), BadBundle, "submodule"),
    ".git": (with_tree((b"40000", b".git", object_name(*EMPTY)), more=(EMPTY,)), BadBundle, "invalid bundle"),
    ".GIT": (with_tree((b"40000", b".GIT", object_name(*EMPTY)), more=(EMPTY,)), BadBundle, "invalid bundle"),
    "..": (with_tree((b"40000", b"..", object_name(*EMPTY)), more=(EMPTY,)), BadBundle, "invalid bundle"),
    "a slash": (with_tree((b"100644", b"a/b", BLOB_NAME), more=(TEXT,)), BadBundle, "invalid bundle"),
    "a lying size": (lying_size, BadBundle, "cut off or damaged"),
    "large files": (large_files, BundleTooLarge, "unpacks to more than 256 MiB"),
    "growing data": (growing_data, BundleTooLarge, "its commits take more than 256 MiB"),
    "a delta bomb": (delta_bomb, BundleTooLarge, "bundle too large"),
    "a tree bomb": (tree_bomb, BundleTooLarge, "more than 100,000 files"),
    "a deep tree": (deep_tree, BadInput, "folders"),
    "10^5 commits": (lambda: many_commits(100_000), BundleTooLarge, f"a push at most {MAX_PUSHED_OBJECTS:,}"),
    "too many commits": (lambda: many_commits(MAX_NEW_COMMITS + 1), BundleTooLarge, "more than 1,000 new commits"),
    "a secret": (
        with_tree((b"100644", b"k", object_name(BLOB, b"AKIA" + b"A" * 16)), more=((BLOB, b"AKIA" + b"A" * 16),)),
        BadInput,
        "what looks like a key of AWS",
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_bundle_is_refused_soon_and_nothing_of_it_stays(name: str, tmp_path: Path) -> None:
    made, kind, words = BAD[name]
    bundle = tmp_path / "bad.bundle"
    bundle.write_bytes(made if isinstance(made, bytes) else made())
    async with commit_log(tmp_path) as log:
        cache = sorted(path.name for path in log.door.code.folder.rglob("*"))
        head, began = await log.door.bus.head(), time.process_time()
        with pytest.raises(kind, match=words):
            await push_file(log, bundle, "eve")
        assert time.process_time() - began < QUICK_S
        assert await log.door.bus.head() == head
        assert sorted(path.name for path in log.door.code.folder.rglob("*")) == cache
        good = tmp_path / "good.bundle"  # and the next one is taken
        good.write_bytes(PLAIN)
        assert (await push_file(log, good)).new == 1


async def test_links_and_submodules_that_git_itself_made_are_named(tmp_path: Path) -> None:
    git = Git(tmp_path / "work")
    git.commit({**FILES, "lib/a.py": b"A = 1\n"}, "baseline")
    (git.folder / "lib" / "link.py").symlink_to("/etc/passwd")
    git.commit({}, "a link")
    async with commit_log(tmp_path) as log:
        with pytest.raises(BadBundle, match=r"lib/link\.py is a symbolic link"):
            await push_file(log, git.bundle("HEAD"), "eve")


def test_what_a_real_pack_unpacks_to_is_counted(tmp_path: Path) -> None:
    git = Git(tmp_path / "work")
    for number in range(20):
        git.commit({"a.txt": b"".join(b"%d %d\n" % (number, n) for n in range(0, 2000, 1 + number % 3))})
    with git.bundle("HEAD").open("rb") as file:
        read_head(file)
        found = measure_pack(file)
    assert found.objects == int(git("rev-list", "--objects", "--count", "HEAD"))

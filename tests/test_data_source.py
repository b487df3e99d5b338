"""The source of an arena's data: read by `prepare` alone, watched by its contents, refused where trials can read it."""

import hashlib
import os
import re
from pathlib import Path

import anyio.to_thread
import pytest

from mesh import arena, arena_files, data_source, frozen_data
from mesh.errors import BadArena
from mesh.events import ArenaOpened
from mesh.jetstream import connect
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from mesh.server import EmbeddedServer
from tests.support.arenas import write
from tests.test_arena import FILES, refused
from tests.test_take_part import mesh

PREPARE = """
import os, pathlib
source, out = pathlib.Path(os.environ["MESH_SOURCE"]), pathlib.Path(os.environ["MESH_OUT"])
assert source.is_absolute()
(out / "private").mkdir()
files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
(out / "private" / "all").write_bytes(b"".join(path.read_bytes() for path in files))
"""
SOURCE = "[trial]", '[data]\nsource = "data/my.csv"\n[trial]'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = FILES | {"prepare.py": PREPARE, "data/my.csv": "a,b\n1,2\n"}
    return write(tmp_path / "arena", files | {"arena.toml": FILES["arena.toml"].replace(*SOURCE)})


class Opener:
    """Opens an arena again and again on one log."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.hub, self.folder, self.home = MemoryHub(), folder, home

    async def __call__(self, data: Path | None = None) -> ArenaOpened:
        return (await open_arena(self.hub, self.folder, home=self.home, data=data))[1]

    async def private(self, opened: ArenaOpened) -> bytes:
        folder = await frozen_data.thaw(opened.data, await self.hub.arena("tiny"), self.home / "thawed")
        return (folder / "private" / "all").read_bytes()


async def test_an_edited_source_makes_the_next_version(folder: Path, home: Path, tmp_path: Path) -> None:
    opener, csv = Opener(folder, home), folder / "data" / "my.csv"
    first = await opener()
    assert (await opener.private(first), first.spec.data.source) == (b"a,b\n1,2\n", "my.csv")
    assert await opener() == first
    os.utime(csv)  # another time, the same contents
    assert await opener() == first
    stamp = csv.stat()
    csv.write_text("a,b\n1,3\n")
    os.utime(csv, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # the same size and time
    second = await opener()
    assert (second.version, second.base_tree, second.spec) == (2, first.base_tree, first.spec)
    assert second.evaluator != first.evaluator
    assert await opener.private(second) == b"a,b\n1,3\n"
    elsewhere = write(tmp_path / "else", {"my.csv": "a,b\n1,3\n"}) / "my.csv"
    assert await opener(elsewhere) == second  # the contents count, not the place
    files = arena_files.read_files(folder, second.spec.artifact)
    marked = files | {data_source.MARK: hidden_mark(await opener.hub.arena("tiny"), second)}
    assert arena.evaluator_hash(second.spec, marked) == second.evaluator


def hidden_mark(_: object, opened: ArenaOpened) -> bytes:
    [path] = [path for path in frozen_data._manifests if path.name == opened.data]
    return frozen_data.hidden_in(path)[data_source.MARK]


async def test_a_folder_is_a_source_whatever_is_renamed_or_added_in_it(
    folder: Path, home: Path, tmp_path: Path
) -> None:
    opener, many = Opener(folder, home), write(tmp_path / "many", {"b/x": "1", "a": "2"})
    seen = {(await opener(many)).evaluator}
    (many / "b" / "y").symlink_to(folder / "data" / "my.csv")
    assert await opener.private(await opener(many)) == b"21a,b\n1,2\n"
    seen.add((await opener(many)).evaluator)
    (many / "b" / "x").rename(many / "b" / "z")
    seen.add((await opener(many)).evaluator)
    assert len(seen) == 3
    (many / "loop").symlink_to(many)
    with pytest.raises(BadArena, match=r"loop is a link to a folder: copy the folder instead$"):
        await opener(many)
    (many / "loop").unlink()
    os.mkfifo(many / "pipe")
    with pytest.raises(BadArena, match=r"pipe is neither a file nor a folder: a source is made of these$"):
        await opener(many)


def test_a_hash_is_kept_only_for_a_file_that_has_settled_and_not_believed_when_damaged(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"

    def found() -> data_source.DataSource:
        source = data_source.find_source(folder, "data/my.csv", None, {})
        assert source
        return source

    monkeypatch.setattr(data_source, "_SETTLED_NS", 10**12)
    right = data_source.digest_of(found(), cache)
    assert not cache.exists()  # written a moment ago: it may change again within one tick of the clock
    monkeypatch.setattr(data_source, "_SETTLED_NS", -(10**9))
    assert data_source.digest_of(found(), cache) == right
    [kept] = cache.iterdir()
    kept.write_text(f"{'0' * 64} {hashlib.sha256(b'').hexdigest()}")
    assert data_source.digest_of(found(), cache) == right
    monkeypatch.setattr(data_source, "_hash", lambda source: pytest.fail("it was read again"))
    assert data_source.digest_of(found(), cache) == right


def test_a_large_source_streams_and_says_how_far_it_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(100_000_000)
    monkeypatch.setattr(data_source, "_TELL_EVERY_S", 0.01)
    source = data_source.find_source(folder, "", large, {})
    assert source
    data_source.digest_of(source, tmp_path / "cache")
    assert re.search(rf"^mesh: reading {large}: \d+% of 0.1 GB$", capsys.readouterr().err, re.MULTILINE)


async def test_a_source_that_changes_while_prepare_reads_it_is_refused(folder: Path, home: Path) -> None:
    write(folder, {"prepare.py": PREPARE + "open(source, 'a').write('more')\n"})
    with pytest.raises(BadArena, match=r"my.csv changed while it was read: open the arena again when nobody writes"):
        await Opener(folder, home)()


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("gone.csv", "arena.toml: data.source 'gone.csv' does not exist: name a file or folder, relative to the arena, "
         "or absolute"),
        ("train.py", "data.source 'train.py' has 'train.py', which is laid out for trials: move the source into data/ "
         "of the arena or out of it, or list the file in artifact.hidden"),
        (".", "data.source '.' has 'README.md', which is laid out for trials"),
        ("..", "data.source '..' has 'README.md', which is laid out for trials"),
        ("/usr/share", "data.source '/usr/share' is in /usr, which every trial can read: move it elsewhere"),
        ("data/link", "data.source 'data/link' is in "),
        ("data/empty", "data.source 'data/empty' has no files: name a file, or a folder with files"),
    ],
)  # fmt: skip
async def test_a_source_that_cannot_be_used_is_refused_in_one_sentence(
    folder: Path, home: Path, source: str, sentence: str
) -> None:
    (folder / "data" / "link").symlink_to(os.__file__)
    (folder / "data" / "empty").mkdir()
    write(folder, {"arena.toml": FILES["arena.toml"].replace(SOURCE[0], SOURCE[1].replace("data/my.csv", source))})
    with pytest.raises(BadArena, match=re.escape(sentence)) as found:
        await Opener(folder, home)()
    assert "\n" not in str(found.value)


async def test_an_arena_that_needs_a_source_says_so(folder: Path, home: Path) -> None:
    write(folder, {"arena.toml": FILES["arena.toml"]})
    sentence = "artifact.prepare reads MESH_SOURCE, but no source is named: give --data or set data.source"
    with pytest.raises(BadArena, match=f"^{sentence}$"):
        await Opener(folder, home)()


async def test_a_hidden_file_of_the_arena_may_be_the_source(folder: Path, home: Path) -> None:
    toml = FILES["arena.toml"].replace("prepare =", 'hidden = ["mine"]\nprepare =')
    write(folder, {"arena.toml": toml.replace(SOURCE[0], SOURCE[1].replace("data/my.csv", "mine")), "mine/x": "7"})
    opener = Opener(folder, home)
    assert await opener.private(await opener()) == b"7"


def test_a_source_needs_a_command_that_reads_it(folder: Path) -> None:
    write(folder, {"arena.toml": (folder / "arena.toml").read_text().replace("prepare =", "hidden = []  #")})
    sentence = "data.source needs artifact.prepare, the command that reads the source: name it, or leave source out"
    assert refused(folder) == sentence


async def test_data_on_the_command_line_wins(folder: Path, home: Path, server: EmbeddedServer, tmp_path: Path) -> None:
    mine = write(tmp_path / "mine", {"orders.csv": "x\n9\n"}) / "orders.csv"

    def run(*words: str) -> tuple[int, str]:
        done = mesh("open", str(folder), *words, home=home, url=server.url)
        lines = done.stderr.splitlines(keepends=True)
        return done.returncode, "".join(line for line in lines if "left out: data (made by prepare" not in line)

    assert await anyio.to_thread.run_sync(run, "--data", str(mine)) == (0, "")
    code, said = await anyio.to_thread.run_sync(run, "--data", str(tmp_path / "none"))
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith(
        f"mesh: --data {tmp_path}/none does not exist: name a file or folder, relative to the current"
    )
    async with connect(server.url) as hub:
        bus, opened = await open_arena(hub, folder, home=home, data=mine)
        assert (opened.version, opened.spec.data.source) == (1, "orders.csv")
        thawed = await frozen_data.thaw(opened.data, bus, tmp_path / "thawed")
        assert (thawed / "private" / "all").read_text() == "x\n9\n"
    assert str(tmp_path) not in str(opened)

"""A member adds messages to objects that others wrote, or writes them first: readers get the object, or a sentence."""

import datetime as dt
import hashlib
from pathlib import Path

import nats
import pytest

from mesh import frozen_data
from mesh.code import CodeStore
from mesh.errors import ObjectMissing
from mesh.jetstream import connect
from mesh.jetstream.live import CHUNK
from mesh.server import embedded

EVIL = b"print('evil')"


async def add(url: str, subject: str, data: bytes, **headers: str) -> None:
    """Store a message as a client of another make: without the header that expects none before."""
    client = await nats.connect(url)
    await client.jetstream().publish(subject, data, headers=headers or None)
    await client.close()


@pytest.mark.parametrize("size", [0, 20, CHUNK + 1, 3 * CHUNK])
async def test_a_message_that_is_added_to_an_object_changes_nothing(tmp_path: Path, size: int) -> None:
    async with embedded(tmp_path) as server, connect(server.url) as hub, connect(server.url) as other:
        bus, reader = await hub.arena("a", create=True), await other.arena("a")
        data = bytes(number % 251 for number in range(size))
        name = hashlib.sha256(data).hexdigest()
        await bus.put(name, data)
        chunks = max(1, -(-size // CHUNK))
        for number in range(chunks):
            await add(server.url, f"meshobj.a.{name}.{number}", EVIL, **{"Mesh-Chunks": "1"})
        await add(server.url, f"meshobj.a.{name}.{chunks}", EVIL)
        assert await reader.get(name) == data
        await bus.put(name, data)  # as one writes again what one does not know to be there
        assert await reader.get(name) == data


async def test_shadowed_code_and_data_are_those_that_were_shared(tmp_path: Path) -> None:
    async with embedded(tmp_path / "server") as server, connect(server.url) as hub:
        bus = await hub.arena("a", create=True)
        author, at = CodeStore(tmp_path / "author.git", bus), dt.datetime.now(dt.UTC)
        commit = author.commit({"train.py": b"print(1)\n"}, message="m", author="ann", at=at).commit
        await author.push(commit)
        (tmp_path / "data" / "public").mkdir(parents=True)
        (tmp_path / "data" / "public" / "x.csv").write_text("1,2\n")
        frozen = await frozen_data.freeze(tmp_path / "data", bus)
        piece = hashlib.sha256(b"1,2\n").hexdigest()
        for name in (commit, frozen, piece):
            await add(server.url, f"meshobj.a.{name}.0", EVIL, **{"Mesh-Chunks": "1"})
        reader = CodeStore(tmp_path / "reader.git", bus)
        assert await reader.files(commit) == {"train.py": b"print(1)\n"}
        folder = await frozen_data.thaw(frozen, bus, tmp_path / "cache")
        assert (folder / "public" / "x.csv").read_text() == "1,2\n"


async def test_what_was_written_under_a_name_before_its_object_is_refused_in_a_sentence(tmp_path: Path) -> None:
    async with embedded(tmp_path / "server") as server, connect(server.url) as hub:
        bus = await hub.arena("a", create=True)
        author, at = CodeStore(tmp_path / "author.git", bus), dt.datetime.now(dt.UTC)
        commit = author.commit({"train.py": b"print(1)\n"}, message="m", author="ann", at=at).commit
        name = hashlib.sha256(b"the data").hexdigest()
        for early in (commit, name):
            await add(server.url, f"meshobj.a.{early}.0", EVIL)
        await author.push(commit)
        await bus.put(name, b"the data")
        with pytest.raises(ObjectMissing, match=rf"^the pack of commit {commit} is damaged: "):
            await CodeStore(tmp_path / "reader.git", bus).files(commit)
        with pytest.raises(ObjectMissing, match=rf"^object {name} is damaged: its contents do not match its name$"):
            await frozen_data.thaw(name, bus, tmp_path / "cache")

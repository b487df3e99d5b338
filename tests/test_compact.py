"""`mesh compact`: the code of retired proposals stands in one object per thousand, and every commit can be read."""

import asyncio
import datetime as dt
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from benchmarks.parts.mix import opening
from mesh import events as e
from mesh import object_groups, wire
from mesh.code import CodeStore, Commit
from mesh.errors import ObjectMissing
from mesh.git_objects import is_hash
from mesh.jetstream import JetStreamBus, JetStreamHub, connect
from mesh.object_groups import groups_with, pack_group, split_into_groups, unpack_group
from mesh.server import EmbeddedServer
from mesh.wire import Post
from mesh_cli.exit import ExitCode

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
LINES = [f"step_{n} = {n * n}\n" for n in range(200)]


def version(number: int) -> dict[str, bytes]:
    lines = [*LINES]
    lines[number % 200] = f"step = {number}  # changed\n"
    return {"train.py": "".join(lines).encode()}


class Given:
    """An arena on a server, with proposals of which all but the last five are retired."""

    def __init__(self, hub: JetStreamHub, bus: JetStreamBus, base: Commit, commits: list[Commit], folder: Path) -> None:
        self.hub, self.bus, self.base, self.commits, self._folder = hub, bus, base, commits, folder

    async def alone(self) -> int:
        """How many objects stand alone."""
        answer = await self.hub.link.call("$JS.API.STREAM.INFO.MESHOBJ_a", {})
        return int(answer["state"]["messages"])

    async def groups(self) -> int:
        """How many groups there are."""
        answer = await self.hub.link.call("$JS.API.STREAM.INFO.MESHGRP_a", {"subjects_filter": ">"})
        subjects = (answer.get("state") or {}).get("subjects") or {}
        return sum(subject.endswith(".0") for subject in subjects)

    async def check(self, name: str) -> None:
        """Read every commit into an empty cache over a connection of one's own."""
        store = CodeStore(self._folder / f"{name}.git", self.bus)
        for number, made in enumerate(self.commits):
            assert await store.files(made.commit, base=self.base.commit) == version(number + 1)


@asynccontextmanager
async def given(server: EmbeddedServer, folder: Path, count: int) -> AsyncIterator[Given]:
    async with connect(server.url) as hub:
        bus = await hub.arena("a", create=True)
        store = CodeStore(folder / "made.git", bus)
        base = store.commit(version(0), message="base", author="ann", at=NOW)
        await store.push(base.commit)
        commits = [
            store.commit(version(n), parents=[base.commit], message=f"try {n}", author="ann", at=NOW)
            for n in range(1, count + 1)
        ]
        left = iter(commits)

        async def push() -> None:
            for made in left:
                await store.push(made.commit, base=base.commit)

        async with anyio.create_task_group() as tasks:
            for _ in range(16):
                tasks.start_soon(push)
        first = opening("a").event
        assert isinstance(first, e.ArenaOpened)
        facts: list[e.AnyEvent] = [
            e.ArenaOpened(
                version=1, spec=first.spec, base_commit=base.commit, base_tree=base.tree, evaluator="", data=""
            ),
            *(
                e.ProposalPosted(
                    tree=c.tree,
                    commit=c.commit,
                    parents=(base.tree,),
                    title="t",
                    origin=e.Origin(how="human", name="a"),
                )
                for c in commits
            ),
            *(e.ProposalRetired(proposal=c.tree, round=0, why="not_better") for c in commits[:-5]),
        ]
        await bus.post_all([Post.new("ann", fact) for fact in facts])
        yield Given(hub, bus, base, commits, folder)


def compact(server: EmbeddedServer, home: Path, *words: str, wait: str = "0") -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "mesh_cli", "compact", "--nats", server.url, "--wait", wait, *words]
    env = {**os.environ, "MESH_HOME": str(home)}
    return subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


async def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = await anyio.to_thread.run_sync(process.communicate)
    return process.returncode, out, err


async def test_retired_code_moves_into_one_object_per_thousand_and_a_second_time_does_nothing(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    async with given(server, tmp_path, 1205) as arena:
        assert await arena.alone() == 1206
        code, told, _ = await ended(compact(server, tmp_path / "home", "--dry-run"))
        assert code == ExitCode.OK
        assert told.startswith("arena a: 1,200 objects would be moved into 2 of ")
        assert told.endswith(" less\n")
        assert ": 1,198 objects and " in told
        assert (await arena.alone(), await arena.groups()) == (1206, 0)
        code, done, err = await ended(compact(server, tmp_path / "home"))
        assert (code, done, err) == (ExitCode.OK, told.replace("would be", "are"), "")
        assert (await arena.alone(), await arena.groups()) == (6, 2)  # the baseline and five open proposals
        await arena.check("theirs")
        code, done, err = await ended(compact(server, tmp_path / "home"))
        nothing = "there is nothing to move in arena a: no code of a retired proposal stands alone\n"
        assert (code, done, err) == (ExitCode.OK, nothing, "")
        assert (await arena.alone(), await arena.groups()) == (6, 2)


async def test_a_kill_between_writing_and_deleting_leaves_everything_and_the_next_one_ends_it(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    async with given(server, tmp_path, 25) as arena:
        process = compact(server, tmp_path / "home", wait="600")
        with anyio.fail_after(200):
            while not await arena.groups():
                await anyio.sleep(0.01)
        process.kill()
        await ended(process)
        assert (await arena.alone(), await arena.groups()) == (26, 1)
        await arena.check("after the kill")
        code, told, err = await ended(compact(server, tmp_path / "home"))
        assert (code, err) == (ExitCode.OK, "")
        assert told.startswith("arena a: 20 that stood in groups already are deleted: 20 objects and ")
        assert (await arena.alone(), await arena.groups()) == (6, 1)
        await arena.check("after the end")


async def test_a_kill_while_it_deletes_loses_no_commit(server: EmbeddedServer, tmp_path: Path) -> None:
    async with given(server, tmp_path, 1005) as arena:
        process = compact(server, tmp_path / "home")
        with anyio.fail_after(200):
            while await arena.alone() == 1006:
                await anyio.sleep(0.001)
        process.kill()
        await ended(process)
        await arena.check("after the kill")
        code, _, err = await ended(compact(server, tmp_path / "home"))
        assert (code, err) == (ExitCode.OK, "")
        assert (await arena.alone(), await arena.groups()) == (6, 1)
        await arena.check("after the end")


async def test_a_worker_that_fetches_old_code_meanwhile_always_gets_it(server: EmbeddedServer, tmp_path: Path) -> None:
    async with given(server, tmp_path, 405) as arena, connect(server.url) as other:
        is_over = asyncio.Event()
        theirs = await other.arena("a")
        rounds = 0

        async def fetch() -> None:
            nonlocal rounds
            while not is_over.is_set() or rounds < 2:
                store = CodeStore(tmp_path / f"worker-{rounds}.git", theirs)
                for number, made in enumerate(arena.commits):
                    assert await store.files(made.commit, base=arena.base.commit) == version(number + 1)
                rounds += 1

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fetch)
            code, _, err = await ended(compact(server, tmp_path / "home"))
            is_over.set()
        assert (code, err) == (ExitCode.OK, "")
        assert (await arena.alone(), await arena.groups()) == (6, 1)


async def test_two_at_once_do_no_harm(server: EmbeddedServer, tmp_path: Path) -> None:
    async with given(server, tmp_path, 605) as arena:
        both = [compact(server, tmp_path / f"home-{n}") for n in range(2)]
        for process in both:
            code, _, err = await ended(process)
            assert (code, err) == (ExitCode.OK, "")
        assert await arena.alone() == 6
        await arena.check("theirs")


async def test_code_that_is_shared_again_after_it_was_moved_is_moved_again(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    async with given(server, tmp_path, 15) as arena:
        names = {made.commit for made in arena.commits}
        await arena.bus.group(names)
        store = CodeStore(tmp_path / "made.git", arena.bus)
        await store.push(arena.commits[0].commit, base=arena.base.commit)
        assert await arena.alone() == 2
        again = await arena.bus.group(names)
        assert (again.objects, again.groups, again.known) == (0, 0, 1)
        assert (await arena.alone(), await arena.groups()) == (1, 1)


async def test_an_unknown_arena_is_one_sentence(server: EmbeddedServer, tmp_path: Path) -> None:
    async with connect(server.url) as hub:
        await hub.arena("a", create=True)
    code, out, err = await ended(compact(server, tmp_path / "home", "--arena", "nothing"))
    assert (code, out) == (ExitCode.BAD_INPUT, "")
    assert err == f"mesh: there is no arena 'nothing' on {server.url} (there are: a)\n"


async def test_an_arena_whose_server_deletes_nothing_is_left_as_it_is(server: EmbeddedServer, tmp_path: Path) -> None:
    async with connect(server.url) as hub:
        kept = {"name": "MESHOBJ_a", "subjects": [wire.objects_filter("a")], "deny_delete": True, "allow_direct": True}
        await hub.link.call("$JS.API.STREAM.CREATE.MESHOBJ_a", kept)
    async with given(server, tmp_path, 15) as arena:
        code, out, err = await ended(compact(server, tmp_path / "home"))
        assert (code, out) == (ExitCode.NO_LOG, "")
        assert err.startswith("mesh: the objects of arena a cannot be moved: it was opened by an earlier version")
        assert (await arena.alone(), await arena.groups()) == (16, 0)


async def test_a_group_that_was_tampered_with_gives_nothing_and_spoils_no_other(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    async with given(server, tmp_path, 15) as arena:
        await arena.bus.group({made.commit for made in arena.commits})
        forged = wire.group_subject("a", "g40-000000000000-zzzzzzzzzzzz-0123456789abcdef", 0)
        await arena.hub.link.append(forged, b"not a group", {})
        async with connect(server.url) as other:
            theirs = await other.arena("a")
            for made in arena.commits:
                assert is_hash(made.commit)
                await theirs.get(made.commit)
            with pytest.raises(ObjectMissing, match="is damaged: its contents do not match its name"):
                await theirs.get("0" * 40)


def test_objects_come_out_of_their_group_as_they_went_in() -> None:
    objects = {f"{n:064x}": bytes([n % 256]) * n for n in range(1500)}
    groups = split_into_groups(objects)
    assert [len(members) for members in groups] == [1000, 500]
    names = [pack_group(members)[0] for members in groups]
    found: dict[str, bytes] = {}
    for members in groups:
        found |= {name: m.stored for name, m in unpack_group(*pack_group(members)).items()}
    assert found == objects
    assert groups_with(f"{3:064x}", names) == names  # all begin alike
    assert groups_with("3" * 40, names) == []
    assert groups_with("f" * 64, names) == []


def test_a_group_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_groups, "MAX_GROUP_BYTES", 100)
    objects = {f"{n:064x}": b"x" * size for n, size in enumerate((60, 30, 30, 101, 100))}
    assert [[len(m.data) for m in members] for members in split_into_groups(objects)] == [[60, 30], [30], [100]]

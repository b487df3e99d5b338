"""The hub's own processes call the roll of members; a member that tries is told so, and calls nobody gone."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from gateway.http import mounts
from gateway.http.arenas import Arenas
from gateway.http.silent_members import report_silent_members
from mesh import silent
from mesh.board import Board
from mesh.bus import Hub
from mesh.errors import BusRefused
from mesh.events import WorkerJoined, WorkerLeft
from mesh.jetstream import connect
from mesh.roll_call import Watchman, answer_roll_call, roll_call
from mesh.wire import Pattern, Post
from tests.support.member_hub import member_hub


@asynccontextmanager
async def owner_and_two_workers(folder: Path) -> AsyncIterator[tuple[Hub, Hub, Hub]]:
    """Connections of the hub itself and of its members `gpu7` and `gpu8`."""
    with member_hub(folder) as hub:
        async with (
            connect(hub.url, credentials=hub.owner) as owner,
            connect(hub.url, credentials=hub.member("worker", "gpu7")) as one,
            connect(hub.url, credentials=hub.member("worker", "gpu8")) as other,
        ):
            yield owner, one, other


async def test_the_hub_hears_which_members_are_there_and_a_member_may_not_ask(tmp_path: Path) -> None:
    async with owner_and_two_workers(tmp_path / "hub") as (owner, one, other), anyio.create_task_group() as tasks:
        ours, here, asks = await owner.arena("a", create=True), await one.arena("a"), await other.arena("a")
        tasks.start_soon(answer_roll_call, here, "b7", "gpu7")
        with anyio.fail_after(100):
            for names in ({"b7": "gpu7", "b8": "gpu8"}, {}):
                while await roll_call(ours, ["b7", "b8"], names) != {"b7"}:
                    await anyio.sleep(0.05)
        for names in ({"b7": "gpu7", "b8": "gpu8"}, {}):
            with pytest.raises(
                BusRefused, match=r"does not let \w+ publish on live\.a\.(here\.b\d|roll\.b\d\.gpu\d): the hub's"
            ):
                await roll_call(asks, ["b7", "b8"], names)
        tasks.cancel_scope.cancel()


async def test_who_watches_as_a_member_counts_nobody_as_gone(tmp_path: Path) -> None:
    with member_hub(tmp_path / "hub") as hub:
        async with (
            connect(hub.url, credentials=hub.owner) as owner,
            connect(hub.url, credentials=hub.member("observer", "eve")) as member,
        ):
            ours = await owner.arena("a", create=True)
            joined = WorkerJoined(boot="b7", worker_class="cpu", device="cpu", slots=1)
            await ours.post(Post.new("gpu7", joined))
            theirs, board = await member.arena("a"), Board("a")
            async for batch in theirs.read():
                for entry in batch:
                    board.fold(entry)
            assert list(board.workers) == ["b7"]
            watchman = Watchman(theirs, lambda: board)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watchman.keep)
                with anyio.fail_after(200):
                    while watchman._may_call:
                        await anyio.sleep(0.05)
                tasks.cancel_scope.cancel()
            assert (watchman.answering, watchman.silent_since) == (None, None)


async def test_the_hub_says_which_workers_among_its_members_are_gone_whoever_answers_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`b7` is a life of an earlier version; the member with it says that `b8`, which was killed, is there."""
    monkeypatch.setattr(silent, "ASK_EVERY_S", 0.1)
    monkeypatch.setattr(silent, "GONE_AFTER_S", 0.5)
    async with owner_and_two_workers(tmp_path / "hub") as (owner, one, other), anyio.create_task_group() as tasks:
        ours, alive, dead = await owner.arena("a", create=True), await one.arena("a"), await other.arena("a")
        heard = list[str]()

        async def old_answer(question: bytes) -> bytes:
            heard.append("b7")
            return b"here"

        tasks.start_soon(alive.answer, "here.b7", old_answer)
        for service in ("here.b8", "here.>", "roll.b8.gpu8", "roll.*.*", "roll.>"):
            tasks.start_soon(alive.answer, service, _repeat)
        with anyio.fail_after(60):
            while await roll_call(ours, ["b7", "b8"], {}) != {"b7", "b8"}:
                await anyio.sleep(0.05)
        for bus, name, boot in ((alive, "gpu7", "b7"), (dead, "gpu8", "b8")):
            joined = WorkerJoined(boot=boot, worker_class="cpu", device="cpu", slots=1, answers_by_name=boot == "b8")
            await bus.post(Post.new(name, joined))
        arenas = Arenas(owner, tmp_path / "home", mounts.INDEXES, beside=report_silent_members)
        await tasks.start(arenas.keep)
        with anyio.fail_after(200):
            async with aclosing(ours.read(follow=True, only=[Pattern(kind="worker.left")])) as batches:
                left = (await anext(batches))[0].post
        assert left
        assert heard
        assert (left.author, left.event) == (
            "gateway", WorkerLeft(boot="b8", reason="does not answer", silent=True)
        )  # fmt: skip
        tasks.cancel_scope.cancel()


async def _repeat(question: bytes) -> bytes:
    """Answer as one of both versions that is there."""
    return question or b"here"

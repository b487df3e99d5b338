"""A stranger posts extreme facts and hostile proposals to a whole swarm: no process ends, and the swarm works on."""

import os
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import anyio
import httpx
import nats
import pytest

from mesh import settings
from mesh.events import Failed, NotePosted, Origin, ProposalPosted, RunRequested
from mesh.follow import Follower
from mesh.grants import grant
from mesh.jetstream import connect
from mesh.money import limit_usd
from mesh.open_arena import open_arena
from mesh.server import EmbeddedServer
from mesh.wire import Post
from mesh_cli.live.status import projected
from tests.support.arenas import TRAIN, write_arena
from tests.support.bad_code import READABLE, Bad, bad_commits
from tests.support.extremes import events, post_of
from tests.support.page import web
from tests.support.swarm import swarm_of

POSTS = 300
LISTINGS = (
    "status",
    "tail -n 50",
    "tail -n 50 --json",
    "leaderboard",
    "lineage",
    "leaves",
    "show champion",
    "channels",
)
PAGES = ("state", "dots", "dag", "board", f"proposal/{1:040x}", "proposal/champion")


def raw_posts(arena: str) -> list[tuple[str, bytes]]:
    """A part of the extreme facts, without those that open or close the arena: whoever may post may do that."""
    found = [
        post_of(kind, fields, number, arena=arena, author="eve")
        for number, (kind, fields) in enumerate(events())
        if kind not in ("arena.opened", "arena.closed")
    ]
    broken = [post_of("arena.closed", {"kind": '"arena.closed"', "version": v, "reason": '"operator"'}, 0, arena=arena)
              for v in (str(2**53), str(2**63 - 1), "2", "-1", "0", "1e3")]  # fmt: skip
    return [*Random(1).sample(found, POSTS), *broken]


async def publish(url: str, posts: list[tuple[str, bytes]]) -> None:
    """Post as a client of another make: straight to the subjects, without any check."""
    client = await nats.connect(url)
    for subject, data in posts:
        await client.publish(subject, data)
    await client.flush()
    await client.close()


def mesh(words: list[str], home: Path, url: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "MESH_HOME": str(home), "MESH_NATS": url, "MESH_ARENA": "tiny"}
    command = [sys.executable, "-m", "mesh_cli", *words]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=200, check=False)


def proposal_of(bad: Bad) -> ProposalPosted:
    return ProposalPosted(tree=bad.tree, commit=bad.commit, title=bad.what, origin=Origin(how="sampler", name="tpe"))


def run_of(bad: Bad, number: int) -> RunRequested:
    return RunRequested(
        run=f"eve-{number}",
        lane="confirm",
        proposal=bad.tree,
        commit=bad.commit,
        seed=number,
        budget_s=1,
        deadline_s=20,
    )


@pytest.mark.timeout(1200)
async def test_no_process_ends_and_the_swarm_works_on(tmp_path: Path, home: Path, server: EmbeddedServer) -> None:
    folder = write_arena(tmp_path / "tiny")
    bad = [make() for what, make in bad_commits(TRAIN.encode()).items() if "bomb" not in what]
    async with (
        connect(server.url) as hub,
        swarm_of(home, server.url) as swarm,
    ):
        bus, _ = await open_arena(hub, folder, home=home)
        follower = Follower(bus, snapshot=settings.snapshot_file(home, "tiny"))
        await follower.catch_up()
        swarm.commands["worker"] += ["--price-per-hour", "0"]  # where anybody grants dollars, a worker needs a price
        await swarm.start()
        async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
            tasks.start_soon(follower.follow)
            with anyio.fail_after(200):
                await follower.until(lambda board: bool(board.champion))
                while await projected(bus) is None:  # the page would fold the log itself
                    await anyio.sleep(0.2)
            page = await stack.enter_async_context(web(home, server.url, "tiny"))

            # when a stranger posts facts at and beyond every bound, and proposals whose code is hostile
            await publish(server.url, raw_posts("tiny"))
            for number, each in enumerate(bad):
                if each.pack is not None:
                    await bus.put(each.commit, each.pack)
                await bus.post_all([Post.new("eve", proposal_of(each)), Post.new("eve", run_of(each, number))])

            # and whoever opened the arena grants more than the stranger has spent, of what it granted
            await grant(bus, follower, 1e6, author="operator")
            assert (limit_usd(follower.board) or 0.0) >= 1e6

            # then each hostile proposal has failed with a sentence
            ours = [f"eve-{number}" for number in range(len(bad))]
            with anyio.fail_after(200):
                await follower.until(lambda board: all(run in board.runs and board.runs[run].finished for run in ours))
            ended = {each.what: follower.board.runs[run].finished for each, run in zip(bad, ours, strict=True)}
            failed = {what for what, end in ended.items() if end and isinstance(end.outcome, Failed)}
            assert ended.keys() - failed <= READABLE | {"a missing blob"}  # another proposal has that blob

            # and a note, a proposal and its run are taken like any other
            noted = await bus.post(Post.new("ann", NotePosted(channel="general", text="still here")))
            mine = tmp_path / "mine"
            mine.mkdir()
            (mine / "train.py").write_text(TRAIN.replace("HEIGHT = 1.0", "HEIGHT = 0.5"), encoding="utf-8")
            words = ["propose", str(mine), "--title", "half the height", "--name", "ann"]
            proposed = await anyio.to_thread.run_sync(mesh, words, home, server.url)
            assert proposed.returncode == 0, proposed.stderr
            tree = proposed.stdout.strip()
            with anyio.fail_after(200):
                await follower.until(lambda board: bool(board.scores(tree)))
            assert follower.board.unknown > POSTS / 2
            assert any(note.seq == noted for note in follower.board.latest)

            # and nobody has ended; those who make new work end when they are told to, so that looking is quick
            living = {name: process.returncode for name, process in swarm.running.items()}
            assert living == dict.fromkeys(swarm.commands)
            for name in ("explorer", "worker"):
                assert await swarm.end(name) == 0

            # and whoever looks sees it: in the terminal, and on the page
            for listing in LISTINGS:
                done = await anyio.to_thread.run_sync(mesh, listing.split(), home, server.url)
                assert done.returncode == 0, (listing, done.stderr)
            async with httpx.AsyncClient(base_url=page, timeout=200) as http:
                for path in PAGES:
                    assert (await http.get(f"/api/{path}")).status_code in (200, 400, 404), path
                asked = await http.post("/api/sql", json={"sql": "SELECT count(*) FROM events"})
                assert asked.json()["rows"][0][0] > POSTS
            assert {process.returncode for process in swarm.running.values()} == {None}
            tasks.cancel_scope.cancel()
    log = (home.parent / "swarm.log").read_text(encoding="utf-8", errors="replace")
    assert "Traceback" not in log

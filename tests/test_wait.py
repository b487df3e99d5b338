"""`mesh wait`: what ends it, with which word, and that it goes on where it was cut off."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from msgspec.structs import replace

from gateway.door import Door
from gateway.wait import await_outcome
from mesh import settings
from mesh.admission_order import QueuePlace
from mesh.events import (
    AnyEvent,
    ArenaClosed,
    CritiquePosted,
    Failed,
    Origin,
    ProposalPosted,
    ProposalPromoted,
    ProposalRetired,
    RunFinished,
    Scored,
)
from mesh.jetstream import connect
from mesh.server import address_of, embedded
from mesh.testing import commit_hash, git_hash, requested, run_of
from mesh.wire import Post
from tests.support.arenas import write_arena
from tests.support.doors import open_door, post

MINE = git_hash("mine")


def finished(tree: str, value: float | None) -> RunFinished:
    outcome = Failed(reason="crash", message="it broke") if value is None else Scored(value=value)
    return RunFinished(run=run_of(tree), proposal=git_hash(tree), outcome=outcome, worker="w", worker_class="cpu")


def mine(parent: str = "") -> ProposalPosted:
    parents = (parent,) if parent else ()
    origin = Origin(how="human", name="ann")
    return ProposalPosted(tree=MINE, commit=commit_hash("mine"), title="mine", parents=parents, origin=origin)


def retired(why: str, text: str = "") -> ProposalRetired:
    assert why in ("blocked", "failed", "not_better", "killed")
    return ProposalRetired(proposal=MINE, round=1, why=why, text=text)  # type: ignore[arg-type]


async def began(door: Door) -> None:
    """Post the measured baseline as champion, and `mine`, a child of it, whose run is requested."""
    opened = door.board.opened
    assert opened is not None
    base = opened.base_tree
    origin = Origin(how="baseline")
    facts: list[tuple[str, AnyEvent]] = [
        ("ann", ProposalPosted(tree=base, commit=opened.base_commit, title="as it is", origin=origin)),
        ("curator", requested(base)),
        ("w", finished(base, 1.0)),
        ("curator", ProposalPromoted(proposal=base, round=1, mean=1.0)),
        ("ann", mine(base)),
        ("curator", requested("mine")),
    ]
    for author, fact in facts:
        await post(door, author, fact)


ENDS: dict[str, list[tuple[str, AnyEvent]]] = {
    "promoted": [("w", finished("mine", 0.5)), ("curator", ProposalPromoted(proposal=MINE, round=2, mean=0.5))],
    "retired": [("w", finished("mine", 2.0)), ("curator", retired("not_better", "2 is more than 1"))],
    "no_score": [("w", finished("mine", None)), ("curator", retired("failed"))],
    "refused": [
        ("kim", CritiquePosted(target=MINE, verdict="block", rule="seed", text="only a seed")),
        ("curator", retired("blocked", "only a seed")),
    ],
    "closed": [("operator", ArenaClosed(version=1, reason="operator"))],
}


@pytest.mark.parametrize("word", ENDS)
async def test_a_wait_ends_with_the_word_for_what_became_of_the_proposal(tmp_path: Path, word: str) -> None:
    async with open_door(tmp_path) as door:
        await began(door)
        champion = door.board.champion
        facts = [
            (who, ProposalPromoted(proposal=MINE, round=2, met=champion, mean=0.5))
            if isinstance(fact, ProposalPromoted)
            else (who, fact)
            for who, fact in ENDS[word]
        ]
        assert (await await_outcome(door, MINE, seconds=0)).ending == ""
        async with anyio.create_task_group() as tasks:

            async def go_on() -> None:
                for author, fact in facts:
                    await post(door, author, fact)

            tasks.start_soon(go_on)
            done = await await_outcome(door, MINE, seconds=20)
        assert (done.ending, done.queue.stage) == (word, "requested" if word == "closed" else "decided")
        assert done.closed == ("operator" if word == "closed" else "")
        texts = {"retired": "2 is more than 1", "no_score": "it broke", "refused": "only a seed"}
        assert texts.get(word, "") in done.why
        assert ("<data-" in done.why) == (word in texts)


async def test_a_proposal_whose_run_was_stopped_early_is_retired_and_has_not_failed(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        await began(door)
        stopped = replace(finished("mine", None), outcome=Failed(reason="killed", message="stopped after 0.2 s"))
        await post(door, "w", stopped)
        await post(door, "curator", retired("killed"))
        done = await await_outcome(door, MINE, seconds=20)
        assert done.ending == "retired"
        assert "its run was stopped before it had a score" in done.why
        assert "stopped after 0.2 s" in done.why


@pytest.mark.parametrize(("value", "word", "gain"), [(0.5, "better", 0.5), (1.5, "not_better", -0.5)])
async def test_a_wait_for_a_score_says_whether_it_beats_the_parent(
    tmp_path: Path, value: float, word: str, gain: float
) -> None:
    async with open_door(tmp_path) as door:
        await began(door)
        await post(door, "w", finished("mine", value))
        done = await await_outcome(door, MINE, until="score", seconds=20)
        assert (done.ending, done.mean, done.parent_mean, done.gain) == (word, value, 1.0, gain)
        assert (await await_outcome(door, MINE, seconds=0)).ending == ""


async def test_a_score_without_one_of_the_parent_is_not_called_better(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        await post(door, "ann", mine())
        await post(door, "curator", requested("mine"))
        await post(door, "w", finished("mine", 0.5))
        done = await await_outcome(door, MINE, until="score", seconds=20)
        assert (done.ending, done.mean, done.parent_mean, done.gain) == ("not_better", 0.5, None, None)


async def test_a_wait_returns_when_the_place_in_the_queue_changes(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        await post(door, "ann", mine())
        first = await await_outcome(door, MINE, seconds=20, seen=QueuePlace("decided"))
        assert first.queue == QueuePlace("queued", 1, 1)
        await post(door, "curator", requested("mine"))
        second = await await_outcome(door, MINE, seconds=20, seen=first.queue)
        assert second.queue == QueuePlace("requested", 1, 1)


async def kill_and_see_another(folder: Path) -> None:
    """Kill the server of a store, and wait until one of those who watch it has started another."""
    first = address_of(folder)
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    while not (now := address_of(folder)) or now.pid == first.pid:
        await anyio.sleep(0.02)


async def test_the_command_goes_on_waiting_while_the_server_is_killed_and_started_again(
    tmp_path: Path, home: Path
) -> None:
    arena = write_arena(tmp_path / "tiny")
    environ = {**os.environ, "MESH_HOME": str(home)}
    command = [sys.executable, "-m", "mesh_cli"]

    def mesh(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *words], env=environ, capture_output=True, text=True, timeout=300, check=False)

    async with embedded(settings.server_dir(home), sync="1s") as server:
        assert (await anyio.to_thread.run_sync(mesh, "open", str(arena))).returncode == 0
        async with connect(server.url, outage_s=200) as hub:
            bus = await hub.arena("tiny")
            await bus.post(Post.new("ann", mine()))
            async with await anyio.open_process([*command, "wait", MINE[:10]], env=environ) as process:
                assert process.stderr is not None
                assert process.stdout is not None
                try:
                    with anyio.fail_after(200):
                        said = b""
                        while b"place 1 of 1 in the queue" not in said:
                            said += await process.stderr.receive()
                        for _ in range(2):
                            await kill_and_see_another(settings.server_dir(home))
                        await bus.post(Post.new("curator", ProposalPromoted(proposal=MINE, round=1, mean=0.5)))
                        assert await process.wait() == 0
                        assert b"promoted" in await process.stdout.receive()
                finally:
                    if process.returncode is None:
                        process.kill()
    late = await anyio.to_thread.run_sync(mesh, "wait", MINE[:10])  # no server runs: the command serves the log itself
    assert (late.returncode, late.stdout.splitlines()[0]) == (0, f"{MINE[:10]} promoted")

"""An arena of 300 fixed items, by a real server, worker and curator: one run per side proves it, unseen."""

import datetime as dt
import json
from pathlib import Path

import anyio
import pytest

from agents.curator import Curator
from agents.explorer import Explorer
from agents.llm.digest import digest
from agents.researcher import Researcher
from mesh import settings
from mesh.agent.__main__ import item_reader
from mesh.code import CodeStore
from mesh.events import ItemsCompared, Origin, ProposalPosted, Scored
from mesh.evidence import fresh
from mesh.follow import Follower
from mesh.items import from_object
from mesh.jetstream import connect
from mesh.memory import MemoryBus
from mesh.open_arena import open_arena
from mesh.server import embedded
from mesh.wire import Entry, Post
from tests.support.arenas import ARENA, write_arena
from tests.support.swarm import swarm_of

ITEMS = ARENA.replace(
    'metric = "loss"\ndirection = "minimize"', 'metric = "found"\ndirection = "maximize"\nnoise = "items"'
)
TRAIN = """
import os, pathlib

WEIGHT = 1.0  # mesh: 0.0..5.0
print("the trial sees", sorted(name for name in os.environ if name.startswith("MESH_")))
(pathlib.Path(os.environ["MESH_OUT"]) / "weight").write_text(str(WEIGHT))
"""
SCORE = """
import json, os, pathlib, random

weight = float((pathlib.Path(os.environ["MESH_OUT"]) / "weight").read_text())
split = os.environ["MESH_SPLIT"]
names = [f"{split} query {number}" for number in range(300)]
pages = [f"page {number // 5}" for number in range(300)]
values = [
    random.Random(name).gauss(0.5, 0.3) + random.Random(page).gauss(0, 0.02) * weight
    + random.Random(f"{name} {weight}").gauss(0.02 * weight, 0.1)
    for name, page in zip(names, pages)
]
with open(os.environ["MESH_ITEMS"], "w") as file:
    json.dump({"values": values, "ids": names, "clusters": pages}, file)
print(json.dumps({"found": sum(values) / len(values)}))
"""


async def test_one_run_per_side_proves_a_gain_over_items_and_no_item_is_seen(tmp_path: Path, home: Path) -> None:
    entries: list[Entry] = []
    async with embedded(settings.server_dir(home)) as server, connect(server.url, name="test") as hub:
        folder = write_arena(tmp_path / "arena", train=TRAIN, score=SCORE, arena=ITEMS)
        bus, opened = await open_arena(hub, folder, home=home)
        code, follower = CodeStore(settings.code_dir(home / "author", "tiny"), bus), Follower(bus)
        base = await code.files(opened.base_commit)

        async def propose(title: str, weight: str) -> str:
            files = {**base, "train.py": base["train.py"].replace(b"WEIGHT = 1.0", f"WEIGHT = {weight}".encode())}
            at, parents = dt.datetime.now(dt.UTC), [opened.base_commit]
            made = code.commit(files, parents=parents, message=title, author="ann", at=at)
            tree, commit = (opened.base_tree, opened.base_commit) if weight == "1.0" else (made.tree, made.commit)
            await code.push(commit, base="" if weight == "1.0" else opened.base_commit)
            how = Origin(how="baseline" if weight == "1.0" else "human")
            await bus.post(Post.new("ann", ProposalPosted(tree=tree, commit=commit, title=title, origin=how)))
            return tree

        with anyio.fail_after(300):
            async with swarm_of(home, server.url) as swarm, anyio.create_task_group() as tasks:
                tasks.start_soon(follower.follow, lambda entry, counts: entries.append(entry))
                first = await propose("as it is", "1.0")
                await swarm.start("curator", "worker")
                await follower.until(lambda board: board.champion == first or len(board.runs) > 9)
                good = await propose("good", "3.0")
                await follower.until(lambda board: board.champion == good)
                tasks.cancel_scope.cancel()
        board = follower.board
        proof = [run for run in board.runs.values() if run.requested.lane in ("confirm", "control")]
        assert [run.requested.proposal for run in proof] == [first, first, first, good]
        assert len(fresh(board, good)) == 1
        [compared] = [e.post.event for e in entries if e.post and isinstance(e.post.event, ItemsCompared)]
        assert (compared.common, compared.text) == (300, "")
        assert compared.dof == pytest.approx(59)
        assert "on 300 common items in 60 clusters" in board.proposals[good].rulings[-1].text

        # no number and no name of an item is in the log, from which boards, pages, SQL, samplers and models are made
        said = (
            b"\n".join(entry.raw for entry in entries)
            + digest(board, [good], {good: base}, [], max_tokens=4000).encode()
        )
        seen = 0
        for run in proof:
            assert run.finished
            assert run.finished.items
            assert isinstance(run.finished.outcome, Scored)
            assert "MESH_SEED" in run.finished.log_tail
            assert "MESH_ITEMS" not in run.finished.log_tail
            for value in from_object(await bus.get(run.finished.items.sha256)).values:
                seen += json.dumps(value)[:10].encode() in said
        assert seen == 0
        assert b"query 7" not in said


def test_only_a_curator_gets_a_reader_of_items() -> None:
    bus = MemoryBus("a")
    assert item_reader(Curator, bus) is not None
    assert item_reader(Explorer, bus) is None
    assert item_reader(Researcher, bus) is None

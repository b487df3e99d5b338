"""The page on Python is true: its code runs from the first block to the last, beside a real swarm."""

import os
import subprocess
import sys
from pathlib import Path

import anyio.to_thread

from mesh.jetstream import connect
from mesh.open_arena import open_arena
from mesh.server import EmbeddedServer
from tests.support.arenas import ARENA, write_arena
from tests.support.follower import blocks_of
from tests.support.swarm import swarm_of

DIGITS = ARENA.replace('"tiny"', '"digits"').replace('"loss"', '"accuracy"').replace('"minimize"', '"maximize"')
TRAIN = """
import json, os, pathlib

LEARNING_RATE = 0.0937  # mesh: 1e-3..3.0 log
HIDDEN = 16  # mesh: 4..256 log

accuracy = 1 - (LEARNING_RATE - 0.3) ** 2 - 1 / HIDDEN
(pathlib.Path(os.environ["MESH_OUT"]) / "loss.json").write_text(json.dumps({"accuracy": accuracy}))
"""
"""An arena with the name and knobs of `arenas/digits`, whose trials take no second; the page has none of its values."""


async def test_the_page_on_python_runs_from_its_first_block_to_its_last(
    tmp_path: Path, home: Path, server: EmbeddedServer
) -> None:
    blocks = blocks_of("docs/howto/python.md")
    script = tmp_path / "page.py"
    script.write_text("\n".join(block.text for block in blocks if block.kind == "python"), encoding="utf-8")
    [line] = [block.text for block in blocks if block.kind == "bash"]
    environ = {**os.environ, "MESH_NATS": server.url, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    async with connect(server.url) as hub, swarm_of(home, server.url) as swarm:
        await open_arena(hub, write_arena(tmp_path / "digits", train=TRAIN, arena=DIGITS), home=home)
        for name in ("curator", "worker"):
            swarm.commands[name][swarm.commands[name].index("tiny")] = "digits"
        await swarm.start("curator", "worker", "projector")
        said = await anyio.to_thread.run_sync(run, sys.executable, str(script))
        table = await anyio.to_thread.run_sync(run, "bash", "-euc", line)
    assert "promoted 0.9" in said
    assert said.count("scored ") == 1
    assert "score.py is protected, but changed; " in said
    assert "arena.opened" in said
    assert table.splitlines()[0].startswith(",arena,time,seq,run,proposal")
    assert len(table.splitlines()) >= 3

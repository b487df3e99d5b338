"""Opening that is killed in the middle: it leaves no arena behind, and commands say so where a log has none."""

import os
import sys
from pathlib import Path

import anyio

from mesh.jetstream import connect
from mesh.server import embedded
from tests.support.arenas import write
from tests.test_arena import FILES


async def command(*words: str, home: Path) -> tuple[int, str]:
    env = {**os.environ, "MESH_HOME": str(home)}
    done = await anyio.run_process([sys.executable, "-m", "mesh_cli", *words], check=False, env=env)
    return done.returncode, (done.stdout + done.stderr).decode()


async def test_an_opening_that_is_killed_while_it_prepares_leaves_no_arena(tmp_path: Path) -> None:
    marks = tmp_path / "began"
    slow = f"import time\nopen({str(marks)!r}, 'w').close()\ntime.sleep(600)\n"
    folder = tmp_path / "tiny"
    folder.mkdir()
    write(folder, FILES | {"prepare.py": slow})
    home = tmp_path / "home"
    with anyio.fail_after(100):
        async with embedded(tmp_path / "server") as server, connect(server.url, name="test") as hub:
            words = [sys.executable, "-m", "mesh_cli", "open", str(folder), "--nats", server.url]
            async with await anyio.open_process(words, env={**os.environ, "MESH_HOME": str(home)}) as opening:
                try:
                    while not marks.exists():
                        await anyio.sleep(0.05)
                finally:
                    opening.kill()
            assert await hub.arenas() == []
            await hub.arena("tiny", create=True)  # as one that is killed between making the log and its first fact
            code, said = await command("leaderboard", "--nats", server.url, home=home)
            assert (code, said) == (2, "mesh: arena tiny was never opened; mesh open FOLDER opens it\n")
            write(folder, FILES)
            code, said = await command("open", str(folder), "--nats", server.url, home=home)
            assert code == 0, said
            assert not list((home / "preparing").glob("*"))

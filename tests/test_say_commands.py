"""`mesh critique`, `code`, `post` and `reply` as people and scripts type them, on a real log."""

import json
import os
import subprocess
import sys
from pathlib import Path

import anyio.to_thread

from mesh import settings
from mesh.server import embedded
from tests.support.arenas import write_arena


async def test_people_judge_answer_and_read_code_from_the_command_line(tmp_path: Path, home: Path) -> None:
    arena = write_arena(tmp_path / "tiny")
    environ = {**os.environ, "MESH_HOME": str(home)}
    editable = arena / "train.py"

    def mesh(*words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mesh_cli", *words]
        return subprocess.run(
            command, env=environ, input=text, capture_output=True, text=True, timeout=300, check=False
        )

    async def done(*words: str, text: str | None = None) -> str:
        ended = await anyio.to_thread.run_sync(lambda: mesh(*words, text=text))
        assert (ended.returncode, ended.stderr) == (0, ""), ended
        return ended.stdout

    async def refused(*words: str, text: str | None = None) -> str:
        ended = await anyio.to_thread.run_sync(lambda: mesh(*words, text=text))
        assert (ended.returncode, ended.stdout) == (2, ""), ended
        assert ended.stderr.count("\n") == 1
        return ended.stderr

    async with embedded(settings.server_dir(home), sync="1s"):
        assert (await anyio.to_thread.run_sync(mesh, "open", str(arena))).returncode == 0
        listed = await done("code", "baseline")
        assert "editable  train.py" in listed
        shown = json.loads(await done("code", "baseline", "train.py", "--json"))
        assert (shown["left_out"], shown["closed"], shown["arena"]) == (0, "", "tiny")
        assert editable.read_text().rstrip() in shown["text"]
        assert "has no file 'nothing.py'" in await refused("code", "baseline", "nothing.py")
        posted = json.loads(await done("post", "ideas", "-", "--name", "ann", "--json", text="warm up longer\n"))
        assert posted == {"arena": "tiny", "posted": 2, "author": "ann", "channel": "ideas", "reply_to": None}
        answered = json.loads(await done("reply", "2", "I will", "--name", "bob", "--json"))
        assert (answered["channel"], answered["reply_to"]) == ("ideas", 2)
        assert "has what looks like a key of AWS" in await refused("post", "ideas", "AKIA" + "A1" * 8)
        assert "nobody has posted the baseline" in await refused("critique", "baseline", "warn", "hm")
        editable.write_text(editable.read_text() + "# another line\n")
        tree = (await anyio.to_thread.run_sync(mesh, "propose", str(arena), "--name", "ann")).stdout.strip()
        judged = json.loads(
            await done("critique", tree[:10], "warn", "it is slow", "--name", "bob", "--confidence", "0.7", "--json")
        )
        assert (judged["target"], judged["verdict"], judged["confidence"], judged["is_new"]) == (
            tree,
            "warn",
            0.7,
            True,
        )
        again = await done("critique", tree[:10], "warn", "it is slow", "--name", "bob", "--confidence", "0.7")
        assert again == f"{judged['posted']}\n"
        assert "a block needs a confidence" in await refused("critique", tree[:10], "block", "no", "--name", "eve")

"""Somebody else's agent, which knows only the commands, takes part twice; the server is killed between its steps."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import anyio.to_thread

from gateway.door import Door
from gateway.propose import propose
from mesh import settings
from mesh.code import CodeStore
from mesh.events import Origin, ProposalPosted
from mesh.follow import Follower
from mesh.jetstream import connect
from mesh.open_arena import open_arena
from mesh.server import EmbeddedServer, embedded
from mesh.testing import BEGAN
from mesh.wire import Post
from mesh_cli.exit import ExitCode
from tests.support.arenas import ARENA, TRAIN, write_arena
from tests.support.swarm import swarm_of

EXACT = ARENA.replace('direction = "minimize"', 'direction = "minimize"\nnoise = "none"') + (
    "[selection]\nhalving = false\n"
)
HIDING = EXACT.replace('editable = ["train.py"]', 'editable = ["train.py"]\nhidden = ["answers.txt"]')


class Said(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


async def mesh(*words: str, cwd: Path, given: str = "") -> Said:
    """Run a command as an agent does: in a folder, without variables of the mesh."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}

    def run() -> Said:
        command = [sys.executable, "-m", "mesh_cli", *words]
        done = subprocess.run(command, cwd=cwd, env=environ, input=given, capture_output=True, text=True, timeout=300,
                              check=False)  # fmt: skip
        return Said(done.returncode, done.stdout, done.stderr)

    return await anyio.to_thread.run_sync(run)


async def answer(*words: str, cwd: Path) -> dict[str, Any]:
    """Return the JSON that a command prints."""
    said = await mesh(*words, "--json", cwd=cwd)
    assert said.out, said
    found: dict[str, Any] = json.loads(said.out)
    return found


async def killed(server: EmbeddedServer) -> None:
    """Kill the server with a signal that cannot be caught; whoever watches it starts it again."""
    starts = server.starts
    os.kill(server.address.pid, signal.SIGKILL)
    with anyio.fail_after(60):
        while server.starts == starts:
            await anyio.sleep(0.02)


async def decided(cwd: Path, *words: str) -> dict[str, Any]:
    """Wait as an agent with a time limit per command does: again and again."""
    with anyio.fail_after(400):
        while True:
            said = await mesh("wait", *words, "--timeout", "10s", "--json", cwd=cwd)
            assert said.out, said
            found: dict[str, Any] = json.loads(said.out)
            assert (found["ending"] == "") == (said.code == ExitCode.TIMED_OUT), said
            if found["ending"]:
                return {**found, "code": said.code}


async def test_an_agent_takes_part_twice_while_the_server_is_killed_between_its_steps(tmp_path: Path) -> None:
    project = write_arena(tmp_path / "project", arena=HIDING)
    (project / "answers.txt").write_text("nobody may see this")
    home = project / ".mesh"
    async with embedded(settings.server_dir(home), sync="1s") as server:
        said = await mesh("open", ".", cwd=project)
        assert said.code == ExitCode.OK, said
        async with swarm_of(home, server.url) as swarm:
            swarm._log = tmp_path / "swarm.log"
            await swarm.start("curator", "worker")
            for height, word in (("0.75", "baseline"), ("0.5", "champion")):
                work = tmp_path / f"work-{word}"
                await killed(server)
                out = await answer("checkout", word, str(work), cwd=project)
                assert out["editable"] == ["train.py"]
                assert {path.name for path in work.iterdir()} == {
                    "arena.toml", "train.py", "score.py", "mesh.toml", ".mesh-checkout.json",
                }  # fmt: skip
                (work / "train.py").write_text(TRAIN.replace("HEIGHT = 1.0", f"HEIGHT = {height}"))
                await killed(server)
                posted = await answer("propose", "--name", "stranger", "--model", "opus", cwd=work)
                assert (posted["is_new"], posted["author"], posted["closed"]) == (True, "stranger", "")
                await killed(server)
                again = await answer("propose", "--name", "stranger", cwd=work)
                assert (again["is_new"], again["posted"]) == (False, posted["posted"])
                first = await decided(work, "--for", "score")
                assert (first["code"], first["ending"]) in {(0, "better"), (0, "promoted")}, first
                verdict = await decided(work)
                assert (verdict["code"], verdict["ending"], verdict["proposal"]) == (0, "promoted", posted["proposal"])
                await killed(server)
                checked = await answer("apply", "champion", "--check", cwd=project)
                assert (checked["files"], checked["is_written"]) == (["train.py"], False)
                applied = await answer("apply", "champion", cwd=project)
                assert (applied["proposal"], applied["is_written"]) == (posted["proposal"], True)
                assert f"HEIGHT = {height}" in (project / "train.py").read_text()
            news = await answer("digest", "--since", str(posted["posted"]), "--name", "stranger", cwd=work)
            assert f"{posted['proposal'][:10]} stranger promoted" in news["text"]
            worse = await mesh("propose", "--patch", "-", "--wait", "--json", cwd=work, given=WORSE)
            assert (worse.code, json.loads(worse.out)["ending"]) == (ExitCode.NOT_BETTER, "retired"), worse
            broken = await mesh("propose", "--patch", "-", "--title", "it breaks", cwd=work, given=BROKEN)
            failed = await decided(project, broken.out.strip())
            assert (failed["code"], failed["ending"]) == (ExitCode.NO_SCORE, "no_score")
            assert "<data-" in failed["why"]
        assert (await mesh("close", cwd=project)).code == ExitCode.OK
        late = await mesh("propose", "--patch", "-", cwd=work, given=WORSE.replace("= 50", "= 51"))
        assert (late.code, late.out) == (ExitCode.CLOSED, "")
        assert late.err.startswith("mesh: arena tiny is closed (operator) and takes no proposals")


WORSE = """--- a/train.py
+++ b/train.py
@@ -4,2 +4,2 @@
 HEIGHT = 0.5  # mesh: 0.0..2.0
-WIDTH = 10  # mesh: 1..1000
+WIDTH = 50  # mesh: 1..1000
"""
BROKEN = WORSE.replace("WIDTH = 50  # mesh: 1..1000", "WIDTH = None")


BACKLOG = 40


async def test_a_person_does_not_wait_behind_a_full_backlog_of_samplers(
    tmp_path: Path, home: Path, server: EmbeddedServer
) -> None:
    arena = write_arena(tmp_path / "tiny", arena=EXACT)
    async with connect(server.url) as hub, swarm_of(home, server.url) as swarm:
        bus, opened = await open_arena(hub, arena, home=home)
        code, base = CodeStore(settings.code_dir(home, "tiny"), bus), opened.base_commit
        files = await code.files(base)
        for number in range(BACKLOG):
            changed = {**files, "train.py": TRAIN.replace("HEIGHT = 1.0", f"HEIGHT = 1.{number + 100}").encode()}
            made = code.commit(changed, parents=[base], message="m", author="eve", at=BEGAN)
            await code.push(made.commit, base=base)
            event = ProposalPosted(tree=made.tree, commit=made.commit, title=f"{number}", origin=Origin(how="sampler"))
            await bus.post(Post.new(f"explorer-{number % 4}", event))
        follower = Follower(bus)
        await follower.catch_up()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follower.follow)
            with anyio.fail_after(300):
                door = Door(bus, follower, code)
                wanted = {"train.py": TRAIN.replace("HEIGHT = 1.0", "HEIGHT = 0.5").encode()}
                mine = await propose(door, wanted, author="ann")  # it posts the baseline, too
                assert (mine.queue.place, mine.queue.of) == (2, BACKLOG + 2)
                await swarm.start("curator", "worker")
                await follower.until(lambda board: board.scores(mine.proposal) != [])
            tasks.cancel_scope.cancel()
    board = follower.board
    first = [run.requested.proposal for run in board.runs.values()][:2]
    assert first == [opened.base_tree, mine.proposal]

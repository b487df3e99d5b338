"""The coder as a process of a real swarm: killed while its agent works, kept from the log, paid for by its name."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import psutil
import pytest

from mesh.board import Board
from mesh.events import AnyEvent, ModelAsked, Origin
from mesh.failed_calls import LOST
from tests.support.arenas import TRAIN, write_arena
from tests.support.scripted_agent import write_agent
from tests.test_chaos import PATIENCE_S, Stage, stage

pytestmark = pytest.mark.timeout(600)
QUICK = TRAIN.replace("time.sleep(0.4)\n", "")
HANGS = "subprocess.Popen(['setsid', 'sleep', '2000.25'], start_new_session=True)\ntime.sleep(2000)\n"
REACHES = """
found = []
for port in {ports}:
    try:
        socket.create_connection(("127.0.0.1", port), 5)
        found.append(port)
    except OSError:
        pass
edit("WIDTH = 5", "WIDTH = 10")
report("narrower", str(found))
usage = {{"input_tokens": 70, "output_tokens": 7}}
print(json.dumps({{"type": "result", "total_cost_usd": 0.5, "result": "", "usage": usage}}))
"""


def is_there(*words: str) -> bool:
    """Tell whether a process has one of the words in its command line."""
    for process in psutil.process_iter():
        try:
            if any(word.endswith(words) for word in process.cmdline()):
                return True
        except psutil.Error:
            continue
    return False


async def until_gone(*words: str) -> None:
    with anyio.fail_after(PATIENCE_S):
        while is_there(*words):
            await anyio.sleep(0.05)


def said(on: Stage) -> list[AnyEvent]:
    return [entry.post.event for entry in on.entries if entry.post and entry.post.author == "coder"]


def mine(board: Board) -> list[str]:
    return [tree for tree, p in board.proposals.items() if p.author == "coder" and p.event.origin.how == "model"]


async def test_a_coder_that_is_killed_takes_its_agent_along_and_its_next_life_works(tmp_path: Path, home: Path) -> None:
    command = write_agent(tmp_path / "bin", HANGS, "hangs.py")
    async with stage(tmp_path, home, QUICK) as on:
        here = ["--arena", "tiny", "--nats", on.server.url, "--home", str(home)]
        agent = [sys.executable, "-m", "mesh.agent", "coder", "--name", "coder", "--budget-calls", "3", *here]
        on.swarm.commands["coder"] = [*agent, "--command", command]
        await on.swarm.start("curator", "worker", "coder")
        with anyio.fail_after(PATIENCE_S):
            while not is_there("2000.25"):
                await anyio.sleep(0.05)
        await on.swarm.kill("coder")
        await until_gone("2000.25", "bin/hangs.py")
        port = urlsplit(on.server.url).port
        works = write_agent(tmp_path / "bin", REACHES.format(ports=[port]), "works.py")
        on.swarm.commands["coder"] = [*agent, "--command", works]
        await on.swarm.start("coder")
        await on.until(lambda board: any(board.scores(tree) for tree in mine(board)))
        [lost] = [fact for fact in said(on) if isinstance(fact, ModelAsked) and fact.purpose == LOST]
        assert lost.text == "the coder was stopped, or died, while its agent worked"
        proposal = on.follower.board.proposals[mine(on.follower.board)[0]].event
        assert proposal.rationale == "[]"
        assert on.follower.board.spent["coder"] >= 0.5
        assert proposal.origin == Origin(how="model", name="works")
        assert await on.swarm.end("coder") == 0
        assert not list((home / "coders" / "tiny" / "coder").iterdir())


async def test_mesh_up_refuses_a_coding_agent_that_cannot_work_before_anything_starts(tmp_path: Path) -> None:
    folder = write_arena(tmp_path / "arena")
    for words, said in (
        (["--coder", "no-such-agent {prompt}", "--budget-calls", "2"], "the program 'no-such-agent' is not installed"),
        (["--coder", "cat {prompt_file}"], "a coder needs a limit of what it may spend"),
        (["--budget-calls", "2"], "--budget-calls limits a coding agent; add --coder"),
    ):
        command = [sys.executable, "-m", "mesh_cli", "up", str(folder), "--minutes", "1", *words]
        ended = await anyio.run_process(command, check=False, cwd=tmp_path, stdin=subprocess.DEVNULL)
        assert ended.returncode == 2
        assert said in ended.stderr.decode()
        assert not (tmp_path / ".mesh").exists()


async def test_mesh_up_runs_a_coding_agent_and_credits_what_it_made(tmp_path: Path) -> None:
    folder = write_arena(tmp_path / "arena", train=QUICK)
    body = "edit('WIDTH = 5', 'WIDTH = 10')\nreport('narrower')\n"
    body += "print('Tokens: 70 sent, 7 received. Cost: $0.5 message')"
    words = f"mesh_cli up {folder} --minutes 8 --explorers 0 --slots 2 --budget-calls 9 --goal 0.256 --coder".split()
    command = [sys.executable, "-m", *words, write_agent(tmp_path / "bin", body)]
    ended = await anyio.run_process(command, check=False, cwd=tmp_path, stdin=subprocess.DEVNULL)
    out = ended.stdout.decode()
    assert ended.returncode == 0, ended.stderr.decode()
    assert re.search(r"coder +\+ joined as coder", out)
    assert re.search(r"coder +◆ proposes \w+ \w+: narrower", out)
    assert "goal loss 0.256 reached" in out
    assert re.search(r"tokens \(\$\d", out)

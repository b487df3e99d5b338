"""One swarm with a member through every door: each is credited with what it earned, and what that cost."""

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import httpx2
import pytest
from anyio.streams.text import TextReceiveStream
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

import mesh
from mesh.leaderboard import Ranking
from tests.support.arenas import TRAIN, write_arena
from tests.support.commits import Git
from tests.support.hub import curl, register
from tests.support.model_server import Reply, model_server, say
from tests.support.scripted_agent import write_agent
from tests.support.tiny_swarm import in_thread
from tests.test_mcp_stdio import called
from tests.test_researcher import KEY, NAME
from tests.test_up import MESH, belonging_to, log_of

PATIENCE_S = 200
LONGEST = 60
"""So many steps the baseline has. A sampler changes the knobs alone; fewer steps weigh more than both of them."""
CODE = TRAIN.replace("time.sleep(0.4)\n", f'STEPS = "{"s" * LONGEST}"\n').replace("loss = ", "loss = len(STEPS) + ")
LENGTHS = {"coder": 54, "researcher": 48, "gpu-7_lab": 42, "mia": 36, "pia": 30, "hugo": 24, "ann": 18}
"""Who proposes how many steps, one after the other: each is the best so far when it is measured."""
ROLES = {
    "coder": ("coder", "scripted", "left"),
    "researcher": ("researcher", NAME, "left"),
    "gpu-7_lab": ("agent", None, "guest"),
    "mia": ("agent", "mcp", "guest"),  # what its client calls itself
    "pia": ("agent", "openai/gpt-x", "guest"),
    "hugo": ("agent", None, "guest"),
    "ann": ("person", None, "guest"),
}
"""What each of them is: its role, its model, and whether it is a process of the swarm."""
WORKS = f"""
edit('"{"s" * LENGTHS["coder"]}"', '"{"s" * LONGEST}"')
report("fewer steps by hand")
usage = {{"input_tokens": 70, "output_tokens": 7}}
print(json.dumps({{"type": "result", "total_cost_usd": 0.5, "result": "", "usage": usage}}))
"""


def code(author: str) -> str:
    return re.sub('STEPS = "s*"', f'STEPS = "{"s" * LENGTHS[author]}"', CODE)


def answer(allowed: threading.Event, text: str) -> Reply:
    """What the model says: whether it is there at once, a whole file when it may."""
    if "train.py" not in text:
        return say("yes")
    allowed.wait(PATIENCE_S)
    header = "TITLE: the model's steps\nRATIONALE: less is less\nPREDICTED_GAIN: 6\nCONFIDENCE: 0.9"
    return say(f"{header}\n\nFILE: train.py\n```python\n{code('researcher').strip()}\n```\n", usage=(5000, 500))


class Running(NamedTuple):
    """A swarm: the folder of its arena, and where its gateway answers."""

    folder: Path
    hub: str


async def command(*words: str, at: Path) -> str:
    """Run a command as a person does in a folder, and return what it prints."""
    done = await anyio.run_process([*MESH, *words], check=False, cwd=at)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@asynccontextmanager
async def running(tmp_path: Path, *options: str) -> AsyncIterator[Running]:
    """A swarm with a gateway, from `mesh up` until Ctrl-C."""
    folder = write_arena(tmp_path / "arena", train=CODE)
    words = [*MESH, "up", "--quiet", "--gateway", "--slots", "2", "--explorers", "1", "--hours", "1", *options]
    up = await anyio.open_process(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=folder)
    try:
        assert up.stderr
        said, heard = "", TextReceiveStream(up.stderr)
        with anyio.fail_after(PATIENCE_S):
            while not (found := re.search(r"for agents HUB=(\S+)", said)):
                said += await heard.receive()
        async with anyio.create_task_group() as tasks:

            async def listen() -> None:
                async for text in heard:
                    sys.stderr.write(text)

            tasks.start_soon(listen)
            yield Running(folder, found[1])
            up.send_signal(signal.SIGINT)
            with anyio.fail_after(PATIENCE_S):
                assert await up.wait() == 0
    finally:
        with anyio.CancelScope(shield=True):
            if up.returncode is None:
                up.terminate()
            await up.aclose()


async def scored(on: Running, key: str, proposal: str) -> None:
    """Wait until a proposal has a score, as an agent waits."""
    while (await curl(f"{on.hub}/api/wait/{proposal}?until=score&wait=20", key=key)).json["mean"] is None:
        pass


async def proposal_of(on: Running, key: str, author: str) -> str:
    """Wait until an author has proposed something of their own, and return it."""
    seq = 0
    while True:
        answer = await curl(f"{on.hub}/api/events?after={seq}&wait=20&kinds=proposal.posted", key=key)
        for each in answer.json["events"]:
            if each["author"] == author and each["event"]["origin"]["how"] != "baseline":
                return str(each["event"]["tree"])
        seq = answer.json["next"]


async def by_agenthub(on: Running, folder: Path) -> str:
    """Register, fetch a leaf, change it, bundle, push, and say what it claims: with curl and git alone."""
    key = await register(on.hub, "gpu-7.lab")
    [leaf, *_] = (await curl(f"{on.hub}/api/git/leaves", key=key)).json
    fetched = await curl(f"{on.hub}/api/git/fetch/{leaf['hash']}", key=key)
    git = Git(folder)
    (folder / "fetched.bundle").write_bytes(fetched.body)
    git("bundle", "unbundle", "fetched.bundle")
    (folder / "fetched.bundle").unlink()
    git("checkout", "-q", leaf["hash"])
    commit = git.commit({"train.py": code("gpu-7_lab").encode()}, "fewer steps")
    bundle = git.bundle("HEAD")
    done = await curl(f"{on.hub}/api/git/push", "--data-binary", f"@{bundle}", key=key)
    assert (done.status, done.json["hashes"]) == (201, [commit])
    await curl(f"{on.hub}/api/channels", key=key, data={"name": "results"})
    claim = f"commit:{commit[:7]} platform:cpu loss:40.0 | fewer steps"
    assert (await curl(f"{on.hub}/api/channels/results/posts", key=key, data={"content": claim})).status == 201
    await scored(on, key, done.json["heads"][0]["proposal"])
    return commit


async def by_mcp(on: Running) -> None:
    """Propose a change with the official client, and wait for its score."""
    key = await register(on.hub, "mia")
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=60) as http,
        Client(streamable_http_client(f"{on.hub}/a/tiny/mcp", http_client=http)) as client,
    ):
        made = await called(client, "propose", {"files": {"train.py": code("mia")}, "title": "steps by a tool"})
        await called(client, "note", {"text": "fewer steps go on helping"})
        await scored(on, key, made["proposal"])


def by_python() -> None:
    """Propose a change from a script beside the log."""
    with mesh.connect("tiny", name="pia") as m:
        p = m.propose({"train.py": code("pia")}, title="steps by a script", model="openai/gpt-x")
        assert m.wait(p, PATIENCE_S, until="score").mean


def by_python_at_a_hub(hub: str, key: str) -> None:
    """Propose a change from a script that has an address and a key."""
    with mesh.connect("tiny", hub=hub, key=key) as m:
        p = m.propose({"train.py": code("hugo")}, title="steps by a script afar")
        assert m.wait(p, PATIENCE_S, until="score").mean


async def by_hand(on: Running, folder: Path) -> str:
    """Check the champion out, edit it, propose it, and wait for its score."""
    await command("checkout", "champion", str(folder), at=on.folder)
    (folder / "train.py").write_text(code("ann"))
    made = await command("propose", "--title", "steps by hand", "--why", "less is less", "--name", "ann", at=folder)
    await command("wait", "--for", "score", at=folder)
    return made.strip()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.mark.timeout(1200)
async def test_each_door_is_credited_with_what_it_earned_and_what_that_cost(tmp_path: Path, home: Path) -> None:
    allowed, works = threading.Event(), write_agent(tmp_path / "bin", WORKS, "scripted.py")
    with model_server(*[partial(answer, allowed)] * 9) as model:
        thinker = ["--model", NAME, "--api-base", model.url, "--budget-tokens", "12000"]
        async with running(tmp_path, *thinker, "--coder", works, "--budget-calls", "1") as on:
            with anyio.fail_after(PATIENCE_S * 4):
                reader = await register(on.hub, "reader")
                await scored(on, reader, await proposal_of(on, reader, "coder"))
                allowed.set()
                await scored(on, reader, await proposal_of(on, reader, "researcher"))
                commit = await by_agenthub(on, tmp_path / "gpu-7")
                await by_mcp(on)
                await in_thread(by_python)
                hugo = await register(on.hub, "hugo")
                await in_thread(partial(by_python_at_a_hub, on.hub, hugo))
                await by_hand(on, tmp_path / "by-hand")
                await scored(on, reader, await proposal_of(on, reader, "explorer"))
    assert belonging_to(home) == []
    facts = await log_of(home)
    verdicts = {tree: Ranking(facts).state(tree) for tree in facts.proposals}
    agents = {row["agent"]: row for row in await sql(on.folder, "FROM agents")}
    assert {name: (agents[name]["role"], agents[name]["model"], agents[name]["state"]) for name in LENGTHS} == ROLES
    for name in LENGTHS:
        own = [tree for tree, each in facts.proposals.items() if each.author == name]
        assert agents[name]["proposals"] == len(own) == 1, name
        assert agents[name]["promoted"] == sum("champion" in verdicts[tree] for tree in own), name
        assert agents[name]["improvement"] > 5, name
    # then nobody has earned what nobody has, and nothing is lost
    [best] = await sql(on.folder, "SELECT min(value) AS last, arg_min(value, finished_seq) AS first FROM scores")
    assert sum(row["improvement"] for row in agents.values()) == pytest.approx(best["first"] - best["last"])
    costs = await sql(
        on.folder, "SELECT who, usd, tokens_in, tokens_out FROM cost WHERE what IN ('proposal', 'failed call')"
    )
    spent = {row.pop("who"): row for row in costs}
    assert spent["coder"] == {"usd": 0.5, "tokens_in": 70, "tokens_out": 7}
    assert spent["researcher"] == {"usd": None, "tokens_in": 5000, "tokens_out": 500}
    [claim] = await sql(on.folder, "SELECT author, commit, claimed, measured, gap FROM claims")
    assert (claim["author"], claim["commit"], claim["claimed"]) == ("gpu-7_lab", commit, 40.0)
    assert claim["gap"] == pytest.approx(claim["measured"] - 40.0)
    assert await sql(on.folder, "SELECT author, commit FROM commits") == [{"author": "gpu-7_lab", "commit": commit}]
    board = json.loads(await command("leaderboard", "-n", "100000", "--json", at=on.folder))
    assert {row["author"] for row in board} >= {*LENGTHS}
    for name in ("report.md", "report.html"):
        await command("report", "-o", str(tmp_path / name), at=on.folder)
        report = (tmp_path / name).read_text().replace("\\_", "_")
        shown = report[report.index("Who took part") : report.index("What each kind of author earned")]
        assert all(member in shown for member in (*LENGTHS, "explorer", NAME, "$0.5", "5,500")), shown


async def sql(folder: Path, query: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(await command("sql", query, "--json", at=folder))["rows"]
    return rows

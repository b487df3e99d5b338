"""Pushes, leaves and many clients at once, over HTTP to a gateway with real bundles of git."""

import json
import os
import statistics
import subprocess
import time
from pathlib import Path

import anyio

from benchmarks.parts.gateway_client import HttpClient
from benchmarks.parts.harness import Figures, say
from mesh.bus import Bus
from mesh.events import CommitPushed
from mesh.testing import git_hash
from mesh.wire import Post

CLIENTS, POSTS = 20, 5
_OF_ONE = 15
"""Pushes of one member: a gateway limits the proposals that wait."""
_DATA = 96_000
_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "bench@mesh" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


def bundles(folder: Path, program: str, count: int) -> list[bytes]:
    """Return bundles of 100 KB: each the whole history of a commit that changes a program beside a file of data."""
    folder.mkdir()

    def git(*words: str) -> None:
        environ = {**os.environ, **_ENVIRONMENT}
        subprocess.run(["git", *words], cwd=folder, env=environ, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    (folder / "train.py").write_text(program, encoding="utf-8")
    (folder / "data.bin").write_bytes(os.urandom(_DATA))
    git("add", "-A")
    git("commit", "-q", "-m", "baseline")
    found = []
    for number in range(count):
        git("checkout", "-q", "main")
        git("checkout", "-q", "-B", f"change-{number}")
        (folder / "train.py").write_text(f"{program}# {number}\n", encoding="utf-8")
        git("commit", "-q", "-a", "-m", f"change {number}")
        git("bundle", "create", "-q", "../push.bundle", f"change-{number}")
        found.append((folder.parent / "push.bundle").read_bytes())
    return found


async def measure_pushes(client: HttpClient, keys: list[str], pushes: list[bytes]) -> Figures:
    """Return the median of a push (ms), one after the other, by several members."""
    took = []
    for number, bundle in enumerate(pushes):
        began = time.perf_counter()
        await client.ask("POST", "/api/git/push", keys[number // _OF_ONE], bundle)
        took.append((time.perf_counter() - began) * 1000)
    say(f"a push of {len(pushes[0]) / 1000:.0f} KB: {statistics.median(took):.0f} ms, {min(took):.0f} at best")
    return {"push_ms": statistics.median(took), "push_best_ms": min(took)}


async def measure_leaves(bus: Bus, client: HttpClient, key: str, rounds: int) -> Figures:
    """Return the median of a request for the leaves (ms) at 1,000 and 10,000 commits, of which half are leaves."""
    figures, known = Figures(), 0
    for count in (1000, 10_000):
        await bus.post_all(Post.new("probe", _commit(number)) for number in range(known, count))
        known, took = count, []
        last = _commit(count - 1).commit.encode()
        while last not in await client.ask("GET", "/api/git/commits?limit=1", key):
            await anyio.sleep(0.1)
        for _ in range(rounds):
            began = time.perf_counter()
            answer = await client.ask("GET", "/api/git/leaves", key)
            took.append((time.perf_counter() - began) * 1000)
        figures[f"leaves_{count}_ms"] = statistics.median(took)
        say(f"leaves at {count:,} commits: {statistics.median(took):.1f} ms, {len(answer):,} bytes")
    return figures


async def measure_many(port: int, keys: list[str], pushes: list[bytes]) -> Figures:
    """Return what goes wrong when twenty clients push and post at once: ids twice, out of order, missing answers."""
    ids, failed = list[int](), 0

    async def take_part(number: int) -> None:
        nonlocal failed
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            client = HttpClient(stream)
            try:
                for post in range(POSTS):
                    body = json.dumps({"content": f"{number} {post}"}).encode()
                    ids.append(
                        json.loads(await client.ask("POST", "/api/channels/bench/posts", keys[number], body))["id"]
                    )
                await client.ask("POST", "/api/git/push", keys[number], pushes[number])
            except AssertionError:
                failed += 1

    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for number in range(CLIENTS):
            tasks.start_soon(take_part, number)
    took = time.perf_counter() - began
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        answer = await HttpClient(stream).ask("GET", f"/api/channels/bench/posts?limit={len(ids)}", keys[0])
    listed = [post["id"] for post in json.loads(answer)]
    return {
        "many_s": took,
        "many_failed": failed,
        "many_ids_twice": len(ids) - len(set(ids)),
        "many_out_of_order": float(listed != sorted(ids, reverse=True)),
    }


def _commit(number: int) -> CommitPushed:
    parents = (git_hash(f"bench-{number // 2}"),) if number else ()
    tree = git_hash("tree")
    return CommitPushed(commit=git_hash(f"bench-{number}"), tree=tree, parents=parents, message=f"change {number}")

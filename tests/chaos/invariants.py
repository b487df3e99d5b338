"""What must hold when a swarm has come to rest, read with a plain client of NATS and none of our own code."""

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import nats

from analytics.projection import view_sources

BLAMED = ("crash", "no_score", "bad_score", "out_of_memory", "over_budget")
"""Reasons that blame a proposal; those of the arena in this folder never deserve one, unless its process was killed."""


async def read_log(url: str, arena: str) -> list[tuple[int, str, bytes]]:
    """Return sequence, subject and bytes of every entry of a log."""
    client = await nats.connect(url, connect_timeout=60)
    try:
        info = json.loads((await client.request(f"$JS.API.STREAM.INFO.MESH_{arena}", b"", timeout=60)).data)
        found = []
        for seq in range(1, info["state"]["last_seq"] + 1):
            body = json.dumps({"seq": seq}).encode()
            answer = json.loads((await client.request(f"$JS.API.STREAM.MSG.GET.MESH_{arena}", body, timeout=60)).data)
            if "message" in answer:
                message = answer["message"]
                found.append((message["seq"], message["subject"], base64.b64decode(message.get("data", ""))))
        return found
    finally:
        await client.close()


def broken(log: list[tuple[int, str, bytes]], acknowledged: dict[str, int]) -> list[str]:
    """Return what does not hold of a log that came to rest, in sentences.

    Args:
        log: what `read_log` returns.
        acknowledged: the sequence that the server confirmed, by the id of the post.
    """
    said: list[str] = []
    if [seq for seq, _, _ in log] != list(range(1, len(log) + 1)):
        said.append("the log has a gap")
    keys: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    ids: dict[str, list[int]] = {}
    for seq, subject, data in log:
        try:
            post: dict[str, Any] = json.loads(data)
            event, author = post["event"], post["author"]
        except (ValueError, LookupError, TypeError):
            continue  # a stranger's
        ids.setdefault(post["id"], []).append(seq)
        kind = event["kind"]
        name = subject if kind == "critique.posted" else subject.rpartition(".")[0]
        keys[name] += 1
        if kind == "run.requested":
            asked[event["run"]] += 1
        elif kind == "run.finished":
            ended[event["run"]] += 1
            outcome = event["outcome"]
            if outcome.get("reason") in BLAMED and "SIGKILL" not in outcome.get("message", ""):
                said.append(
                    f"run {event['run']} failed: {outcome['reason']}: {outcome.get('message', '')[:200]} ({author})"
                )
    said += [f"{name} was posted {count} times" for name, count in keys.items() if count > 1]
    said += [f"run {run} was asked for {count} times" for run, count in asked.items() if count > 1]
    said += [f"run {run} was finished {ended[run]} times" for run in asked.keys() | ended.keys() if ended[run] != 1]
    said += [f"post {post} is in the log {len(at)} times" for post, at in ids.items() if len(at) > 1]
    said += [
        f"post {post} was acknowledged as {seq} and is at {ids.get(post)}"
        for post, seq in acknowledged.items()
        if ids.get(post) != [seq]
    ]
    return said


def posts_at_wrong_times(path: Path) -> int:
    """Return how many posts of a projection have a time that is more than a minute from the server's."""
    with duckdb.connect(str(path), read_only=True) as db:
        asked = "SELECT count(*) FROM events WHERE author <> 'poster' AND abs(epoch(posted_at) - epoch(time)) > 60"
        [[count]] = db.sql(asked).fetchall()
        return int(count)


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return what a projection says, table by table and view by view."""
    with duckdb.connect(str(path), read_only=True) as db:
        names = ["internal.posts", *(name for name, _ in view_sources())]
        return {name: db.sql(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for name in names}

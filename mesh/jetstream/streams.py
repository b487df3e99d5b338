"""The streams of an arena: their settings, under which no fact is lost, and what becomes of settings that were changed.

Whoever may administer the server can change a stream at any time (`nats stream edit`). So every process with the right
to compares the settings whenever it reaches an arena, and restores them. What the server does not change back is
refused, because facts could be lost. What only an earlier version left out is added where that is possible.
"""

import sys
from typing import Any

import anyio

from mesh import wire
from mesh.errors import BusRefused
from mesh.jetstream.cluster import NO_PEERS, PEERS_WITHIN_S
from mesh.jetstream.link import Link
from mesh.model_calls import KEPT_BYTES

_LOG, OBJECTS, GROUPS, CALLS = "MESH_", "MESHOBJ_", "MESHGRP_", "MESHCALL_"
"""What precedes the name of an arena in the names of its streams."""

MAX_MESSAGE_BYTES = 300_000
"""Bytes of a message of the log, at most: a post and its headers."""

_ROOM = 4 * 1024**3
_LEAST_ROOM = 16 * 1024**2
_SHARE = 32
"""Bytes of a stream where the account demands a bound: so many, at most this part of the account, and at least so many.
"""
_NO_ROOM_LEFT = 10047

_SAFE: dict[str, Any] = {
    "retention": "limits",
    "discard": "new",
    "max_age": 0,
    "max_msgs": -1,
    "max_msgs_per_subject": -1,
    "discard_new_per_subject": False,
    "deny_delete": True,
    "deny_purge": True,
    "sealed": False,
    "no_ack": False,
    "allow_rollup_hdrs": False,
    "allow_msg_ttl": False,
    "allow_msg_counter": False,
    "allow_msg_schedules": False,
    "subject_delete_marker_ttl": 0,
    "subject_transform": None,
    "mirror": None,
    "sources": None,
}
"""Settings that let no fact be lost, replaced or refused."""

_NEW: dict[str, Any] = {
    **_SAFE,
    "storage": "file",
    "allow_direct": True,
    "duplicate_window": 120_000_000_000,
}


def stream_of(arena: str) -> str:
    """Return the name of the stream that holds an arena's log."""
    return f"{_LOG}{arena}"


def log_stream(arena: str) -> dict[str, Any]:
    """Return the settings of the log of an arena."""
    subjects = wire.arena_filter(arena)
    republish = {"src": subjects, "dest": f"{wire.TAIL_PREFIX}{subjects}"}
    named = {"name": stream_of(arena), "subjects": [subjects]}
    return {**_NEW, **named, "max_msg_size": MAX_MESSAGE_BYTES, "republish": republish}


def objects_stream(arena: str) -> dict[str, Any]:
    """Return the settings of the stream of an arena's objects, which may be deleted once they stand in a group."""
    return {**_NEW, "name": OBJECTS + arena, "subjects": [wire.objects_filter(arena)], "deny_delete": False}


def groups_stream(arena: str) -> dict[str, Any]:
    """Return the settings of the stream of an arena's groups of objects."""
    return {**_NEW, "name": GROUPS + arena, "subjects": [wire.groups_filter(arena)]}


def calls_stream(arena: str) -> dict[str, Any]:
    """Return the settings of the stream of an arena's model calls, of which the server drops the oldest."""
    limits = {"discard": "old", "max_bytes": KEPT_BYTES}  # only the server knows what all writers have stored
    return {**_NEW, "name": CALLS + arena, "subjects": [wire.call_subject(arena, "*")], **limits}


async def make_stream(link: Link, wanted: dict[str, Any]) -> None:
    """Make a stream with these settings if there is none, and restore the settings of one that there is.

    In a cluster, one that has fewer copies than a new one gets the others.

    Raises:
        BusRefused: the server refuses it.
    """
    name = wanted["name"]
    found = await link.call(f"$JS.API.STREAM.INFO.{name}", {})
    if "error" not in found:
        copies = found["config"]["num_replicas"]
        more = {"num_replicas": link.replicas} if link.is_clustered and copies < link.replicas else {}
        await restore_stream(link, found["config"], {**wanted, **more})
        return
    config = {"num_replicas": link.replicas, **wanted}
    if link.limits.get("max_bytes_required") and "max_bytes" not in config:
        config["max_bytes"] = room_for(link)
    answer = await _create(link, config)
    while _is_too_much(answer) and config.get("max_bytes", 0) >= 2 * _LEAST_ROOM:
        config["max_bytes"] //= 2
        answer = await _create(link, config)
    if "error" in answer:
        raise BusRefused(f"the server did not create stream {name}: {answer['error'].get('description')}")


async def _create(link: Link, config: dict[str, Any]) -> dict[str, Any]:
    """Ask for a stream, in a cluster that still lacks servers for a while; return the answer.

    Raises:
        BusRefused: the cluster has too few servers.
    """
    give_up = anyio.current_time() + min(PEERS_WITHIN_S, link.patience_s)
    while True:
        answer = await link.call(f"$JS.API.STREAM.CREATE.{config['name']}", config)
        error = answer.get("error") or {}
        if not link.is_clustered or error.get("err_code") != NO_PEERS:
            return answer
        if anyio.current_time() > give_up:
            needs = f"stream {config['name']} needs {config['num_replicas']} servers of the cluster at {link.url}"
            raise BusRefused(f"{needs}, and it has fewer: start the others ({error.get('description')})")
        await anyio.sleep(0.5)


async def restore_stream(link: Link, found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Give a stream back the settings that it should have; return whether it had others.

    Nothing is done for who has no right to. A setting without which nothing is lost may stay as it is.

    Args:
        link: the connection.
        found: its settings.
        wanted: the settings that it should have.

    Raises:
        BusRefused: the server does not restore a setting without which facts may be lost.
    """
    name = found["name"]
    changed = {key: value for key, value in wanted.items() if (found.get(key) or None) != (value or None)}
    changed.pop("storage", None)
    if not wanted["deny_delete"]:
        changed.pop("deny_delete", None)  # earlier versions set it, and no server takes it back
    if found.get("duplicate_window", 0) >= wanted["duplicate_window"]:
        changed.pop("duplicate_window", None)
    if 0 < found.get("max_bytes", -1) <= wanted.get("max_bytes", -1):
        changed.pop("max_bytes", None)  # the account had no more room
    if not changed or link.member:
        return False
    unsafe = {key: value for key, value in changed.items() if key in _SAFE or key == "subjects"}
    try:
        answer = await link.call(f"$JS.API.STREAM.UPDATE.{name}", {**found, **changed})
        if "error" in answer and unsafe:
            answer = await link.call(f"$JS.API.STREAM.UPDATE.{name}", {**found, **unsafe})
    except BusRefused:  # this user may not
        return False
    if unsafe:
        had = ", ".join(f"{key} {_shown(found.get(key))} instead of {_shown(value)}" for key, value in unsafe.items())
        if "error" in answer:
            why = f"the server does not restore it ({answer['error'].get('description')})"
            raise BusRefused(f"stream {name} has {had}, so facts may be lost, and {why}: open a new arena instead")
        sys.stderr.write(f"mesh: stream {name} had {had}; it is restored, because facts could be lost\n")
    return "error" not in answer


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def room_for(link: Link) -> int:
    """Return the bytes of a stream where the account demands a bound."""
    bounds = [int(link.limits.get(name) or 0) for name in ("max_storage", "storage_max_stream_bytes")]
    account, most = bounds[0] // (_SHARE * link.replicas), bounds[1]
    room = min(_ROOM, *(bound for bound in (account, most) if bound > 0))
    return max(room, _LEAST_ROOM)


def _is_too_much(answer: dict[str, Any]) -> bool:
    return (answer.get("error") or {}).get("err_code") == _NO_ROOM_LEFT

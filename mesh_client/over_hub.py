"""The way to an arena through a hub (`mesh gateway`), over HTTP with the standard library alone.

What needs the log itself (the board, the files as they are, studies) is not there; the sentence says so.
"""

import datetime as dt
import json
import os
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlencode, urlsplit

import anyio
import anyio.to_thread
import msgspec

from gateway.answers import ArenaStatus, Noted, Queried
from gateway.door import Door
from mesh.board import Board
from mesh.errors import ArenaIsClosed, BadInput, BusRefused, BusUnavailable, MeshError, UnknownName
from mesh.events import AnyEvent
from mesh.text import printable
from mesh_client.access import Asked
from mesh_client.entries import LogEntry
from mesh_client.rows import SqlRows

_KEY = "MESH_KEY"
"""The environment variable with the key for a hub, as `gateway.mcp_proxy` has it."""

_ANSWER_S, _POLL_S, _AGAIN_S = 40.0, 20.0, 1.0
_MOST_BYTES = 64 * 1024 * 1024
_ERRORS: dict[int, type[MeshError]] = {404: UnknownName, 410: ArenaIsClosed, 429: BusRefused, 503: BusUnavailable}
_PATHS = {
    "code": "code/{word}",
    "diff": "diff/{old}/{new}",
    "digest": "digest",
    "leaderboard": "leaderboard",
    "lineage": "lineage/{word}",
    "show": "show/{word}",
    "status": "status",
    "wait": "wait/{word}",
}
"""The path of a question by the name of its function; other arguments stand in the query."""

_CALLED = {"seconds": "wait"}
"""Arguments that the hub calls otherwise."""


class OverHub:
    """An arena of a hub."""

    def __init__(self, url: str, key: str, arena: str) -> None:
        self.arena, self._url, self._key = arena, url, key

    @classmethod
    async def opened(cls, hub: str, key: str | None, arena: str | None) -> "OverHub":
        """Return the way to an arena, once the hub has answered.

        Args:
            hub: the address of the hub, or of one of its arenas: `https://HOST`, `https://HOST/a/ARENA`.
            key: the key of a member; by default that in `MESH_KEY`.
            arena: the arena, if the address names none and the hub has several.

        Raises:
            BadInput: the address or the key is not valid.
            BusUnavailable: the hub does not answer.
            UnknownName: it has no such arena.
        """
        parts = urlsplit(hub)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadInput(f"hub is {hub[:80]!r}; use an address such as https://HOST/a/ARENA")
        key = os.environ.get(_KEY, "") if key is None else key
        if not key:
            raise BadInput(f"the hub {parts.hostname} asks for a key; give key=, or set {_KEY}")
        url = hub.rstrip("/")
        if arena and "/a/" not in f"{parts.path}/":
            url = f"{url}/a/{quote(arena, safe='')}"
        way = cls(url, key, arena or "")
        way.arena = (await way.ask("status", ArenaStatus)).arena
        return way

    def door(self) -> Door:
        self._lacks("the board and studies need the log")

    async def board_now(self) -> Board:
        self._lacks("the board needs the log")

    async def files(self, word: str) -> dict[str, bytes]:
        self._lacks("files as they are need the log, and `code` shows them")

    async def folder(self, folder: Path) -> tuple[dict[str, bytes], str | None]:
        self._lacks("a folder needs the log; give a dict of files")

    def _lacks(self, what: str) -> NoReturn:
        raise BadInput(f"through a hub, {what}: connect with nats= instead of hub=")

    async def ask(self, what: str, answer: type[Asked], **words: Any) -> Asked:
        match what:
            case "note" | "reply":
                found: Any = await self._noted(**words)
                return msgspec.convert(found, answer)
            case "propose":
                return await self._send("POST", "proposals", answer, _proposal(words))
            case "critique":
                body = {"id": words.pop("word"), **{name: value for name, value in words.items() if name != "author"}}
                return await self._send("POST", "critiques", answer, body)
            case "checkout":
                self._lacks("a checkout needs the log")
        path = _PATHS[what]
        asked = {name: value for name, value in words.items() if f"{{{name}}}" in path}
        rest = {_CALLED.get(name, name): value for name, value in words.items() if name not in asked}
        rest.pop("author", "")
        if "word" in asked and not asked["word"]:
            asked["word"] = "champion"
        where = path.format(**{name: quote(str(value), safe="") for name, value in asked.items()})
        return await self._send("GET", f"{where}?{urlencode(rest)}", answer, more_s=float(rest.get("wait", 0.0)))

    async def follow(self, since: int | None, kinds: Sequence[str], until: int | None) -> AsyncGenerator[LogEntry]:
        after = since
        if after is not None and after < 0:
            raise BadInput(f"since is {after}; use 0 for all entries, or the number of one")
        while until is None or after is None or after < until:
            seconds = 0.0 if after is None else _POLL_S
            asked = {"wait": seconds, "kinds": ",".join(dict.fromkeys(kinds))}
            query = urlencode(asked if after is None else {**asked, "after": after})
            try:
                found = await self._send("GET", f"events?{query}", dict[str, Any], more_s=seconds)
            except BusUnavailable:
                if after is None:
                    raise
                await anyio.sleep(_AGAIN_S)
                continue
            after = int(found["next"])
            for entry in found["events"]:
                if (shown := _entry(entry)) and (until is None or shown.seq <= until):
                    yield shown

    async def rows(self, query: str, max_rows: int, timeout_s: float) -> SqlRows:
        body = {"query": query, "max_rows": max_rows or 200}
        found = await self._send("POST", "sql", Queried, body, more_s=timeout_s)
        return SqlRows(
            found.columns, ["" for _ in found.types], found.rows, {self.arena: found.as_of}, truncated=found.is_cut
        )

    async def _noted(
        self, text: str, author: str, channel: str = "general", about: str = "", seq: int | None = None
    ) -> dict[str, Any]:
        if about:
            self._lacks("what a note is about needs the log; name it in the text")
        if seq is not None:
            answered = await self._send("GET", f"posts/{seq}", dict[str, Any])
            every = await self._send("GET", "channels", list[dict[str, Any]])
            channel = next((each["name"] for each in every if each["id"] == answered["channel_id"]), channel)
        path, body = f"channels/{quote(channel, safe='')}/posts", {"content": text, "parent_id": seq}
        try:
            made = await self._send("POST", path, dict[str, Any], body)
        except UnknownName:  # nobody has opened the channel
            await self._send("POST", "channels", dict[str, Any], {"name": channel})
            made = await self._send("POST", path, dict[str, Any], body)
        state = await self.ask("status", ArenaStatus)
        noted = Noted(
            arena=self.arena,
            seq=state.seq,
            closed=state.closed,
            posted=int(made["id"]),
            author=str(made["agent_id"]),
            channel=channel,
            reply_to=seq,
            is_new=True,
        )
        built: dict[str, Any] = msgspec.to_builtins(noted)
        return built

    async def _send(
        self, method: str, path: str, answer: type[Asked], body: Mapping[str, Any] | None = None, *, more_s: float = 0.0
    ) -> Asked:
        request = urllib.request.Request(  # `opened` has checked the scheme
            f"{self._url}/api/{path}",
            method=method,
            data=None if body is None else msgspec.json.encode(body),
            headers={"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
        )
        data = await anyio.to_thread.run_sync(_sent, request, _ANSWER_S + more_s, abandon_on_cancel=True)
        try:
            return msgspec.json.decode(data, type=answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise BusRefused(f"{self._url} does not answer as a hub of this version does; is it one?") from None


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the key would go with it."""

    def redirect_request(self, *args: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_Stay)


def _sent(request: urllib.request.Request, timeout_s: float) -> bytes:
    """Send a request and return the body of the answer; the error that a hub answers is raised as one of ours."""
    try:
        with _OPENER.open(request, timeout=timeout_s) as response:
            data: bytes = response.read(_MOST_BYTES)
            return data
    except urllib.error.HTTPError as error:
        with error:
            raise _ERRORS.get(error.code, BadInput)(_sentence(error)) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", error)
        raise BusUnavailable(f"the hub {request.host} does not answer: {printable(str(why), 200)}") from None


def _sentence(error: urllib.error.HTTPError) -> str:
    try:
        found = json.loads(error.read(65536))["error"]
        text = printable(str(found), 1000)
    except (OSError, ValueError, LookupError, TypeError):
        text = f"the hub answers {error.code}"
    cure = f"; give key=, or set {_KEY}" if error.code == 401 else ""
    return f"{text}{cure}"


def _proposal(words: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a proposal."""
    body = {name: value for name, value in words.items() if name not in ("author", "parent", "files")}
    files: dict[str, str] = {}
    for name, data in words["files"].items():
        try:
            files[name] = data.decode()
        except UnicodeDecodeError:
            raise BadInput(f"{printable(name, 80)} is binary; a proposal changes text") from None
    return {**body, "files": files, "parents": [words["parent"]] if words["parent"] else []}


def _entry(found: Mapping[str, Any]) -> LogEntry | None:
    try:
        event: AnyEvent = msgspec.convert(found["event"], type=AnyEvent)
        at = msgspec.convert(found["time"], type=dt.datetime)
    except (msgspec.ValidationError, LookupError):
        return None
    return LogEntry(seq=int(found["seq"]), at=at, author=str(found["author"]), kind=str(found["kind"]), event=event)

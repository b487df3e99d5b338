"""The pages of a gateway: that of an arena at `/a/<arena>/`, and that of the only arena also at `/`.

Where strangers may not read, one sentence stands there. A page of several arenas is opened when somebody asks for it.
Except at the `/` of an only arena, who does not ask for HTML gets the guide for agents, as without pages.
"""

import re
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path

import anyio
import anyio.abc
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from analytics.web.app import STATIC
from analytics.web.serve import open_page
from mesh.bus import Hub
from mesh.errors import BusError, MeshError, leaf
from mesh.web.access import Guard

_PATHS = ("", "/", "/api/state", "/api/dots", "/api/dag", "/api/board", "/api/note")
_BELOW = ("/static/", "/api/proposal/")
_PREFIX = re.compile(r"/a/([A-Za-z0-9_-]{1,128})(?=/|$)")
_WITHIN_S = 30.0
"""Seconds that a request waits until the page of another arena is there."""
_HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>mesh</title>
<link rel="icon" href="static/icon.svg">
<link rel="stylesheet" href="static/style.css">
</head>
<body><div class="door"><h1>mesh</h1>{}</div></body>
</html>
"""
_MEMBERS_ONLY = """<p>This hub has no page for strangers: members read it with their key, by the command line, MCP or
HTTP (see the <a href="guide">guide</a>), and its operator shows the page to everybody with <code>--open</code>.</p>"""


class GatewayPages:
    """Serves the pages beside a gateway; `close` ends their endless answers."""

    def __init__(
        self,
        hub: Hub,
        home: Path,
        tasks: anyio.abc.TaskGroup,
        *,
        only: Sequence[str],
        hosts: Sequence[str],
        numbers: bool,
        is_open: bool,
    ) -> None:
        self._hub, self._home, self._tasks, self._only = hub, home, tasks, tuple(only)
        self._hosts, self._numbers, self._is_open = tuple(hosts), numbers, is_open
        self._pages: dict[str, tuple[ASGIApp, Callable[[], None]]] = {}
        self._root = ""
        self._opening = anyio.Lock()
        static = Mount("/static", StaticFiles(directory=STATIC))
        words = Starlette(routes=[Route("/", self._words), static])
        self._door = Guard(words, self._hosts, command="mesh gateway", numbers=numbers)

    async def open_root(self, arena: str) -> None:
        """Open the page of an arena, and show it at `/` as well.

        Raises:
            BusUnavailable: the log cannot be reached.
        """
        await self._find(arena)
        self._root = arena

    def close(self) -> None:
        """End the endless answers."""
        for _, close in self._pages.values():
            close()

    def around(self, gateway: ASGIApp) -> ASGIApp:
        """Return an app of both: some paths mean another thing to a browser that shows the page than to an agent."""

        async def both(scope: Scope, receive: Receive, send: Send) -> None:
            answer = await self._answering(scope) if scope["type"] == "http" else None
            if answer is None:
                await gateway(scope, receive, send)
            else:
                found = _PREFIX.match(scope["path"])
                root = scope.get("root_path", "") + (found[0] if found else "")
                await answer({**scope, "root_path": root}, receive, send)

        return both

    async def _answering(self, scope: Scope) -> ASGIApp | None:
        """Return what answers a request for a page, None if the gateway does."""
        path = scope["path"]
        found = _PREFIX.match(path)
        arena, below = (found[1], path[found.end() :]) if found else (self._root, path)
        if not _is_of_page(below, scope):
            return None
        if below in ("", "/") and not (self._root and path == "/") and not _is_browser(scope):
            return None  # the guide for agents
        if not below:
            return RedirectResponse(f"{scope.get('root_path', '')}{path}/")
        if below == "/api/sql" and not await self._are_all():
            return None
        if not self._is_open or not arena:
            return self._door if below == "/" or below.startswith("/static/") else None
        try:
            with anyio.move_on_after(_WITHIN_S):
                return await self._find(arena)
        except MeshError as error:
            print(f"mesh: the page of {arena} cannot be shown: {error}", file=sys.stderr, flush=True)
        return None

    async def _find(self, arena: str) -> ASGIApp | None:
        if arena not in self._pages:
            async with self._opening:
                if arena not in self._pages:
                    if arena not in await self._names():
                        return None
                    await self._tasks.start(self._keep, arena)
        return self._pages[arena][0]

    async def _keep(self, arena: str, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        is_here = False
        try:
            bus = await self._hub.arena(arena)
            async with open_page(
                self._hub,
                bus,
                home=self._home,
                hosts=self._hosts,
                takes_proposals=True,
                numbers=self._numbers,
            ) as page:
                self._pages[arena] = page
                is_here = True
                task_status.started()
                await anyio.sleep_forever()
        except MeshError as error:
            if not is_here:
                raise
            print(f"mesh: the page of {arena} ended: {error}", file=sys.stderr, flush=True)
        finally:
            self._pages.pop(arena, None)

    async def _are_all(self) -> bool:
        """Tell whether the gateway serves all arenas of its log: SQL reads them all."""
        return not self._only or all(name in self._only for name in await self._hub.arenas())

    async def _names(self) -> list[str]:
        return [name for name in await self._hub.arenas() if not self._only or name in self._only]

    async def _words(self, request: Request) -> Response:
        """Answer at `/` where no page is: why, or which pages there are."""
        if not self._is_open:
            return HTMLResponse(_HTML.format(_MEMBERS_ONLY), 401)
        try:
            names = await self._names()
        except BusError as error:
            return HTMLResponse(_HTML.format(f"<p>{escape(str(error))}</p>"), 503)
        rows = "".join(f'<li><a href="a/{escape(name)}/">{escape(name)}</a></li>' for name in names)
        return HTMLResponse(_HTML.format(f"<ul>{rows}</ul>" if rows else "<p>No arena is open here yet.</p>"))


@asynccontextmanager
async def serving_pages(
    hub: Hub,
    home: Path,
    *,
    only: Sequence[str],
    hosts: Sequence[str],
    numbers: bool,
    is_open: bool,
) -> AsyncIterator[GatewayPages]:
    """Keep pages current while the block runs.

    Args:
        hub: the server with all arenas.
        home: the folder with the database and the cached code.
        only: the arenas to show; none: all.
        hosts: host names that requests may name.
        numbers: whether requests may also name an IP address.
        is_open: whether strangers may read.
    """
    try:
        async with anyio.create_task_group() as tasks:
            yield GatewayPages(hub, home, tasks, only=only, hosts=hosts, numbers=numbers, is_open=is_open)
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise leaf(group) from None


def _is_browser(scope: Scope) -> bool:
    return b"text/html" in dict(scope.get("headers", ())).get(b"accept", b"")


def _is_of_page(path: str, scope: Scope) -> bool:
    if path in _PATHS or path.startswith(_BELOW):
        return True
    headers = dict(scope.get("headers", ()))
    if path == "/api/events":
        return b"text/event-stream" in headers.get(b"accept", b"")
    return path == "/api/sql" and b"authorization" not in headers

"""`/mcp` of an arena: the tools of MCP for members, within the same bounds as the routes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from gateway.http.entry import caller_of, error_answer, gateway_of, keyed
from gateway.http.rules import POLLING, check_all_arenas, check_pending, check_texts
from gateway.mcp_tools import Speaker
from mesh.errors import BadInput

if TYPE_CHECKING:
    from gateway.mcp_server import McpApp

_COUNTED = {"propose": "push", "critique": "post", "note": "post"}


class _Mcp:
    """The tools behind the check of keys, once `running` has loaded them: they take most of a second."""

    def __init__(self) -> None:
        self._app: McpApp | None = None
        self._checked = keyed(self._called)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let the tools work; without the library there are none."""
        try:
            from gateway.mcp_server import McpApp
        except ModuleNotFoundError:
            yield
            return
        self._app = McpApp(speaker_of=_speaker, rules=_rules)
        try:
            async with self._app.running():
                yield
        finally:
            self._app = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._checked(scope, receive, send)

    async def _called(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            missing = HTTPException(501, "this hub has no MCP; its operator can add it: pip install 'mesh-swarm[mcp]'")
            await error_answer(missing)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _speaker(request: HTTPConnection) -> Speaker:
    asking = caller_of(request)
    return Speaker(asking.author, is_observer=asking.role == "observer")


@asynccontextmanager
async def _rules(request: HTTPConnection, name: str, given: Any) -> AsyncIterator[None]:
    """Let a call pass that its member may make.

    Raises:
        BadInput: it may not, now or ever.
    """
    author, limits = caller_of(request).author, gateway_of(request).limits
    counted = _COUNTED.get(name, "")
    try:
        if name == "sql":
            await check_all_arenas(request)
        if name == "propose":
            check_pending(request)
        check_texts(request, dict(_texts(msgspec.to_builtins(given))))
        if counted:
            limits.take(counted, author)
        with POLLING.one(author) if name == "wait" else nullcontext():
            yield
    except HTTPException as refused:
        raise BadInput(str(refused.detail)) from None
    except BaseException:
        if counted == "post":  # a patch that does not fit is work too
            limits.give_back(counted, author)
        raise


def _texts(given: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the texts of a call, by what they are."""
    files = given.get("files", {})
    return [*files.items(), *((key, value) for key, value in given.items() if isinstance(value, str))]


MCP = _Mcp()
MCP_ROUTES: list[BaseRoute] = [Route("/mcp", endpoint=MCP)]

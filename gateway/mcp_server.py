"""MCP: the tools of `gateway.mcp_tools` over standard input and output, and as an ASGI app. Only it imports `mcp`.

Over HTTP nothing is kept between two requests. `McpApp` expects the arena's `Door` in the state of the request, as
`door`; who may call is decided before it. A client that goes away ends its call.
"""

import logging
import re
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import msgspec
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import Message, Receive, Scope, Send

import mesh
from gateway.mcp_lines import MAX_MESSAGE, InputLines, OutputLines, flaw_of, standard_streams
from gateway.mcp_tools import INSTRUCTIONS, TOOLS, Speaker, arguments_of, sentence_for_model, text_for, values_of
from mesh.errors import BadInput, BusUnavailable, MeshError, leaf

if TYPE_CHECKING:
    from gateway.door import Door

_CALL_S, _LONGEST_S = 25.0, 56.0
"""Seconds that a call may take while the log does not answer, and any call; clients give up after a minute."""

_Context = ServerRequestContext[Any]
CallRules = Callable[[Any, str, Any], AbstractAsyncContextManager[None]]
"""What a call has to pass, by its request, its tool and its arguments; it raises a `MeshError` where it may not."""


class Called(msgspec.Struct, frozen=True):
    """The answer of a tool: as text and as values, or one sentence that says what is wrong."""

    text: str
    values: dict[str, Any] | None = None
    is_error: bool = False


class Calls(Protocol):
    """What calls of tools go to."""

    async def __call__(self, name: str, arguments: dict[str, Any] | None, client: str, request: Any) -> Called:
        """Return the answer of a tool.

        Args:
            name: The tool.
            arguments: Its arguments, not checked.
            client: What the client calls itself, "" if it does not say.
            request: The HTTP request, None over standard input.
        """


def calls_of(
    open_door: Callable[[Any], Awaitable["Door"]],
    speaker_of: Callable[[str, Any], Speaker],
    rules: CallRules | None = None,
) -> Calls:
    """Return calls of the functions of the gateway.

    Args:
        open_door: Gives the door for a request.
        speaker_of: Gives who calls, by the client's name and the request.
        rules: What a call has to pass.
    """

    async def call(name: str, arguments: dict[str, Any] | None, client: str, request: Any) -> Called:
        try:
            given = arguments_of(name, arguments)
            tool = TOOLS[name]
            speaker = speaker_of(client, request)
            if speaker.is_observer and not tool.is_reading:
                raise BadInput(f"{speaker.author} is an observer, who reads and does not post")
            with anyio.fail_after(min(_CALL_S + tool.most_s, _LONGEST_S)):
                async with rules(request, name, given) if rules else nullcontext():
                    answer = await tool.work(await open_door(request), speaker, given)
            found = values_of(answer)
            return Called(text_for(found), found)
        except TimeoutError:
            raise BusUnavailable(
                f"the log did not answer in time; nothing is lost: call {name} again in a while"
            ) from None

    return call


def _server(calls: Calls) -> Server[Any]:
    async def list_tools(context: _Context, asked: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=name,
                    description=tool.about,
                    input_schema=tool.schema,
                    annotations=types.ToolAnnotations(
                        read_only_hint=tool.is_reading,
                        destructive_hint=False,
                        idempotent_hint=True,  # what is said again is there already
                        open_world_hint=False,
                    ),
                )
                for name, tool in TOOLS.items()
            ]
        )

    async def call_tool(context: _Context, asked: types.CallToolRequestParams) -> types.CallToolResult:
        sender = context.session.client_params
        client = sender.client_info.name if sender and sender.client_info else ""
        try:
            done = await calls(asked.name, asked.arguments, client, context.request)
        except Exception as error:
            cause = leaf(error)
            if isinstance(cause, MeshError):
                done = Called(sentence_for_model(str(cause)), is_error=True)
            else:
                traceback.print_exception(cause, file=sys.stderr)
                done = Called(f"{asked.name} failed; the log of the server has the reason", is_error=True)
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=done.text)],
            structured_content=done.values,
            is_error=done.is_error,
        )

    return Server(
        "mesh",
        version=mesh.__version__,
        title="A research swarm",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def author_name(client: str) -> str:
    """Return what a client calls itself as the name of an author."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", client).strip("-")[:40] or "agent"


async def serve_stdio(calls: Calls) -> None:
    """Serve one client over standard input and output until it goes away.

    From here on nothing but the protocol is written to standard output: what is printed goes to standard error.
    """
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("mcp").setLevel(logging.ERROR)  # a client's bad line is answered
    server = _server(calls)
    with standard_streams() as (read_from, write_to):
        output = OutputLines(write_to)
        streams: tuple[Any, Any] = InputLines(read_from, output), output
        async with anyio.create_task_group() as tasks, stdio_server(*streams) as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
            tasks.cancel_scope.cancel()


class McpApp:
    """The tools as an ASGI app for one path, whatever it is; `running` must be entered while it serves."""

    def __init__(
        self,
        *,
        speaker_of: Callable[[Any], Speaker],
        rules: CallRules | None = None,
        hosts: Sequence[str] = (),
        origins: Sequence[str] = (),
    ) -> None:
        """Make the app.

        Args:
            speaker_of: Gives who calls, by the request.
            rules: What a call has to pass.
            hosts: Values of Host that are accepted, `name:*` for any port; without any, somebody else has checked.
            origins: Values of Origin that are accepted; requests without one always are.
        """

        async def door(request: Any) -> "Door":
            found: Door = request.state.door
            return found

        def speaker(client: str, request: Any) -> Speaker:
            known = speaker_of(request)
            return known if known.model or not client else msgspec.structs.replace(known, model=author_name(client))

        self._manager = StreamableHTTPSessionManager(
            _server(calls_of(door, speaker, rules)),
            json_response=True,
            stateless=True,
            max_request_body_size=MAX_MESSAGE,
            security_settings=TransportSecuritySettings(
                enable_dns_rebinding_protection=bool(hosts), allowed_hosts=[*hosts], allowed_origins=[*origins]
            ),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let the app work; it can be entered once."""
        async with self._manager.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":  # a stream of news of ours, or a session to end: there is none
            return await _refuse(send, 405, "use POST", more=[(b"allow", b"POST")])
        body = await _body(receive)
        if body is None:
            return await _refuse(send, 413, f"the request is larger than {MAX_MESSAGE:,} bytes; send less")
        if flaw := flaw_of(body):
            return await _refuse(send, 400, flaw[1], code=flaw[0])
        gone = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_end_without_client, receive, gone, tasks.cancel_scope)
            await self._manager.handle_request(scope, _replay(body, gone), send)
            tasks.cancel_scope.cancel()
        return None


async def _body(receive: Receive) -> bytes | None:
    """Return the body of a request, None if it is too long."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_MESSAGE:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, gone: anyio.Event) -> Receive:
    """Return a `receive` that gives a body that was read before."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    return receive


async def _end_without_client(receive: Receive, gone: anyio.Event, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    gone.set()
    scope.cancel()


async def _refuse(
    send: Send, status: int, why: str, code: int = -32600, more: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    body = msgspec.json.encode({"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": why}})
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})

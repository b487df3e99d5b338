"""Calls of tools that go to the MCP address of a hub: the proxy holds the key, so that no client's settings need to."""

from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import msgspec

from gateway.mcp_server import Called, Calls
from mesh.errors import BadInput, BusUnavailable

KEY = "MESH_KEY"
"""The variable of the environment with the key."""

_REVISION = "2026-07-28"
_MOST_BYTES = 2 * 1024 * 1024
_TIMEOUT_S = 58.0


def hub_address(hub: str, arena: str = "") -> str:
    """Return the MCP address of a hub, or of an arena of it.

    Args:
        hub: The address of the hub, also with `/a/ARENA`, an invitation or `/mcp` behind it.
        arena: The arena, "" if the address has it or the hub has only one.

    Raises:
        BadInput: It is not an address.
    """
    try:
        parts = urlsplit(hub)
        good = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
        _ = parts.port
    except ValueError:
        good = False
    if not good or parts.username or parts.password:
        raise BadInput("the address of the hub is not valid; use http(s)://HOST[:PORT][/a/ARENA], without a key")
    path = parts.path.rstrip("/").removesuffix("/mcp")
    named = f"/a/{arena}" if arena and not path.startswith("/a/") else ""
    return f"{parts.scheme}://{parts.netloc}{path}{named}/mcp"


def calls_to(address: str, key: str, model: str = "") -> Calls:
    """Return calls that a hub answers.

    Args:
        address: Its MCP address.
        key: The key of the member who calls.
        model: The model that calls, "" for what the client calls itself.
    """
    import httpx2

    http = httpx2.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=True)

    async def call(name: str, arguments: dict[str, Any] | None, client: str, request: Any) -> Called:
        if not key:
            raise BadInput(f"the hub asks for a key; set {KEY} in the environment of `mesh mcp`")
        asked = _request(name, arguments or {}, model or client or "mesh mcp")
        headers = {
            "Authorization": f"Bearer {key}",
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            "MCP-Protocol-Version": _REVISION,
            "Mcp-Method": "tools/call",
            "Mcp-Name": name,
        }
        try:
            async with http.stream("POST", address, content=msgspec.json.encode(asked), headers=headers) as answer:
                body = b""
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > _MOST_BYTES:
                        raise BusUnavailable(f"the answer of {address} is longer than {_MOST_BYTES:,} bytes")
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise BusUnavailable(
                f"{address} does not answer ({type(error).__name__}); nothing is lost: call {name} again in a while"
            ) from None
        return _called(address, answer.status_code, body)

    return call


def _request(name: str, arguments: dict[str, Any], client: str) -> dict[str, Any]:
    prefix = "io.modelcontextprotocol/"
    about = {
        f"{prefix}protocolVersion": _REVISION,
        f"{prefix}clientInfo": {"name": client, "version": ""},
        f"{prefix}clientCapabilities": {},
    }
    params = {"name": name, "arguments": arguments, "_meta": about}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def _called(address: str, status: int, body: bytes) -> Called:
    """Return what a hub has answered."""
    found: Any = None
    with suppress(msgspec.MsgspecError, ValueError, RecursionError):
        found = msgspec.json.decode(body)
    try:
        if status == 200:
            result = found["result"]
            return Called(
                str(result["content"][0]["text"]), result.get("structuredContent"), bool(result.get("isError"))
            )
        error = found["error"]
        why = str(error["message"] if isinstance(error, dict) else error)
    except (LookupError, TypeError):
        why = f"it is not the MCP address of a hub (status {status})"
    if status == 401:
        why = f"the hub refuses the key; set {KEY} to the one that it gave when you registered"
    sentence = f"{address}: {' '.join(why.split())[:300]}"
    raise (BusUnavailable if status >= 500 else BadInput)(sentence)

"""One line of the structured log for each request that was answered; without invitations, which are secrets."""

import time
from typing import Any

from starlette.types import Message, Scope, Send

from mesh.log_lines import JsonLines, log_request


def logged(scope: Scope, path: str, send: Send) -> Send:
    """Return a `send` that writes the line of a request when its answer is complete, where logs are JSON.

    Args:
        scope: the request, whose state tells the arena and who asks.
        path: its path without prefix.
        send: sends the answer.
    """
    if not JsonLines.is_used():
        return send
    began, status = time.monotonic(), 0

    async def send_logged(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = int(message["status"])
        await send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            state: dict[str, Any] = scope["state"]
            who = getattr(state.get("caller"), "id", "")
            took_ms = (time.monotonic() - began) * 1000
            log_request(scope["method"], path, status, took_ms, arena=state.get("arena", ""), agent=who)

    return send_logged

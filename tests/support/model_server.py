"""A real HTTP server on loopback that speaks as an OpenAI-compatible model does, after a script of the test."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What the server answers to one request; `text` None and status 200 is an answer that never comes."""

    status: int = 200
    text: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    finish: str = "stop"
    usage: tuple[int, int] | None = (1000, 100)
    headers: Mapping[str, str] = {}

    def body(self, model: str) -> bytes:
        if self.status != 200:
            return json.dumps({"error": {"message": self.text or "no", "type": "error", "code": None}}).encode()
        message = {"role": "assistant", "content": self.text or None, "refusal": self.refusal}
        if self.reasoning is not None:
            message["reasoning_content"] = self.reasoning
        whole: dict[str, Any] = {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": self.finish}],
        }
        if self.usage:
            tokens = {"prompt_tokens": self.usage[0], "completion_tokens": self.usage[1]}
            whole["usage"] = tokens | {"total_tokens": sum(self.usage)}
        return json.dumps(whole).encode()


SILENCE = Reply()

Script = Reply | Callable[[str], Reply]
"""One answer, or what makes it from the text of all messages of the request."""


def say(text: str, **more: Any) -> Reply:
    return Reply(text=text, **more)


def fail(status: int, text: str = "no", **headers: str) -> Reply:
    """A failure; headers are spelled `retry_after`."""
    return Reply(status=status, text=text, headers={name.replace("_", "-"): value for name, value in headers.items()})


class ModelServer:
    """What was asked, as JSON and headers; an answer beyond the script is status 400."""

    def __init__(self, url: str, script: Sequence[Script]) -> None:
        self.url, self.script = url, list(script)
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.ended = threading.Event()

    def prompts(self) -> list[str]:
        """The text of all messages of each request."""
        return [text_of(body) for body in self.asked]


def text_of(body: Mapping[str, Any]) -> str:
    """The text of all messages of a request."""
    return "\n\n".join(message["content"] for message in body["messages"])


@contextmanager
def model_server(*script: Script) -> Iterator[ModelServer]:
    """A running server, gone with the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            data = self.rfile.read(size)
            if len(data) < size:  # who asked has died amid its question
                self.close_connection = True
                return
            body = json.loads(data)
            place = len(state.asked)
            state.asked.append(body)
            state.headers.append(dict(self.headers.items()))
            reply = state.script[place] if place < len(state.script) else fail(400, "the script of the test has ended")
            reply = reply if isinstance(reply, Reply) else reply(text_of(body))
            if reply == SILENCE:
                state.ended.wait()
                self.close_connection = True
                return
            data = reply.body(body["model"])
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state = ModelServer(f"http://127.0.0.1:{server.server_port}/v1", script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        state.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()

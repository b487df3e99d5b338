"""Metadata services of clouds over real HTTP, as AWS and Google document them, with a notice that a test gives."""

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NOTICE = {"action": "terminate", "time": "2026-11-27T23:59:00Z"}


class Metadata(ThreadingHTTPServer):
    """A metadata service; `asked` are its requests, as method and path."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.is_preempted = False
        self.tokens = set[str]()
        self.asked: list[str] = []

    @property
    def at(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_port}"


class _Service(BaseHTTPRequestHandler):
    server: Metadata

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def say(self, status: int, text: str, **headers: str) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Aws(_Service):
    """IMDSv2: PUT a token first; 401 without a valid one; 404 until there is a notice."""

    def do_PUT(self) -> None:
        self.server.asked.append(f"PUT {self.path}")
        if self.path != "/latest/api/token" or "X-Forwarded-For" in self.headers:
            return self.say(403, "")
        if not 1 <= int(self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "0")) <= 21600:
            return self.say(400, "")
        self.server.tokens.add(token := secrets.token_urlsafe(40))
        return self.say(200, token)

    def do_GET(self) -> None:
        self.server.asked.append(f"GET {self.path}")
        if self.headers.get("X-aws-ec2-metadata-token") not in self.server.tokens:
            return self.say(401, "")
        if self.path == "/latest/meta-data/spot/instance-action" and self.server.is_preempted:
            return self.say(200, json.dumps(NOTICE), Content_Type="application/json")
        return self.say(404, "<?xml version='1.0'?><html>404 - Not Found</html>")


class Google(_Service):
    """Compute Engine: both sides say `Metadata-Flavor: Google`; the value is TRUE or FALSE."""

    def do_GET(self) -> None:
        self.server.asked.append(f"GET {self.path}")
        if self.headers.get("Metadata-Flavor") != "Google":
            return self.say(403, "Missing required header: Metadata-Flavor")
        if self.path != "/computeMetadata/v1/instance/preempted":
            return self.say(404, "", Metadata_Flavor="Google")
        return self.say(200, "TRUE" if self.server.is_preempted else "FALSE", Metadata_Flavor="Google")

    def do_PUT(self) -> None:
        self.server.asked.append(f"PUT {self.path}")
        return self.say(404, "", Metadata_Flavor="Google")


@contextmanager
def metadata(kind: type[_Service]) -> Iterator[Metadata]:
    """Serve one until the block ends."""
    with Metadata(kind) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield served
        finally:
            served.shutdown()
            thread.join()

"""The HTTP side of the judge's proxy: one connection of a score program, as OpenAI and Anthropic speak."""

import hmac
import http.client
import json
import select
import socket
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol
from urllib.parse import urlsplit

from gpu_worker.judge.ledger import Exhausted
from gpu_worker.judge.question import NotAllowed, Question, question
from gpu_worker.judge.session import Session
from gpu_worker.judge.upstream import NoAnswer, WrongRequest, asked, read_whole
from gpu_worker.judge.usage import StreamMeter, usage_of

_MAX_BODY_BYTES = 32 << 20
_IDLE_S = 300.0
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class Sessions(Protocol):
    """Where a connection finds its session."""

    def of(self, token: str) -> Session | None:
        """Return the session with this token, None if there is none."""
        ...

    def alone(self, digest: str) -> Any:
        """Return a context in which nobody else asks the same question."""
        ...


class JudgeConnection(BaseHTTPRequestHandler):
    """Serves the requests of one connection, of the session `only` if it is not None."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S

    def __init__(self, opened: socket.socket, sessions: Sessions, only: Session | None) -> None:
        self._sessions, self._only = sessions, only
        super().__init__(opened, ("127.0.0.1", 0), None)  # type: ignore[arg-type]  # it uses no server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing: requests have tokens in them."""

    def version_string(self) -> str:
        return "mesh-judge"

    def do_GET(self) -> None:
        """List the models that may be asked."""
        if (session := self._session()) is None:
            return
        if urlsplit(self.path).path.removeprefix("/v1") != "/models":
            self._refuse(404, "the judge's proxy has no such page")
            return
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "judge"} for name in session.spec.models]
        self._answer(200, "application/json", json.dumps({"object": "list", "data": models}).encode())

    def do_POST(self) -> None:
        """Ask a model."""
        if (session := self._session()) is None:
            return
        if not (raw := self._body()):
            return
        path = urlsplit(self.path).path.removeprefix("/v1")
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            wanted = question(path, raw, headers, session.spec.models)
        except NotAllowed as error:
            if error.status != 400:
                session.refuse(str(error))
            self._refuse(error.status, str(error))
            return
        if not session.may_keep(wanted):
            self._ask(session, wanted)
            return
        with self._sessions.alone(wanted.digest):  # of several equal questions one is asked
            if found := session.kept(wanted):
                self._answer(200, found.content_type, found.body)
            else:
                self._ask(session, wanted)

    def _ask(self, session: Session, wanted: Question) -> None:
        try:
            number = session.begin(wanted, self._is_gone)
        except Exhausted as error:
            self._refuse(429, str(error))
            return
        try:
            with asked(session.upstream, wanted, self._is_gone, session.tell) as response:
                if wanted.streams:
                    self._pass_stream(session, wanted, number, response)
                else:
                    self._pass_whole(session, wanted, number, response)
        except WrongRequest as refusal:
            session.forget(number, wanted)
            self._answer(refusal.status, refusal.content_type, refusal.body)
        except NoAnswer as error:
            session.fail(number, wanted, str(error), is_charged=error.may_cost)
            self._refuse(502, str(error))

    def _pass_whole(self, session: Session, wanted: Question, number: int, response: http.client.HTTPResponse) -> None:
        try:
            body = read_whole(response)
            answer = json.loads(body)
        except (NoAnswer, ValueError, RecursionError) as error:
            sentence = str(error) if isinstance(error, NoAnswer) else "the model's server answered with no valid JSON"
            session.fail(number, wanted, sentence, is_charged=True)
            self._refuse(502, sentence)
            return
        body = session.upstream.without_key(body)
        kind = response.headers.get("Content-Type", "application/json")
        usage = usage_of(answer) if isinstance(answer, dict) else None
        session.end(number, wanted, usage, (kind, body))
        self._answer(200, kind, body)

    def _pass_stream(self, session: Session, wanted: Question, number: int, response: http.client.HTTPResponse) -> None:
        """Pass a stream on, line by line; read it to its end also where the client has gone, to know its price."""
        kind = response.headers.get("Content-Type", "text/event-stream")
        meter, passed, is_here = StreamMeter(), bytearray(), True
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for line in response:
                if not meter.passes(line, wants_usage=wanted.wants_usage):
                    continue
                data = session.upstream.without_key(line)
                passed += data
                if is_here:
                    try:
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                    except OSError:
                        is_here = False
        except (OSError, http.client.HTTPException):
            meter.ended = False
        if not meter.ended:
            self.close_connection = True
            session.fail(number, wanted, "the stream of the model's server broke off", is_charged=True)
            return
        session.end(number, wanted, meter.usage, (kind, bytes(passed)))
        if is_here:
            self.wfile.write(b"0\r\n\r\n")

    def _session(self) -> Session | None:
        """Return the session of this request; answer it and return None where it has none."""
        given = self.headers.get("x-api-key") or self.headers.get("api-key") or ""
        given = given or self.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        found = self._only or self._sessions.of(given)
        if found is None or found.is_closed or not hmac.compare_digest(found.token.encode(), given.encode()):
            self.close_connection = True
            self._refuse(
                401, "this is not the token of a run: use the key that the environment of the score program has"
            )
            return None
        return found

    def _body(self) -> bytes:
        """Return the body of the request; answer it and return nothing where it has none that is valid."""
        try:
            size = int(self.headers.get("Content-Length", ""))
        except ValueError:
            size = -1
        if not 0 < size <= _MAX_BODY_BYTES:
            self.close_connection = True
            self._refuse(413 if size > 0 else 411, f"the request needs a Content-Length of at most {_MAX_BODY_BYTES}")
            return b""
        raw = self.rfile.read(size)
        return raw if len(raw) == size else b""

    def _refuse(self, status: int, sentence: str) -> None:
        kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        error = {"message": sentence, "type": kind, "code": "judge", "param": None}
        self._answer(status, "application/json", json.dumps({"type": "error", "error": error}).encode(), final=True)

    def _answer(self, status: int, content_type: str, body: bytes, *, final: bool = False) -> None:
        with suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            if final:
                self.send_header("x-should-retry", "false")  # the clients of OpenAI and Anthropic obey it
            self.end_headers()
            self.wfile.write(body)

    def _is_gone(self) -> bool:
        """Tell whether the client has closed the connection."""
        try:
            ready, _, _ = select.select([self.connection], [], [], 0)
            return bool(ready) and not self.connection.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):
            return True

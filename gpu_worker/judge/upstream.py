"""Asks the provider of a model, with the key: one call, with further tries where the provider may answer later."""

import contextlib
import http.client
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from email.message import Message
from typing import IO, Any

import msgspec

from gpu_worker.judge.question import Question

_TRIES = 4
_TRY_WITHIN_S = 180.0
"""Seconds in which a provider has to say something."""
FIRST_WAIT_S, _MAX_WAIT_S = 0.5, 30.0
_MAX_ANSWER_BYTES = 64 << 20
_LATER = (408, 409, 429, 500, 502, 503, 504, 529)


class Upstream(msgspec.Struct, frozen=True):
    """A provider: the address of its API with `/v1`, the key, and the name of the variable that has it."""

    url: str
    key: str = ""
    key_name: str = ""

    def without_key(self, data: bytes) -> bytes:
        """Return bytes without the key in them."""
        return data.replace(self.key.encode(), f"***{self.key_name}***".encode()) if self.key else data


class NoAnswer(Exception):
    """The provider gave no answer; the message is one sentence. `may_cost` if it may charge for the call anyway."""

    def __init__(self, sentence: str, *, may_cost: bool = False) -> None:
        super().__init__(sentence)
        self.may_cost = may_cost


class WrongRequest(Exception):
    """The provider says that the request itself is wrong: its status, type and body, for the client."""

    def __init__(self, status: int, content_type: str, body: bytes) -> None:
        super().__init__(status)
        self.status, self.content_type, self.body = status, content_type, body


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the key is for this provider alone."""

    def redirect_request(self, req: Any, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


@contextlib.contextmanager
def asked(
    upstream: Upstream, question: Question, gone: Callable[[], bool], told: Callable[[str], None]
) -> Iterator[http.client.HTTPResponse]:
    """Ask the provider, and yield its answer with status 200.

    Args:
        upstream: the provider.
        question: what is asked.
        gone: whether nobody waits for the answer any more.
        told: called with a sentence about each try that failed.

    Raises:
        NoAnswer: it cannot be reached, does not answer, or refuses the key.
        WrongRequest: it refuses the request.
    """
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "mesh-judge"}
    headers |= {"Accept": "text/event-stream" if question.streams else "application/json"} | dict(question.extra)
    if upstream.key and question.path == "/messages":
        headers["x-api-key"] = upstream.key
    elif upstream.key:
        headers["Authorization"] = f"Bearer {upstream.key}"
    url, data = upstream.url.rstrip("/") + question.path, question.encoded()
    may_cost = False
    for attempt in range(_TRIES):
        after_s: float | None = None
        try:
            request = urllib.request.Request(url, data=data, headers=headers, method="POST")
            response = _OPENER.open(request, timeout=_TRY_WITHIN_S)
        except urllib.error.HTTPError as error:
            with error:
                body = upstream.without_key(_read(error))
            if error.code in (401, 403):
                named = f" of {upstream.key_name}" if upstream.key_name else ""
                raise NoAnswer(f"the model's server refuses the key{named} (status {error.code})") from None
            if error.code not in _LATER:
                kind = error.headers.get("Content-Type", "application/json")
                raise WrongRequest(error.code if error.code >= 400 else 502, kind, body) from None
            why, after_s = f"the model's server answers with status {error.code}", _retry_after_s(error.headers)
        except TimeoutError:
            why, may_cost = f"the model's server has not answered for {_TRY_WITHIN_S:g} s", True
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            why = f"the model's server cannot be reached: {reason}"
            may_cost = may_cost or not isinstance(error, urllib.error.URLError)
        else:
            with response:
                yield response
            return
        told(why)
        wait_s = FIRST_WAIT_S * 2**attempt * random.uniform(0.75, 1.25) if after_s is None else after_s
        if attempt == _TRIES - 1 or wait_s > _MAX_WAIT_S or _is_gone(gone, wait_s):
            raise NoAnswer(f"{why} ({attempt + 1} {'try' if attempt == 0 else 'tries'})", may_cost=may_cost) from None


def read_whole(response: http.client.HTTPResponse) -> bytes:
    """Return the body of an answer.

    Raises:
        NoAnswer: it breaks off, or is too large.
    """
    try:
        body = response.read(_MAX_ANSWER_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"the answer of the model's server broke off: {error}", may_cost=True) from None
    if len(body) > _MAX_ANSWER_BYTES:
        raise NoAnswer(f"the answer of the model's server has more than {_MAX_ANSWER_BYTES >> 20} MB", may_cost=True)
    return body


def _read(error: urllib.error.HTTPError) -> bytes:
    try:
        return error.read(1 << 20)
    except (OSError, http.client.HTTPException):
        return b""


def _retry_after_s(headers: Message) -> float | None:
    """Return how long the provider wants us to wait, None if it does not say."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return max(0.0, float(milliseconds) / 1000)
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:
        return None


def _is_gone(gone: Callable[[], bool], wait_s: float) -> bool:
    """Wait; return at once with true when nobody waits for the answer any more."""
    until = time.monotonic() + wait_s
    while time.monotonic() < until:
        if gone():
            return True
        time.sleep(min(0.1, max(0.0, until - time.monotonic())))
    return gone()

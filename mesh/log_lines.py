"""What a process says on standard error: sentences for people, or one JSON object a line (`MESH_LOG=json`).

As JSON, each sentence has its time and its process, and each fact that the process posts has a line with the ids of its
post, its run and its proposal. A child process that writes to the same stream by itself is not changed.
"""

import datetime as dt
import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO, cast

import msgspec

from mesh import settings
from mesh.wire import Post

LOG_OPTION = (
    "Write JSON objects to standard error, one a line, also one for each fact that is posted (also MESH_LOG=json)."
)
"""What the option says of itself."""
_IDS = ("run", "proposal", "tree", "target", "boot", "attempt", "lane", "worker", "reason")
"""Fields of facts that say what they are about."""


@contextmanager
def log_lines(process: str, *, json: bool = False) -> Iterator[None]:
    """Write JSON objects to standard error while the block runs, where the setting `log` or `json` wants that.

    Raises:
        BadInput: the settings cannot be read.
    """
    if not json and settings.value("log") != "json":
        yield
        return
    plain = sys.stderr
    made = JsonLines(plain, process)
    sys.stderr = cast(TextIO, made)
    try:
        yield
    finally:
        made.end()
        sys.stderr = plain


class JsonLines(io.TextIOBase):
    """Standard error on which every line becomes a JSON object."""

    def __init__(self, out: TextIO, process: str) -> None:
        self._out, self._process, self._rest = out, process, ""

    @classmethod
    def is_used(cls) -> bool:
        """Whether standard error is one."""
        return isinstance(sys.stderr, cls)

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in filter(None, lines):
            self.object({"text": line.removeprefix(f"{self._process}: ")})
        return len(text)

    def object(self, fields: Mapping[str, object]) -> None:
        """Write one object, with its time and its process before the other fields."""
        now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        line = msgspec.json.encode({"time": now, "process": self._process, **fields}).decode()
        self._out.write(f"{line}\n")
        self._out.flush()

    def flush(self) -> None:
        self._out.flush()

    def end(self) -> None:
        """Write what has no end of line yet."""
        if self._rest:
            self.write("\n")

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._out.fileno()


def log_fact(arena: str, post: Post, seq: int) -> None:
    """Write the line of a fact that this process has posted, if it writes JSON."""
    if not isinstance(sys.stderr, JsonLines):
        return
    event = post.event
    ids = {name: found for name in _IDS if (found := getattr(event, name, None)) not in (None, "")}
    outcome = getattr(event, "outcome", None)
    if outcome is not None:
        ids["outcome"] = getattr(outcome, "reason", "") or str(outcome.__struct_config__.tag)
    about = {"arena": arena, "kind": post.kind, "seq": seq, "post": post.id, "author": post.author}
    sys.stderr.object(about | ({"cause": post.cause} if post.cause else {}) | ids)


def log_request(method: str, path: str, status: int, took_ms: float, **of: str) -> None:
    """Write the line of an HTTP request that was answered, if this process writes JSON; `of` says whose and where."""
    if isinstance(sys.stderr, JsonLines):
        more = {name: text for name, text in of.items() if text}
        sys.stderr.object({"method": method, "path": path, "status": status, "ms": round(took_ms, 1), **more})

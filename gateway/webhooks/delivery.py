"""Posts facts to webhooks: in order, at least once, from a cursor on disk, and with longer and longer pauses.

Every hook has a cursor per arena. A fact is sent again until its receiver answers 2xx; the facts after it wait.
"""

import datetime as dt
import hashlib
import ssl
from collections.abc import Callable, Sequence
from contextlib import aclosing
from email.utils import parsedate_to_datetime
from pathlib import Path

import anyio
import httpx
import msgspec

from gateway.webhooks.hooks_file import Hook
from gateway.webhooks.public_address import checked_address
from gateway.webhooks.signing import body_of, signed_headers
from mesh.atomic_write import atomic_write
from mesh.bus import Bus
from mesh.errors import BadInput, BusUnavailable
from mesh.events import NotePosted
from mesh.follow import Follower
from mesh.text import printable
from mesh.times import duration
from mesh.wire import Entry, Pattern, Post

PAUSES_S = (5.0, 30.0, 120.0, 600.0, 3600.0, 3 * 3600.0, 6 * 3600.0)
"""Seconds after each attempt that failed; after the last one, the hook is switched off."""
ATTEMPT_S = 15.0
"""Seconds that one attempt may take; its receiver does its work after its answer."""
_AUTHOR = "gateway"
_GONE = 410
_BUSY = (429, 503)
_LOOK_S = 5.0


class HookDelivery:
    """Sends the facts of one arena to one hook."""

    def __init__(
        self,
        hook: Hook,
        bus: Bus,
        follower: Follower,
        folder: Path,
        say: Callable[[str], None],
        *,
        private: bool = False,
        whole: bool = False,
        pauses: Sequence[float] = PAUSES_S,
    ) -> None:
        """Prepare; `run` sends.

        Args:
            hook: The address and its key.
            bus: The log of the arena.
            follower: Its board; another task must run `follow`. Facts that do not count are not sent.
            folder: Where the cursor is kept.
            say: Told what goes wrong, in one line.
            private: Also reach addresses that are not public.
            whole: Whether a new hook begins with the first entry of the log, not with what comes from now on.
            pauses: Seconds after each attempt that failed.
        """
        self._hook, self._bus, self._follower, self._say = hook, bus, follower, say
        self._private, self._whole, self._pauses = private, whole, pauses
        self._cursor = Cursor(folder / f"{hook.name}.{bus.arena}.json", hook.url)
        self._patterns = [Pattern(kind=kind) for kind in hook.kinds]
        self._tls = ssl.create_default_context(cafile=hook.ca) if hook.ca else httpx.create_ssl_context(trust_env=False)

    async def run(self) -> None:
        """Send what comes, until it is cancelled or the hook is switched off. A lost log is waited for."""
        try:
            await self._run()
        except BadInput as error:  # the cursor cannot be written
            self._say(f"webhook {self._hook.name} is switched off: {error}")

    async def _run(self) -> None:
        after = await self._cursor.begin(self._bus, whole=self._whole)
        while True:
            try:
                async with aclosing(self._bus.read(after, follow=True, only=self._patterns)) as batches:
                    async for batch in batches:
                        for entry in batch:
                            await self._follower.reached(entry.seq)
                            if not await self._arrives(entry):
                                return
                            after = entry.seq
                            self._cursor.write(after)
            except BusUnavailable:
                await anyio.sleep(_LOOK_S)

    async def _arrives(self, entry: Entry) -> bool:
        """Send an entry until it is taken, if its fact counts; return whether the next one may follow."""
        if entry.post is None or entry.seq in self._follower.board.void:
            return True
        trouble = await self._attempt(entry)
        return trouble is None or await self._again(entry, trouble)

    async def _again(self, entry: Entry, trouble: "Trouble") -> bool:
        """Send an entry again and again; return whether it arrived."""
        what = f"webhook {self._hook.name}: {self._bus.arena}.{entry.seq}"
        for number, pause in enumerate(self._pauses, start=1):
            if trouble.is_final:
                break
            wait = max(pause, min(trouble.retry_after_s, self._pauses[-1]))
            self._say(f"{what} was not taken ({trouble.text}); attempt {number + 1} follows in {duration(wait)}")
            await anyio.sleep(wait)
            found = await self._attempt(entry)
            if found is None:
                return True
            trouble = found
        words = (
            f"The webhook {self._hook.name} is switched off: its receiver did not take entry {entry.seq}"
            f" ({trouble.text}). Nothing is lost: it goes on with that entry when the gateway is started again."
        )
        self._say(words)
        await self._bus.post(Post.new(_AUTHOR, NotePosted(channel="general", text=words)))
        return False

    async def _attempt(self, entry: Entry) -> "Trouble | None":
        """Send an entry once; return what went wrong."""
        body = body_of(self._bus.arena, entry)
        try:
            with anyio.fail_after(ATTEMPT_S):
                return await self._send(body, entry.seq)
        except TimeoutError:
            return Trouble(f"no answer within {ATTEMPT_S:g} s")
        except BadInput as error:
            return Trouble(str(error))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return Trouble(printable(str(error) or type(error).__name__, 120))

    async def _send(self, body: bytes, seq: int) -> "Trouble | None":
        url = httpx.URL(self._hook.url)
        port = url.port or (443 if url.scheme == "https" else 80)
        address = await checked_address(url.host, port, private=self._private)
        headers = {
            **self._hook.headers,
            **signed_headers(self._hook.key, self._bus.arena, seq, body, dt.datetime.now(dt.UTC)),
            "host": url.netloc.decode("ascii"),
            "content-type": "application/json",
            "user-agent": "mesh-gateway",
        }
        # The address that was checked is the one that is reached: the name is not looked up again.
        async with httpx.AsyncClient(verify=self._tls, trust_env=False, timeout=ATTEMPT_S) as client:
            request = client.build_request(
                "POST",
                url.copy_with(host=address),
                content=body,
                headers=headers,
                extensions={"sni_hostname": url.host},
            )
            answer = await client.send(request, stream=True, follow_redirects=False)
            try:
                return _trouble(answer)
            finally:
                await answer.aclose()  # whatever else it says is not read


class Trouble(msgspec.Struct, frozen=True):
    """Why an attempt failed, how long the receiver asks to be left alone, and whether it wants no more."""

    text: str
    retry_after_s: float = 0.0
    is_final: bool = False


def _trouble(answer: httpx.Response) -> Trouble | None:
    if answer.is_success:
        return None
    if answer.is_redirect:
        return Trouble(f"it answers {answer.status_code}, and redirects are not followed; set its final url")
    if answer.status_code == _GONE:
        return Trouble("it answers 410: it wants no more", is_final=True)
    wait = _seconds(answer.headers.get("retry-after", "")) if answer.status_code in _BUSY else 0.0
    return Trouble(f"it answers {answer.status_code}", retry_after_s=wait)


def _seconds(text: str) -> float:
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, (parsedate_to_datetime(text) - dt.datetime.now(dt.UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


class _Kept(msgspec.Struct):
    log: str
    url: str
    seq: int


class Cursor:
    """The last entry of a log that a hook's receiver has taken, in a file."""

    def __init__(self, file: Path, url: str) -> None:
        self._file, self._log = file, ""
        self._url = hashlib.sha256(url.encode()).hexdigest()[:16]  # an url may have a secret in its path

    async def begin(self, bus: Bus, *, whole: bool) -> int:
        """Return the entry to go on after: the kept one, else the log's last one, or 0 for the whole log.

        Raises:
            BadInput: the folder cannot be written.
        """
        while True:
            try:
                self._log, head = await bus.identity(), await bus.head()
                break
            except BusUnavailable:
                await anyio.sleep(_LOOK_S)
        try:
            kept = msgspec.json.decode(self._file.read_bytes(), type=_Kept)
        except (OSError, msgspec.MsgspecError):
            kept = None
        if kept and (kept.log, kept.url) == (self._log, self._url) and kept.seq <= head:
            return kept.seq
        after = 0 if whole else head
        self.write(after)
        return after

    def write(self, seq: int) -> None:
        """Keep an entry as taken.

        Raises:
            BadInput: The folder cannot be written.
        """
        try:
            with atomic_write(self._file, private=True) as beside:
                beside.write_bytes(msgspec.json.encode(_Kept(self._log, self._url, seq)))
        except OSError as error:
            raise BadInput(f"the cursor {self._file} of a webhook cannot be written: {error.strerror}") from None


async def run_hooks(deliveries: Sequence[HookDelivery]) -> None:
    """Run deliveries side by side until cancelled; one that is switched off stops none of the others."""
    async with anyio.create_task_group() as tasks:
        for each in deliveries:
            tasks.start_soon(each.run)

"""The objects of a stream: each is one message or several, named by a subject.

Of several messages with one subject the first is the object: who writes without our headers can add a message, and may
not change what was there. Whose first message is not what its name says, the reader of the object refuses by its hash.
"""

import re
from collections.abc import Callable
from contextlib import suppress

import anyio
import msgspec

from mesh.errors import BusRefused, ObjectMissing
from mesh.jetstream.acks import WRONG_LAST_SEQUENCE
from mesh.jetstream.closing import TRANSIENT
from mesh.jetstream.link import Link
from mesh.jetstream.live import CHUNK

_MEMBERS_CHUNK = 256 * 1024
"""Bytes of a message of an object from a member, who may send less at a time."""

_LATE_TRIES, _LATE_S = 10, 0.1
"""How often a member asks a cluster again for an object that one of its servers lacks, and seconds between."""

_COUNT = re.compile(r"[0-9]{1,9}")


class Absent(ObjectMissing):
    """The server answered that there is no such object."""


class Chunk(msgspec.Struct, frozen=True):
    """A message of an object: its sequence, its bytes, and the number of messages of the object."""

    seq: int
    data: bytes
    count: int


class ObjectStream:
    """The objects of one arena in one stream; `subject` gives that of a chunk of an object."""

    def __init__(self, link: Link, arena: str, stream: str, subject: Callable[[str, int], str]) -> None:
        self.stream = stream
        self._link, self._arena, self._subject = link, arena, subject

    async def put(self, name: str, data: bytes) -> None:
        """Store an object; do nothing if it exists."""
        size = _MEMBERS_CHUNK if self._link.member else CHUNK
        chunks = [data[start : start + size] for start in range(0, max(len(data), 1), size)]
        # The first chunk is stored last: if it exists, all others do.
        for number in reversed(range(len(chunks))):
            headers = {"Nats-Expected-Last-Subject-Sequence": "0", "Mesh-Chunks": str(len(chunks))}
            subject = self._subject(name, number)
            ack, _ = await self._link.append(subject, chunks[number], headers)
            if ack.error and ack.error.err_code not in WRONG_LAST_SEQUENCE:
                raise BusRefused(f"object {subject}: {ack.error.description}")

    async def get(self, name: str, *, is_listed: bool = False) -> bytes:
        """Return the bytes of an object; one that `is_listed` is waited for where a replica is behind.

        Raises:
            ObjectMissing: there is none, or it is damaged.
        """
        first = await self.chunk(name, is_listed=is_listed)
        more = [(await self.chunk(name, number, is_listed=is_listed)).data for number in range(1, first.count)]
        return b"".join([first.data, *more])

    async def chunk(self, name: str, number: int = 0, *, is_listed: bool = False) -> Chunk:
        """Return one message of an object, the first of its subject; raises as `get`."""
        first = msgspec.json.encode({"seq": 1, "next_by_subj": self._subject(name, number)})
        give_up = anyio.current_time() + self._link.patience_s
        while True:
            try:
                msg = await self._link.request(f"$JS.API.DIRECT.GET.{self.stream}", first)
            except TRANSIENT as error:
                if anyio.current_time() > give_up:
                    raise ObjectMissing(f"object {name} of arena {self._arena} cannot be read: {error}") from None
                await anyio.sleep(0.2)
                continue
            headers = msg.headers or {}
            if (
                headers.get("Status") == "404"
                and not is_listed
                and not await self._is_late(self._subject(name, number))
            ):
                raise Absent(f"arena {self._arena} has no object {name}")
            if "Nats-Sequence" in headers:
                count = headers.get("Mesh-Chunks", "1")
                if not _COUNT.fullmatch(count):
                    said = f"it has {count[:40]!r} chunks"
                    raise ObjectMissing(f"object {name} of arena {self._arena} is damaged: {said}")
                return Chunk(int(headers["Nats-Sequence"]), msg.data, int(count))
            if anyio.current_time() > give_up:
                raise ObjectMissing(f"object {name} of arena {self._arena} cannot be read: {headers}")
            await anyio.sleep(0.2)

    async def _is_late(self, subject: str) -> bool:
        """Tell whether a cluster has what one of its servers has not yet; a member asks others of them for a while."""
        if not self._link.is_clustered:
            return False
        if self._link.member is None:
            answer = await self._link.call(f"$JS.API.STREAM.MSG.GET.{self.stream}", {"last_by_subj": subject})
            return "message" in answer
        for _ in range(_LATE_TRIES):
            await anyio.sleep(_LATE_S)
            with suppress(*TRANSIENT):
                msg = await self._link.request(f"$JS.API.DIRECT.GET.{self.stream}.{subject}")
                if "Nats-Sequence" in (msg.headers or {}):
                    return True
        return False

    async def names(self) -> dict[str, int]:
        """Return the names of the whole objects with the number of their messages; none if there is no stream."""
        chunks: dict[str, set[str]] = {}
        offset = 0
        while True:
            request = {"subjects_filter": ">", "offset": offset}
            answer = await self._link.call(f"$JS.API.STREAM.INFO.{self.stream}", request)
            page: dict[str, int] = (answer.get("state") or {}).get("subjects") or {}
            for subject in page:
                name, number = subject.split(".")[-2:]
                chunks.setdefault(name, set()).add(number)
            offset += len(page)
            if not page or offset >= int(answer.get("total", 0)):
                return {name: len(numbers) for name, numbers in chunks.items() if "0" in numbers}

    async def exists(self) -> bool:
        """Tell whether the server has the stream."""
        return "error" not in await self._link.call(f"$JS.API.STREAM.INFO.{self.stream}", {})

    async def keeps_all(self) -> bool:
        """Tell whether the server lets nobody delete an object."""
        answer = await self._link.call(f"$JS.API.STREAM.INFO.{self.stream}", {})
        return bool((answer.get("config") or {}).get("deny_delete"))

    async def delete(self, seq: int) -> None:
        """Delete a message; do nothing if it is gone.

        Raises:
            BusRefused: the server refuses it.
        """
        answer = await self._link.call(f"$JS.API.STREAM.MSG.DELETE.{self.stream}", {"seq": seq, "no_erase": True})
        why = (answer.get("error") or {}).get("description", "")
        if why and not why.endswith(("not found", "no message found")):
            raise BusRefused(f"the server does not delete message {seq} of stream {self.stream}: {why}")

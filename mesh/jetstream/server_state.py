"""What the server tells an operator of the streams: how much waits in each lane, and how fast the store grows."""

import datetime as dt
from typing import Any

import msgspec

from mesh.bus import WORKERS
from mesh.errors import BusRefused
from mesh.events import LANES
from mesh.jetstream.link import Link
from mesh.jetstream.streams import stream_of

_NO_SUCH = (10014, 10059)
"""Error codes: there is no such consumer, no such stream."""


class LaneLag(msgspec.Struct, frozen=True):
    """Requests of a lane: `pending` were given to nobody, `ack_pending` were given and are not finished."""

    pending: int
    ack_pending: int


class StreamSize(msgspec.Struct, frozen=True):
    """The size of a stream, and the times of its first and last message."""

    name: str
    bytes: int
    first: dt.datetime
    last: dt.datetime


def lane_consumer(lane: str) -> str:
    """Return the name of the consumer from which workers take the runs of a lane."""
    return f"{WORKERS}_run-requested-{lane}"


async def lane_lags(link: Link, arena: str) -> dict[str, LaneLag]:
    """Return the lag of every lane that has a consumer.

    Raises:
        BusError: the server does not answer, or does not tell this user.
    """
    found: dict[str, LaneLag] = {}
    for lane in LANES:
        answer = await link.call(f"$JS.API.CONSUMER.INFO.{stream_of(arena)}.{lane_consumer(lane)}", {})
        if not _is_missing(answer):
            found[lane] = LaneLag(int(answer["num_pending"]), int(answer["num_ack_pending"]))
    return found


async def stream_sizes(link: Link) -> list[StreamSize]:
    """Return the size of every stream that has a message.

    Raises:
        BusError: the server does not answer, or does not tell this user.
    """
    found: list[StreamSize] = []
    seen = 0
    while True:
        answer = await link.call("$JS.API.STREAM.LIST", {"offset": seen})
        _is_missing(answer)
        page: list[dict[str, Any]] = answer.get("streams") or []
        seen += len(page)
        for stream in page:
            state = stream["state"]
            if int(state["messages"]):
                first, last = (msgspec.convert(state[name], dt.datetime) for name in ("first_ts", "last_ts"))
                found.append(StreamSize(stream["config"]["name"], int(state["bytes"]), first, last))
        if not page or seen >= int(answer.get("total", 0)):
            return found


def _is_missing(answer: dict[str, Any]) -> bool:
    """Tell whether a consumer does not exist.

    Raises:
        BusRefused: the server refuses for another reason.
    """
    error: dict[str, Any] = answer.get("error") or {}
    if error and error.get("err_code") not in _NO_SUCH:
        raise BusRefused(f"the server does not tell the state of its streams: {error.get('description')}")
    return bool(error)

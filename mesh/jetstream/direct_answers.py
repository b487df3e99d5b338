"""Makes entries of the messages that a server answers to direct gets, and of those it repeats as it stores them.

The server writes what it knows of an entry into headers behind those of whoever posted it. So the last header of a name
is the server's, and one before it, which anybody may have posted, is never believed.
"""

import datetime as dt
from collections.abc import Mapping, Sequence

from mesh import wire
from mesh.jetstream.closing import Interrupted
from mesh.jetstream.quick import STORED, HeadedMessage
from mesh.wire import Entry

_SUBJECT, _TIME, _BEFORE = (
    b"\r\nNats-Subject: ",
    b"\r\nNats-Time-Stamp: ",
    b"\r\nNats-Last-Sequence: ",
)


def raw_headers(headers: Mapping[str, str] | None) -> bytes:
    """Return headers that nats-py has read as the server sends them."""
    return b"NATS/1.0" + b"".join(f"\r\n{name}: {value}".encode() for name, value in (headers or {}).items()) + b"\r\n"


def sequence_of(head: bytes) -> int:
    """Return the sequence in the headers of an entry.

    Raises:
        Interrupted: there is none.
    """
    return int(_last(head, STORED))


def entries_of(messages: Sequence[HeadedMessage], *, is_batch: bool = False, prefix: str = "") -> list[Entry]:
    """Return the entries in messages.

    Args:
        messages: the messages, in the order of their entries.
        is_batch: whether they answer one question, so that each names the entry before it.
        prefix: what precedes the subject of an entry in that of its message; "": the headers have the subject.

    Raises:
        Interrupted: a message is missing, or is not an entry.
    """
    seqs, times, subjects = list[int](), list[dt.datetime](), list[str]()
    before = 0
    for said, head, _ in messages:
        seq = sequence_of(head)
        if is_batch and before and int(_last(head, _BEFORE)) != before:
            raise Interrupted(f"a reader missed entries before {seq}")
        seqs.append(seq)
        before = seq
        subjects.append(said.removeprefix(prefix) if prefix else _last(head, _SUBJECT).decode(errors="replace"))
        times.append(dt.datetime.fromisoformat(_last(head, _TIME).decode()))
    return wire.log_entries(seqs, times, subjects, [data for _, _, data in messages])


def _last(head: bytes, name: bytes) -> bytes:
    """Return the value of the last header of a name."""
    at = head.rfind(name)
    if at < 0:
        raise Interrupted(f"an answer of the server has no {name.decode().strip(': ')}")
    return head[at + len(name) : head.index(b"\r\n", at + len(name))]

"""Fills a stream with millions of facts or objects in minutes: raw bytes over a socket, an answer per thousand.

The facts are those of `benchmarks.parts.mix`, with the headers of `bus.post`. Ten thousand are encoded once; for every
further ten thousand the hashes and ids in them are replaced, so that no key comes twice.
"""

import os
import re
import socket
from collections.abc import Iterator

from benchmarks.parts.harness import say
from benchmarks.parts.mix import posts
from mesh import wire

AT_ONCE = 1000
"""Messages of which the last is answered."""
_AHEAD = 4
"""Thousands that wait for their answer; a stream drops messages when it has 10,000 to store."""
_TEMPLATE = 10_000
_HASHES = re.compile(rb"\b(?:[0-9a-f]{40}|[0-9a-f]{16}(?=-explore)|[0-9a-f]{8}(?=-[0-9a-f]{4}-[0-9a-f]{4}-))")
_DIGITS = 6


def facts(arena: str, count: int) -> Iterator[bytes]:
    """Yield `count` facts of an arena as messages for the wire, `AT_ONCE` at a time; `count` is a multiple of that."""
    parts = [bytearray() for _ in range(_TEMPLATE // AT_ONCE)]
    for number, post in enumerate(posts("", _TEMPLATE, settled=True)):
        headers = {
            "Nats-Msg-Id": post.id,
            "Nats-Expected-Last-Subject-Sequence": "0",
            "Nats-Expected-Last-Subject-Sequence-Subject": wire.key_filter(arena, post),
        }
        is_last = number % AT_ONCE == AT_ONCE - 1
        parts[number // AT_ONCE] += _message(wire.subject_of(arena, post), headers, wire.encode(post), is_last=is_last)
    places = [[found.start() for found in _HASHES.finditer(part)] for part in parts]
    for number in range(count // AT_ONCE):
        which = number % len(parts)
        part, digits = parts[which], b"%06x" % (number // len(parts))
        for place in places[which]:
            part[place : place + _DIGITS] = digits
        yield bytes(part)


def objects(arena: str, count: int, size: int) -> Iterator[bytes]:
    """Yield `count` objects of `size` bytes that cannot be compressed, `AT_ONCE` at a time."""
    headers = {"Nats-Expected-Last-Subject-Sequence": "0", "Mesh-Chunks": "1"}
    pool = os.urandom(size + AT_ONCE)
    for start in range(0, count, AT_ONCE):
        yield b"".join(
            _message(
                wire.object_subject(arena, f"{start + n:08x}{os.urandom(16).hex()}", 0),
                headers,
                pool[n : n + size],
                is_last=n == AT_ONCE - 1,
            )
            for n in range(AT_ONCE)
        )


def _message(subject: str, headers: dict[str, str], data: bytes, *, is_last: bool) -> bytes:
    head = ("NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n").encode()
    reply = " filled" if is_last else ""
    return f"HPUB {subject}{reply} {len(head)} {len(head) + len(data)}\r\n".encode() + head + data + b"\r\n"


def fill(url: str, messages: Iterator[bytes]) -> None:
    """Send all messages and wait until the server has stored them.

    Raises:
        RuntimeError: the server refuses one.
    """
    host, _, port = url.removeprefix("nats://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=120) as connection:
        lines = connection.makefile("rb")
        lines.readline()
        connection.sendall(b'CONNECT {"verbose":false,"headers":true}\r\nSUB filled 1\r\n')
        sent = answered = 0

        def hear() -> None:
            nonlocal answered
            while True:
                line = lines.readline()
                if line == b"PING\r\n":
                    connection.sendall(b"PONG\r\n")
                elif line.startswith(b"MSG "):
                    answer = lines.read(int(line.split()[-1]) + 2)
                    if b'"error"' in answer:
                        raise RuntimeError(answer.decode())
                    answered += 1
                    return
                elif not line or line.startswith(b"-ERR"):
                    raise RuntimeError(f"the server ended the connection: {line.decode()}")

        for message in messages:
            connection.sendall(message)
            sent += 1
            if sent - answered >= _AHEAD:
                hear()
            if sent % 500 == 0:
                say(f"{sent * AT_ONCE:,} are written")
        while answered < sent:
            hear()

"""nats-py's client with a quicker reader of headers: nats-py looks at every letter, a third of reading a fact."""

from nats.aio.client import Client

_PLAIN = b"NATS/1.0\r\n"
"""How headers begin that have no status in their first line."""


class HeaderClient(Client):
    """A client that reads the headers of messages as nats-py does, in less time."""

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        if headers and headers.startswith(_PLAIN):
            return read_headers(headers[len(_PLAIN) :]) or None
        return await super()._process_headers(headers)


def read_headers(lines: bytes) -> dict[str, str]:
    """Return the headers in lines of `Name: value`; a name that is not ASCII or has spaces is left out."""
    found: dict[str, str] = {}
    for line in lines.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        name = name.strip()
        if colon and name.isascii() and (not name or len(name.split(maxsplit=1)) == 1):
            found[name.decode()] = value.strip().decode("utf-8", "replace")
    return found

"""The bus over NATS JetStream: `async with connect(url) as hub`. The only package that knows nats.

`link` keeps one connection alive, `log` appends to and reads a stream, `queue` shares work, `live` carries what is
not a fact, `hub` puts them together; `lean` comes first, for it imports nats.
"""

from mesh.jetstream import lean
from mesh.jetstream.hub import JetStreamBus, JetStreamHub, connect

__all__ = ["JetStreamBus", "JetStreamHub", "connect", "lean"]

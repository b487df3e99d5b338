"""The bus over NATS JetStream: `async with connect(url) as hub`. It is the only package that uses nats-py.

`link` keeps one connection alive, `log` appends to and reads a stream, `queue` shares work, and `live` carries live
messages. `objects` stores what lies beside the log, and `grouped` moves it into groups. `hub` puts them together.
`lean` must be imported first, because it imports nats-py.
"""

from mesh.jetstream import lean
from mesh.jetstream.hub import JetStreamBus, JetStreamHub, connect

__all__ = ["JetStreamBus", "JetStreamHub", "connect", "lean"]

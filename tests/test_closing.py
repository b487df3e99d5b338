"""A client is closed whatever happened to it before."""

from typing import Any

import nats

from mesh.jetstream.closing import close_client
from mesh.server import EmbeddedServer


async def test_a_client_is_closed_though_an_earlier_close_was_cut_off_while_it_waited(server: EmbeddedServer) -> None:
    client = await nats.connect(server.url)
    transport: Any = client._transport
    stream = transport._io_writer
    stream._protocol._get_close_waiter(stream).cancel()  # what being cut off does to the future that all wait for
    await close_client(client)
    assert client.is_closed

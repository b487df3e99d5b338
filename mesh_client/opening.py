"""`connect` and `aconnect`: open an arena from Python."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio

from gateway.reach import door_of, follower_of, open_hub, pick
from mesh.errors import BadInput, leaf
from mesh.wire import check_token
from mesh_client.aclient import AsyncClient
from mesh_client.client import Client
from mesh_client.over_hub import OverHub
from mesh_client.over_log import OverLog


def connect(
    arena: str | None = None,
    *,
    nats: str | None = None,
    hub: str | None = None,
    key: str | None = None,
    credentials: str | Path | None = None,
    name: str | None = None,
) -> Client:
    """Open an arena, and return a client for a plain script or a notebook; close it, or use it in a `with` block.

    Without an address it is found as the command line does: the settings, else the swarm of this folder. Where none
    runs, the client serves the log of this folder itself as long as it is open.

    Args:
        arena: The name of the arena; by default that of the settings, else the only one.
        nats: The address of the NATS server.
        hub: The address of a hub (`mesh gateway`) instead, such as `https://HOST/a/ARENA`; what needs the log itself,
            such as `board`, `files` and `study`, is not there.
        key: The key of a member of the hub; by default that in `MESH_KEY`.
        credentials: A file with credentials for it.
        name: Who posts, as the log names them; by default the member of the credentials, else `operator`. Through a hub
            it is the member of the key.

    Raises:
        BadInput: An argument is not valid, or there are several arenas.
        BusUnavailable: No server answers.
        UnknownName: There is no such arena.
    """
    return Client(partial(aconnect, arena, nats=nats, hub=hub, key=key, credentials=credentials, name=name))


@asynccontextmanager
async def aconnect(
    arena: str | None = None,
    *,
    nats: str | None = None,
    hub: str | None = None,
    key: str | None = None,
    credentials: str | Path | None = None,
    name: str | None = None,
) -> AsyncIterator[AsyncClient]:
    """Open an arena while the block runs, and yield a client for an event loop; everything else is as of `connect`."""
    if name is not None:
        check_token("name", name)
    if hub is not None:
        if nats is not None:
            raise BadInput("nats and hub are both given; use one of them")
        yield AsyncClient(await OverHub.opened(hub, key, arena), "")
        return
    file = Path(credentials).expanduser() if credentials else None
    if file and not file.is_file():
        raise BadInput(f"credentials is {str(file)!r}, which is not a file; name the file that `mesh` was given")
    try:
        async with open_hub(nats, name="mesh-python", endless=True, credentials=file) as every:
            bus = await pick(every, arena, by="connect(NAME)")
            follower = follower_of(bus)
            await follower.catch_up()
            async with door_of(bus, follower) as door, anyio.create_task_group() as tasks:
                member = every.link.member
                yield AsyncClient(OverLog(door, every, tasks), name or (member.name if member else "operator"))
                tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise leaf(group) from None

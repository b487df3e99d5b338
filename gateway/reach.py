"""How a process reaches a log: the server, the arena, its board and its code.

Where no swarm runs, the log can still be read and written: the caller serves the store of its home itself while it
lasts. The command line and the Python client open an arena in this way.
"""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from mesh import settings
from mesh.bus import ArenaBus
from mesh.errors import BadInput
from mesh.follow import Follower
from mesh.jetstream import JetStreamBus, JetStreamHub, connect
from mesh.server import embedded, find_url

if TYPE_CHECKING:
    from gateway.door import Door
    from mesh.code import CodeStore


@asynccontextmanager
async def served(nats: str | None, *, make: bool = False) -> AsyncIterator[str]:
    """Yield the address of the server: the named one, the one of this home, else one started for this caller.

    With `make`, a home without a store gets one.

    Raises:
        BusUnavailable: no server is named and this home has no store.
    """
    home = settings.home()
    folder = settings.server_dir(home)
    if settings.value("nats", nats) or not (make or (folder / "store").is_dir()):
        yield find_url(nats, home)
        return
    settings.make_home(home)
    async with embedded(folder) as server:
        yield server.url


@asynccontextmanager
async def open_hub(
    nats: str | None, *, name: str, endless: bool = False, make: bool = False, credentials: Path | None = None
) -> AsyncIterator[JetStreamHub]:
    """Open the hub of all arenas.

    Args:
        nats: the address of the server, None for the one of the settings or of this home.
        name: what the server calls this client.
        endless: wait for a lost server for any length of time.
        make: as in `served`.
        credentials: a file with credentials, None for the one of the settings.

    Raises:
        BusUnavailable: no server answers.
    """
    credentials, outage_s = credentials or settings.credentials(nats), math.inf if endless else None
    async with (
        served(nats, make=make) as url,
        connect(url, name=name, patience_s=5, outage_s=outage_s, credentials=credentials) as hub,
    ):
        yield hub


async def pick(hub: JetStreamHub, arena: str | None, *, by: str = "--arena") -> JetStreamBus:
    """Return the bus of the named arena, or of the setting `arena`, else of the only one.

    Args:
        hub: all arenas.
        arena: the name, None if the caller was given none.
        by: how a caller names one, for the sentence.

    Raises:
        BadInput: no name is given and there is not exactly one arena.
        UnknownName: there is no such arena.
    """
    arena = settings.value("arena", arena)
    if not arena:
        names = await hub.arenas()
        if not names:
            raise BadInput("there is no arena yet; mesh open FOLDER opens one")
        if len(names) != 1:
            raise BadInput(f"there are several arenas; choose one with {by}: {', '.join(names)}")
        arena = names[0]
    return await hub.arena(arena)


def follower_of(bus: ArenaBus) -> Follower:
    """Return what folds the log of an arena, from the snapshot of this home or the board that the swarm hands on."""
    snapshot = settings.snapshot_file(settings.home(), bus.arena)
    return Follower(bus, snapshot=snapshot, swarm=bus if settings.takes_boards() else None)


def code_store_of(bus: ArenaBus) -> "CodeStore":
    """Return the code store of an arena."""
    from mesh.code import CodeStore

    return CodeStore(settings.code_dir(settings.home(), bus.arena), bus)


@asynccontextmanager
async def door_of(bus: ArenaBus, follower: Follower) -> AsyncIterator["Door"]:
    """Open an arena, whose log the follower has caught up with, for one who takes part: its board follows the log.

    Raises:
        BadInput: the arena was never opened.
    """
    from gateway.door import Door

    door = Door(bus, follower, code_store_of(bus))
    _ = door.board  # refuses an arena that was never opened
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follower.follow)
        yield door
        tasks.cancel_scope.cancel()

"""How a command reaches a log: server, arena, board, projector.

Where no swarm runs, its log can still be read and written: the command serves the store of its home itself while it
lasts, and folds the log itself where a projector is needed.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mesh import settings
from mesh.board import Board
from mesh.code import CodeStore
from mesh.errors import BadInput, UnknownName
from mesh.follow import Follower
from mesh.jetstream import JetStreamBus, JetStreamHub, connect
from mesh.server import embedded, find_url


@asynccontextmanager
async def served(nats: str | None) -> AsyncIterator[str]:
    """Yield what to connect to: the server that is named or runs in this home, else one of this command's own.

    Raises:
        BusUnavailable: none is named and this home never had one.
    """
    home = settings.home()
    folder = settings.server_dir(home)
    if nats or os.environ.get("MESH_NATS") or not (folder / "store").is_dir():
        yield find_url(nats, home)
        return
    async with embedded(folder) as server:
        yield server.url


@asynccontextmanager
async def reach(arena: str | None, nats: str | None) -> AsyncIterator[JetStreamBus]:
    """Open the bus of an arena; without a name, of the only one there is.

    Raises:
        BadInput: no name is given and there is not exactly one arena.
        BusUnavailable: no server answers.
        UnknownName: there is no such arena.
    """
    async with reach_hub(nats) as hub:
        yield await pick(hub, arena)


@asynccontextmanager
async def reach_hub(nats: str | None) -> AsyncIterator[JetStreamHub]:
    """Open the hub of all arenas.

    Raises:
        BusUnavailable: no server answers.
    """
    async with served(nats) as url, connect(url, name="mesh-cli", patience_s=5) as hub:
        yield hub


async def pick(hub: JetStreamHub, arena: str | None) -> JetStreamBus:
    """Return the bus of the named arena, without a name of the only one; raises as `reach`."""
    if arena is None:
        names = await hub.arenas()
        if len(names) != 1:
            raise BadInput(f"say which --arena: there are {', '.join(names) or 'none yet'}")
        arena = names[0]
    return await hub.arena(arena)


async def board_of(bus: JetStreamBus) -> Board:
    """Return the board of an arena as of now."""
    follower = Follower(bus, snapshot=settings.snapshot_file(settings.home(), bus.arena))
    await follower.catch_up()
    return follower.board


def code_of(bus: JetStreamBus) -> CodeStore:
    """Return the code store of an arena."""
    return CodeStore(settings.code_dir(settings.home(), bus.arena), bus)


def find_proposal(board: Board, name: str) -> str:
    """Return the proposal whose tree or commit hash begins with `name`.

    Raises:
        UnknownName: there is none, or more than one.
    """
    found = [t for t, p in board.proposals.items() if t.startswith(name) or p.event.commit.startswith(name)]
    if name in ("champion", "") and board.champion:
        found = [board.champion]
    if len(found) != 1:
        raise UnknownName(f"{len(found) or 'no'} proposals of arena {board.arena} begin with {name!r}")
    return found[0]

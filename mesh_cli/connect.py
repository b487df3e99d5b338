"""How a command reaches a log: server, arena, board, projector.

Where no swarm runs, its log can still be read and written: the command serves the store of its home itself while it
lasts, and folds the log itself where a projector is needed.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gateway.reach import code_store_of as code_store_of
from gateway.reach import door_of, follower_of, open_hub
from gateway.reach import pick as pick
from gateway.resolve import find_proposal
from mesh import settings
from mesh.board import Board
from mesh.bus import ArenaBus
from mesh.errors import BadInput, UnknownName
from mesh.follow import Follower
from mesh.jetstream import JetStreamBus, JetStreamHub
from mesh.jetstream.member import member_of, name_of
from mesh.text import short
from mesh.wire import Entry
from mesh_cli.render.fold_progress import FoldProgress

if TYPE_CHECKING:
    from gateway.door import Door
    from mesh.code import CodeStore


@asynccontextmanager
async def reach(arena: str | None, nats: str | None, *, endless: bool = False) -> AsyncIterator[JetStreamBus]:
    """Open the bus of an arena; without a name, of the only arena.

    An `endless` command waits for a lost server for any length of time.

    Raises:
        BadInput: no name is given and there is not exactly one arena.
        BusUnavailable: no server answers.
        UnknownName: there is no such arena.
    """
    async with reach_hub(nats, endless=endless) as hub:
        yield await pick(hub, arena)


@asynccontextmanager
async def reach_hub(
    nats: str | None, *, endless: bool = False, make: bool = False, credentials: Path | None = None
) -> AsyncIterator[JetStreamHub]:
    """Open the hub of all arenas; arguments as of `gateway.reach.open_hub`.

    Raises:
        BusUnavailable: no server answers.
    """
    async with open_hub(nats, name="mesh-cli", endless=endless, make=make, credentials=credentials) as hub:
        yield hub


def own_author(given: str | None, nats: str | None) -> str:
    """Return the author of what a command posts: the member that the credentials are for, the given one, or operator.

    Raises:
        BadInput: the given one is not the member, so that the server would refuse every post.
    """
    return name_of(member_of(settings.credentials(nats)), given) or "operator"


async def pick_any(hub: JetStreamHub, arena: str | None) -> JetStreamBus:
    """Return a bus for queries about all arenas: the one of `pick`, or that of the first arena if there are several.

    Raises: what `pick` raises.
    """
    names = [] if settings.value("arena", arena) else await hub.arenas()
    return await pick(hub, names[0] if len(names) > 1 else arena)


async def board_of(bus: ArenaBus) -> Board:
    """Return the board of an arena as of now."""
    return (await _caught_up(bus)).board


async def _caught_up(bus: ArenaBus) -> Follower:
    follower, progress = follower_of(bus), FoldProgress()
    await follower.catch_up(progress.at)
    progress.end(bus.arena, follower.board.seq)
    return follower


@asynccontextmanager
async def reach_door(arena: str | None, nats: str | None, *, endless: bool = False) -> AsyncIterator["Door"]:
    """Open an arena for one who takes part: its board follows the log; arguments as of `reach`.

    Raises:
        BadInput: the arena was never opened, or as `reach`.
        BusUnavailable: as `reach`.
        UnknownName: as `reach`.
    """
    async with reach(arena, nats, endless=endless) as bus, door_of(bus, await _caught_up(bus)) as door:
        yield door


async def opened_board_of(bus: JetStreamBus) -> Board:
    """Return the board of an arena as of now.

    Raises:
        BadInput: the arena was never opened, so that nothing on it can be judged.
    """
    board = await board_of(bus)
    if board.opened is None:
        raise BadInput(f"arena {bus.arena} was never opened; mesh open FOLDER opens it")
    return board


async def entry_of(bus: JetStreamBus, seq: int) -> Entry:
    """Return one entry of the log; raises `UnknownName` where the log has none of that sequence."""
    async with aclosing(bus.read(seq - 1, until=seq)) as batches:
        async for batch in batches:
            for entry in batch:
                if entry.seq == seq:
                    return entry
    raise UnknownName(f"arena {bus.arena} has no fact #{seq}")


def pair_of(
    board: Board, first: str, second: str | None, against: Literal["base", "parent"] = "parent"
) -> tuple[str, str]:
    """Return which two proposals to compare, the old one first: both named, or one and its parent or the baseline.

    "" stands for the baseline where nobody has posted it: it is the parent of a proposal that names none.

    Args:
        board: the board of the arena.
        first: a word that names a proposal.
        second: another one; None for what `against` says.
        against: what a single proposal is compared with.

    Raises:
        BadInput: the only one named is the baseline, which has no parent.
        UnknownName: a word matches no proposal, or several.
    """
    if second is not None:
        return find_proposal(board, first), find_proposal(board, second)
    new = find_proposal(board, first)
    known = [parent for parent in board.proposals[new].event.parents if parent in board.proposals]
    parents = known if against == "parent" else []
    base = board.opened.base_tree if board.opened else ""
    if not parents and new == base:
        raise BadInput(f"proposal {short(new)} is the baseline; name a second proposal to compare it with")
    return parents[0] if parents else base if base in board.proposals else "", new


async def files_of(board: Board, code: "CodeStore", tree: str) -> dict[str, bytes]:
    """Return the files of a proposal, or of the baseline ("").

    Raises:
        ObjectMissing: the code of the proposal is missing from the object store.
    """
    base = board.opened.base_commit if board.opened else ""
    return await code.files(board.proposals[tree].event.commit if tree else base, base=base)

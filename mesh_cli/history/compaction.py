"""`mesh compact`: which objects may be moved into groups, when they are safe there, and what was freed in words."""

from mesh import settings
from mesh.board import Board
from mesh.jetstream.grouped import Moved
from mesh.server import address_of
from mesh.times import seconds

_FOREIGN_S = 150.0
"""Seconds after which a server with the defaults of NATS has synced, every two minutes."""
_SAFETY = 1.25


def movable(board: Board) -> set[str]:
    """Return the names of the objects that belong to retired proposals alone: packs of commits, and items of runs.

    The code of a baseline stays: packs refer to it.
    """
    movable: set[str] = set()
    needed = {board.opened.base_commit} if board.opened else set()
    for proposal in board.proposals.values():
        names = {proposal.event.commit}
        for name in (*proposal.runs, *proposal.sealed):
            finished = board.runs[name].finished
            if finished and finished.items:
                names.add(finished.items.sha256)
        is_old = proposal.verdict == "retired" and proposal.event.origin.how != "baseline"
        (movable if is_old else needed).update(names)
    return movable - needed


def settle_s(nats: str | None) -> float:
    """Return the seconds after which what the server has acknowledged is on disk."""
    address = address_of(settings.server_dir(settings.home()))
    named = settings.value("nats", nats)
    if address is None or (named and named.removeprefix("nats://") != address.url.removeprefix("nats://")):
        return _FOREIGN_S
    return 0.0 if address.sync == "always" else seconds(address.sync) * _SAFETY


def words(arena: str, moved: Moved, *, only_count: bool) -> str:
    """Return what was moved and freed, as a sentence."""
    if not moved.objects and not moved.known:
        return f"there is nothing to move in arena {arena}: no code of a retired proposal stands alone"
    verb = "would be" if only_count else "are"
    parts = []
    if moved.objects:
        into = f"{moved.groups:,} of {_megabytes(moved.group_bytes)}"
        parts.append(f"{moved.objects:,} objects {verb} moved into {into}")
    if moved.known:
        parts.append(f"{moved.known:,} that stood in groups already {verb} deleted")
    objects = moved.objects + moved.known - moved.groups
    freed = f"{objects:,} objects and {_megabytes(moved.bytes - moved.group_bytes)} less"
    return f"arena {arena}: {', and '.join(parts)}: {freed}"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"

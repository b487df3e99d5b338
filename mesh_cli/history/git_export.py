"""`mesh git export`: the whole DAG of an arena as an ordinary git repository."""

from pathlib import Path

import anyio.to_thread

from mesh.errors import BadInput
from mesh.jetstream import JetStreamBus
from mesh_cli.connect import board_of, code_store_of


async def export(bus: JetStreamBus, folder: Path) -> int:
    """Write the DAG into `folder`, the champion checked out, a ref for every proposal; return how many there are.

    Raises:
        BadInput: the arena was never opened, or the folder cannot be written.
        BusError: the log is out of reach.
    """
    board, code = await board_of(bus), code_store_of(bus)
    if board.opened is None:
        raise BadInput(f"arena {bus.arena} was never opened; mesh open FOLDER opens it")
    base = board.opened.base_commit
    refs = {"refs/heads/base": base}
    await code.pull(base)
    # In the order of their names, commits that `mesh compact` has moved come from one group after the other.
    for tree, p in sorted(board.proposals.items(), key=lambda item: item[1].event.commit):
        await code.pull(p.event.commit, base=base)
        refs[f"refs/proposals/{tree}"] = p.event.commit
    refs["HEAD"] = board.proposals[board.champion].event.commit if board.champion else base
    refs["refs/heads/champion"] = refs["HEAD"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        await anyio.to_thread.run_sync(code.export, folder, refs)
    except OSError as error:
        raise BadInput(f"{folder} cannot be written: {error.strerror}" if error.errno else str(error)) from None
    return len(board.proposals)

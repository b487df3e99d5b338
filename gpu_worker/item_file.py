"""The scores of single items that a score program leaves in the file `MESH_ITEMS`: read, checked, and kept by hash."""

import os
import stat
from pathlib import Path

import msgspec

from mesh.events import Failed, Infeasible, ItemsKept, Scored
from mesh.items import MOST_BYTES, BadItems, agree, kept, margin, parse_items
from mesh.spec import ObjectiveSpec

ITEM_FILE = "items.json"
"""Name of the file in the score program's scratch folder."""


class KeptItems(msgspec.Struct, frozen=True):
    """Items to keep beside the log: what the fact says of them, and the bytes of the object."""

    fact: ItemsKept
    data: bytes


def with_items(goal: ObjectiveSpec, outcome: Scored | Failed, path: Path) -> tuple[Scored | Failed, KeptItems | None]:
    """Return the outcome of a score with its items; without usable items it is a `no_score` where the arena has items.

    A file that the arena does not ask for is checked, and not kept: items that are there twice are a bootstrap, which
    proves nothing.

    Args:
        goal: the objective.
        outcome: what the score program printed.
        path: where it had to write its items.
    """
    if isinstance(outcome, Failed) and not isinstance(outcome, Infeasible):
        return outcome, None
    wanted = goal.noise == "items"
    try:
        if (data := _read(path)) is None:
            if not wanted:
                return outcome, None
            raise BadItems('was not written: objective.noise is "items", so the score program writes its items there')
        items = parse_items(data)
        if not wanted or not isinstance(outcome, Scored):
            return outcome, None
        agree(items, outcome.value)
    except BadItems as error:
        return Failed(reason="no_score", message=f"MESH_ITEMS {error}"), None
    data = items.to_bytes()
    return outcome, KeptItems(msgspec.structs.replace(kept(items, data), margin=margin(items)), data)


def _read(path: Path) -> bytes | None:
    """Return the bytes of a regular file, one more than allowed at most; None if there is no file.

    Raises:
        BadItems: it cannot be read.
    """
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadItems(f"cannot be read: {error.strerror}") from None
    with os.fdopen(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise BadItems("is not a regular file")
        return file.read(MOST_BYTES + 1)

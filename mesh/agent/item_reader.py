"""Reads the scores of single items, for the curator alone: a proposer that saw them could learn them by heart."""

import hashlib

from mesh.bus import Objects
from mesh.errors import ObjectMissing
from mesh.items import BadItems, ItemScores, from_object

KEPT_NUMBERS = 2_000_000
"""Numbers of all vectors together that are kept in memory, some 70 MB; at least the last vector is."""


class ItemReader:
    """Reads the items of runs, and keeps those that were read last in memory."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._kept: dict[str, ItemScores] = {}

    async def items(self, name: str) -> ItemScores:
        """Return the items of an object.

        Args:
            name: its name, the sha256 of its bytes.

        Raises:
            ObjectMissing: there is no such object, or it is damaged.
        """
        if name not in self._kept:
            data = await self._objects.get(name)
            if hashlib.sha256(data).hexdigest() != name:
                raise ObjectMissing(f"object {name} is damaged: its contents do not match its name")
            try:
                self._kept[name] = from_object(data)
            except BadItems as error:
                raise ObjectMissing(f"object {name} {error}") from None
        found = self._kept[name] = self._kept.pop(name)  # the last one read is the last one dropped
        while sum(len(each.values) for each in self._kept.values()) > KEPT_NUMBERS and len(self._kept) > 1:
            del self._kept[next(iter(self._kept))]
        return found

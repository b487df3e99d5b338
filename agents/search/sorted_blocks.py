"""A sorted list in blocks: to add or remove an item costs the same among a thousand as among a million.

One list of a million moves half of its items in memory for each that comes or goes in the middle.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any, Generic, TypeVar

_T = TypeVar("_T", bound=Any)

_BLOCK = 512
"""Limit of the items in a block; a longer one is cut in half."""


class SortedBlocks(Generic[_T]):
    """Items in order; equal ones may come several times."""

    def __init__(self, items: Iterable[_T] = (), *, block: int = _BLOCK) -> None:
        self._most, half = block, max(1, block // 2)
        items = sorted(items)
        self._blocks = [items[start : start + half] for start in range(0, len(items), half)]
        self._lasts = [each[-1] for each in self._blocks]
        self._leading: list[_T] | None = None

    def __iter__(self) -> Iterator[_T]:
        return chain.from_iterable(self._blocks)

    def __bool__(self) -> bool:
        return bool(self._blocks)

    @property
    def first(self) -> _T:
        """The least item; there must be one."""
        return self._blocks[0][0]

    @property
    def last(self) -> _T:
        """The greatest item; there must be one."""
        return self._lasts[-1]

    def leading(self, count: int) -> list[_T]:
        """Return so many least items in order, or all; the same list as before while the first block is the same."""
        if self._leading is not None and len(self._leading) == count:
            return self._leading
        found = list(islice(self, count))
        if self._blocks and len(self._blocks[0]) >= count:
            self._leading = found
        return found

    def add(self, item: _T) -> None:
        """Add an item."""
        if not self._blocks:
            self._blocks, self._lasts, self._leading = [[item]], [item], None
            return
        at = min(bisect_left(self._lasts, item), len(self._lasts) - 1)
        self._leading = self._leading if at else None
        block = self._blocks[at]
        insort(block, item)
        if len(block) > self._most:
            middle = len(block) // 2
            self._blocks[at : at + 1] = block[:middle], block[middle:]
            self._lasts.insert(at, block[middle - 1])
            at += 1
        self._lasts[at] = self._blocks[at][-1]

    def remove(self, item: _T) -> None:
        """Remove one item that is equal to this one; there must be one."""
        at = bisect_left(self._lasts, item)
        block = self._blocks[at]
        self._leading = self._leading if at else None
        block.pop(bisect_left(block, item))
        if block:
            self._lasts[at] = block[-1]
        else:
            del self._blocks[at], self._lasts[at]

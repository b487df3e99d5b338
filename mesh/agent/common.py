"""What the agents of one process have in common, so that a thousand of them read and learn a thing once."""

from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


class Common:
    """Things by their kind and name; each is made when the first agent asks for it."""

    def __init__(self) -> None:
        self._made: dict[tuple[type, str], object] = {}

    def get(self, kind: type[_T], make: Callable[[], _T], name: str = "") -> _T:
        """Return the thing of a kind and a name.

        Args:
            kind: its class.
            make: makes it, if no agent has asked for it yet.
            name: tells several things of one class apart.
        """
        found = self._made.get((kind, name))
        if found is None:
            found = self._made[kind, name] = make()
        assert isinstance(found, kind)
        return found

"""What a critic knows of earlier proposals: which have the same code, and which differ by little.

A question costs what it finds, not what is known: equal fingerprints are looked up, and near ones have an index.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from agents.critique.fingerprint import Fingerprint
from agents.search.nearness import Nearness
from mesh.knobs import NEAR


class Same(NamedTuple):
    """An earlier proposal with the same code, but for comments or, `seed_only`, for a seed."""

    tree: str
    seed_only: bool


class Earlier:
    """Fingerprints of proposals in the order of the log."""

    def __init__(self, known: Mapping[str, Fingerprint] | None = None) -> None:
        self._trees: list[str] = []
        self._known: list[Fingerprint] = []
        self._by_meaning: dict[str, list[int]] = {}
        self._by_seedless: dict[str, list[int]] = {}
        self._alike: dict[tuple[str, int], tuple[Nearness, list[int]]] = {}
        for tree, each in (known or {}).items():
            self.add(tree, each)

    def add(self, tree: str, known: Fingerprint) -> None:
        """Add the fingerprint of the next proposal."""
        at = len(self._trees)
        self._trees.append(tree)
        self._known.append(known)
        self._by_meaning.setdefault(known.meaning, []).append(at)
        self._by_seedless.setdefault(known.seedless, []).append(at)
        index, places = self._alike.setdefault(_kind(known), (Nearness(), []))
        index.add({(knob.file, knob.name): knob.value for knob in known.knobs})
        places.append(at)

    def same(self, own: Fingerprint, counts: Callable[[str], bool]) -> Same | None:
        """Return the first proposal that counts and has the same code, at most with another seed."""
        found = [
            next((at for at in places.get(key, ()) if counts(self._trees[at])), len(self._trees))
            for places, key in ((self._by_meaning, own.meaning), (self._by_seedless, own.seedless))
        ]
        first = min(found)
        return Same(self._trees[first], first < found[0]) if first < len(self._trees) else None

    def near(self, own: Fingerprint, counts: Callable[[str], bool], share: float = NEAR) -> Iterator[str]:
        """Yield the proposals that count and are near (`Fingerprint.is_near`), in order."""
        index, places = self._alike.get(_kind(own), (Nearness(), []))
        values = {(knob.file, knob.name): knob.value for knob in own.knobs}
        found = (places[position] for position in index.near(own.knobs, values, share))
        return (self._trees[at] for at in found if counts(self._trees[at]))


def _kind(known: Fingerprint) -> tuple[str, int]:
    """Return what proposals share that may be near: their code without knobs, and how many knobs they have."""
    return known.knobless, len({(knob.file, knob.name) for knob in known.knobs})

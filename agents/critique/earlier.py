"""What a critic knows of earlier proposals: which have the same code, and which differ by little.

A question costs what it finds, not what is known: equal fingerprints are looked up, and near ones have an index.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import takewhile
from typing import NamedTuple

from agents.critique.fingerprint import Fingerprint, fingerprint
from agents.search.nearness import Nearness
from mesh.board import Board, Proposal
from mesh.editable_paths import editable_paths
from mesh.errors import ObjectMissing
from mesh.knobs import NEAR

_Files = Callable[[Board, str], Awaitable[Mapping[str, bytes]]]
"""Returns the files of a proposal by its tree."""


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

    def __iter__(self) -> Iterator[tuple[str, Fingerprint]]:
        return zip(self._trees, self._known, strict=True)

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


class Learned:
    """The fingerprints of the proposals of a board, taken as they come."""

    def __init__(self, files: _Files) -> None:
        self._files = files
        self._earlier, self._until = Earlier(), 0
        self._skipped: dict[str, None] = {}
        self._ruling = (0, 0)

    async def before(self, board: Board, proposal: Proposal) -> tuple[Earlier, Callable[[str], bool]]:
        """Return fingerprints of proposals, and what tells which of them came before a proposal and count.

        Blocked ones, and those that are ruled out, do not count meanwhile, and their code is not fetched. They come
        back by a new version or by a promotion. Those whose code is missing are left out.

        Raises:
            BusError: The log cannot be reached.
        """
        assert board.opened is not None
        ruling = (board.opened.version, board.round)
        if ruling != self._ruling and (back := [tree for tree in self._skipped if _counts(board.proposals[tree])]):
            for tree in back:
                await self._take(board, tree)
                del self._skipped[tree]
            self._earlier = Earlier(dict(sorted(self._earlier, key=lambda known: board.proposals[known[0]].seq)))
        self._ruling = ruling
        later = takewhile(lambda item: item[1].seq > self._until, reversed(board.proposals.items()))
        for tree in [tree for tree, each in later if each.seq < proposal.seq][::-1]:
            if _counts(board.proposals[tree]):
                await self._take(board, tree)
            else:
                self._skipped[tree] = None
            self._until = board.proposals[tree].seq
        return self._earlier, lambda tree: board.proposals[tree].seq < proposal.seq and _counts(board.proposals[tree])

    async def _take(self, board: Board, tree: str) -> None:
        try:
            files = await self._files(board, tree)
        except ObjectMissing:
            return
        self._earlier.add(tree, fingerprint(files, editable_paths(board.spec, files)))


def _counts(proposal: Proposal) -> bool:
    """Tell whether a later proposal is compared with this one."""
    return proposal.why != "blocked" and not proposal.ruled_out


def _kind(known: Fingerprint) -> tuple[str, int]:
    """Return what proposals share that may be near: their code without knobs, and how many knobs they have."""
    return known.knobless, len({(knob.file, knob.name) for knob in known.knobs})

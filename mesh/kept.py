"""The proposals and runs of a board: mappings in the order of the log, which keep what is settled as packs.

A pack is unpacked whenever it is read; the latest that were read stay unpacked beside it. What is read from a pack is
a copy: whoever changes a proposal or a run of it takes it out of its pack first (`take_out`).
"""

import sys
from bisect import bisect_left
from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from itertools import islice, takewhile
from typing import Any, TypeVar

from mesh.lean import FULL
from mesh.packing import Blanks, Packer, Unpacked
from mesh.records import Proposal, Run

_READ = 1000
"""Packs that stay unpacked beside the pack after they were read: the latest."""

_T = TypeVar("_T")


class _Kept(Mapping[str, _T]):
    """A mapping whose values are read in both directions."""

    __slots__ = ("known",)
    known: dict[str, Any]
    """What is kept: things, or what stands for them."""

    def __len__(self) -> int:
        return len(self.known)

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self.known)

    def __contains__(self, name: object) -> bool:
        return name in self.known

    def __setitem__(self, name: str, thing: _T) -> None:
        self.known[name] = thing

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self.known else default

    def values(self) -> "_Values[_T]":
        return _Values(self)

    def items(self) -> "_Items[_T]":
        return _Items(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self.items())})"


class _Values(ValuesView[_T]):
    def __reversed__(self) -> Iterator[_T]:
        kept: _Kept[_T] = self._mapping  # type: ignore[attr-defined]
        return map(kept.__getitem__, reversed(kept))


class _Items(ItemsView[str, _T]):
    def __reversed__(self) -> Iterator[tuple[str, _T]]:
        kept: _Kept[_T] = self._mapping  # type: ignore[attr-defined]
        return ((name, kept[name]) for name in reversed(kept))


class KeptProposals(_Kept[Proposal]):
    """Proposals by tree.

    `runs` are the runs of the same board. `changed` are settled ones that were taken out of their packs, the oldest
    first. `turns` counts how often each was.
    """

    __slots__ = ("_by_commit", "_commits", "_indexed", "_read", "changed", "packer", "runs", "turns")
    runs: "KeptRuns"

    def __init__(self, known: Mapping[str, Proposal | bytes] | None = None, common: Blanks | None = None) -> None:
        self.known: dict[str, Proposal | bytes] = dict(known or {})
        self.packer = Packer(common)
        self.changed: dict[str, None] = {}
        self.turns: dict[str, int] = {}
        self._read: dict[str, Unpacked] = {}
        self._commits, self._by_commit, self._indexed = list[str](), dict[str, list[str]](), 0

    def __getitem__(self, tree: str) -> Proposal:
        found = self.known[tree]
        return self.read(tree).proposal if isinstance(found, bytes) else found

    def starting_with(self, word: str) -> list[str]:
        """Return the proposals whose tree or commit starts with a word, in the order of the log.

        The commits are looked up once, at the first question.
        """
        found = dict.fromkeys(tree for tree in self.known if tree.startswith(word))
        for commit in self._commits_from(word):
            found |= dict.fromkeys(self._by_commit[commit])
        return sorted(found, key=lambda tree: self[tree].seq) if len(found) > 1 else list(found)

    def _commits_from(self, word: str) -> Iterator[str]:
        """Yield the commits that start with a word."""
        new = [*islice(reversed(self.known), len(self.known) - self._indexed)]
        for tree in reversed(new):
            each = self.known[tree]
            commit = (self.packer.unpack(tree, each).proposal if isinstance(each, bytes) else each).event.commit
            self._by_commit.setdefault(commit, []).append(tree)
        if new:
            self._indexed, self._commits = len(self.known), sorted(self._by_commit)
        yield from takewhile(
            lambda commit: commit.startswith(word), islice(self._commits, bisect_left(self._commits, word), None)
        )

    def read(self, tree: str) -> Unpacked:
        """Return what is in the pack of a proposal."""
        found = self._read.pop(tree, None)
        if found is None:
            pack = self.known[tree]
            assert isinstance(pack, bytes)
            if len(self._read) >= _READ:
                del self._read[next(iter(self._read))]
            found = self.packer.unpack(tree, pack)
        self._read[tree] = found
        return found

    def find_changed(self, full: Mapping[str, None]) -> None:
        """Find what was taken out of its pack, after these were read from a snapshot; `full` as for `settle`."""
        loose = ((tree, each) for tree, each in self.known.items() if not isinstance(each, bytes))
        self.changed = {tree: None for tree, each in loose if each.verdict == "retired" and tree not in full}

    def put_in(self, tree: str) -> None:
        """Put a proposal and its runs into a pack, if it is settled: retired, and not the artifact as it was."""
        proposal = self.known[tree]
        if isinstance(proposal, bytes) or proposal.verdict != "retired" or proposal.event.origin.how == "baseline":
            return
        names = (*proposal.runs, *proposal.sealed)
        self.known[tree] = self.packer.pack(proposal, self.runs.loose(names))
        self.runs.known.update(dict.fromkeys(names, tree))

    def settle(self, tree: str, full: dict[str, None]) -> None:
        """Note that a proposal is retired, and leave the texts of the oldest such proposals to the log.

        Args:
            tree: the proposal.
            full: the retired proposals whose texts are on the board, the oldest first.
        """
        (self.changed if self[tree].is_lean else full)[sys.intern(tree)] = None
        while len(full) > FULL:
            del full[oldest := next(iter(full))]
            self.put_in(oldest)
        while len(self.changed) > FULL:
            del self.changed[oldest := next(iter(self.changed))]
            if oldest not in full:
                self.put_in(oldest)

    def take_out(self, tree: str) -> Proposal | None:
        """Return a proposal that may be changed, and its runs too: after some others it goes back into its pack."""
        pack = self.known.get(tree)
        if not isinstance(pack, bytes):
            return pack
        found = self.read(tree)
        del self._read[tree]
        self.known[tree] = found.proposal
        self.runs.known.update(found.runs)
        self.turns[tree] = self.turns.get(tree, 0) + 1
        self.changed[sys.intern(tree)] = None
        return found.proposal


class KeptRuns(_Kept[Run]):
    """Runs by name; where one is in a pack, the proposal of the pack stands for it."""

    __slots__ = ("proposals",)

    def __init__(self, known: Mapping[str, Run | str] | None = None) -> None:
        self.known: dict[str, Run | str] = dict(known or {})
        self.link(KeptProposals())

    def link(self, proposals: KeptProposals) -> None:
        """Let these be the runs of some proposals."""
        self.proposals, proposals.runs = proposals, self

    def __getitem__(self, name: str) -> Run:
        found = self.known[name]
        if isinstance(found, str):
            return self.proposals.read(found).runs[name]
        return found

    def loose(self, names: Iterable[str]) -> list[Run]:
        """Return the runs of a proposal that is in no pack."""
        return list(map(self.known.__getitem__, names))  # type: ignore[arg-type]

    def take_out(self, name: str) -> Run | None:
        """Return a run that may be changed; None if there is none of this name."""
        found = self.known.get(name)
        if isinstance(found, str):
            self.proposals.take_out(found)
            return self[name]
        return found

"""The commits of an arena as a gateway knows them: those that were pushed, and those of the swarm's own proposals.

It is kept up with each fact, so that no question needs more than what it answers. A proposal that came from a push has
a commit of its own beside the pushed one: it is found by its hash, but the pushed one stands for both in lists.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from typing import ClassVar

import msgspec

from gateway.git_bundle import BadBundle
from gateway.log_index import LogIndex
from mesh.errors import UnknownName
from mesh.events import ArenaOpened, CommitPushed, ProposalPosted
from mesh.wire import Entry

_SUBJECT = 400
_LISTED = 3


class KnownCommit(msgspec.Struct, frozen=True, gc=False):
    """A commit: the entry that brought it, its parents, who brought it, and the proposal that its files are.

    `root` is the commit that it is stored against, itself if it is stored whole.
    """

    seq: int
    created_at: str
    commit: str
    parents: tuple[str, ...]
    author: str
    subject: str
    root: str
    proposal: str


class CommitIndex(LogIndex):
    """All commits of an arena in the order of the log, with their children; `rows` is kept for who shows them."""

    kinds: ClassVar[tuple[str, ...]] = ("arena.opened", "proposal.posted", "commit.pushed")

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}
        self._known: dict[str, KnownCommit] = {}
        self._listed: list[str] = []
        self._of_author: dict[str, list[str]] = {}
        self._sorted: list[str] = []
        self._children: dict[str, dict[str, None]] = {}
        self._leaves: dict[str, None] = {}
        self._by_tree: dict[str, str] = {}
        self._pushed_as: dict[str, str] = {}
        self._stands_for: dict[str, str] = {}
        self._bases: dict[str, str] = {}

    def take(self, entry: Entry) -> None:
        match entry.post.event if entry.post else None:
            case CommitPushed() as pushed if entry.post and pushed.commit not in self._known:
                if pushed.proposal:
                    self._pushed_as.setdefault(pushed.proposal, pushed.commit)
                words = pushed.message.partition("\n")[0]
                root = pushed.base or pushed.commit
                self._add(entry, entry.post.author, pushed.commit, pushed.parents, words, pushed.proposal, root)
            case ProposalPosted() as posted if entry.post and posted.tree not in self._by_tree:
                self._by_tree[posted.tree] = posted.commit
                if posted.commit in self._known:
                    return
                if (instead := self._pushed_as.get(posted.tree)) and posted.tree not in self._bases:
                    self._stands_for[posted.commit] = instead
                parents = tuple(filter(None, map(self.of_proposal, posted.parents)))
                first = self._known.get(parents[0]) if parents else None
                root = first.root if first else posted.commit
                self._add(entry, entry.post.author, posted.commit, parents, posted.title, posted.tree, root)
            case ArenaOpened() as opened if entry.post:
                self._bases[opened.base_tree] = opened.base_commit
                if opened.base_commit not in self._known:
                    words = f"the baseline of {opened.spec.name}, version {opened.version}"
                    base = opened.base_commit
                    self._add(entry, entry.post.author, base, (), words, opened.base_tree, base)
            case _:
                pass

    def _add(
        self,
        entry: Entry,
        author: str,
        commit: str,
        parents: tuple[str, ...],
        subject: str,
        proposal: str,
        root: str,
    ) -> None:
        at = entry.time.strftime("%Y-%m-%dT%H:%M:%SZ")
        known = KnownCommit(entry.seq, at, commit, parents, author, subject[:_SUBJECT], root, proposal)
        self._known[commit] = known
        insort(self._sorted, commit)
        shown = self._shown(commit)
        for parent in dict.fromkeys(map(self._shown, parents)):
            if parent != shown:
                self._children.setdefault(parent, {})[shown] = None
                self._leaves.pop(parent, None)
        if shown == commit:
            self._listed.append(commit)
            self._of_author.setdefault(author, []).append(commit)
            if commit not in self._children:
                self._leaves[commit] = None

    def _shown(self, commit: str) -> str:
        """Return the commit that stands for this one in lists."""
        return self._stands_for.get(commit, commit)

    def knows(self, commit: str) -> bool:
        """Tell whether a commit is here, by its whole hash."""
        return commit in self._known

    def get(self, commit: str) -> KnownCommit | None:
        """Return a commit by its whole hash; None if it is not here."""
        return self._known.get(commit)

    def of_proposal(self, tree: str) -> str:
        """Return the commit of a proposal; "" if there is no such proposal."""
        return self._bases.get(tree) or self._by_tree.get(tree, "")

    def find(self, word: str) -> KnownCommit:
        """Return the commit whose hash begins with `word`.

        Raises:
            BadBundle: several commits do.
            UnknownName: none does.
        """
        if found := self._known.get(word):
            return found
        at = bisect_left(self._sorted, word)
        matching = [each for each in self._sorted[at : at + _LISTED + 1] if each.startswith(word)]
        shown = dict.fromkeys(map(self._shown, matching))
        if not matching:
            raise UnknownName("commit not found")
        if len(shown) > 1:
            listed = ", ".join(each[: len(word) + 6] for each in matching[:_LISTED])
            raise BadBundle(f"hash {word} is ambiguous: {listed} begin so; write more of it")
        return self._known[next(iter(shown))]

    def newest(self, limit: int, offset: int = 0, author: str = "") -> list[KnownCommit]:
        """Return commits, the newest first, strictly in the order of the log.

        Args:
            limit: the most commits.
            offset: how many of the newest to leave out.
            author: whose commits; "" is everybody's.
        """
        listed = self._of_author.get(author, []) if author else self._listed
        end = len(listed) - offset
        return [self._known[each] for each in reversed(listed[max(0, end - limit) : max(0, end)])]

    def children(self, commit: str) -> list[KnownCommit]:
        """Return the commits that have this one as one of their parents, the newest first."""
        return [self._known[each] for each in reversed(self._children.get(self._shown(commit), {}))]

    def lineage(self, commit: str, most: int) -> list[KnownCommit]:
        """Return a commit and all that it comes from, through all parents, the newest first."""
        return sorted(self._ancestors([commit], most), key=lambda each: -each.seq)

    def _ancestors(self, commits: Iterable[str], most: int) -> Iterator[KnownCommit]:
        seen, todo = set[str](), list(commits)
        while todo and most:
            if (name := todo.pop()) not in seen and (known := self._known.get(name)):
                seen.add(name)
                most -= 1
                yield known
                todo += reversed(known.parents)

    def leaves(self) -> list[KnownCommit]:
        """Return the commits without a child, the newest first."""
        return [self._known[each] for each in reversed(self._leaves)]

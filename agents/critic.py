"""The critic: judges proposals before any compute is spent on them, and scores after.

It blocks what does not parse, touches protected files, changes nothing but a seed, comments or docstrings, says what
another proposal said before, or is not the code that it claims to be; what lies where several have failed and nobody
had a score (a dead end), as an opinion; it warns of a near duplicate. `judge` is pure. When a run of search has got a
score it says how much of that is luck (`agents.doubt`).
"""

import ast
from collections.abc import Mapping, Sequence
from typing import ClassVar

from agents.doubt import doubt
from agents.essence import Essence, essence
from mesh.agent.protocol import Context
from mesh.board import Board, Proposal
from mesh.errors import ObjectMissing
from mesh.events import AgentJoined, AnyEvent, CritiquePosted, ProposalPosted, RunFinished
from mesh.spec import ArenaSpec
from mesh.wire import Post

NEAR = 0.01
"""Share of its range by which every knob differs less between two near duplicates."""


AROUND, DEAD_END = 0.1, 3
"""So many failures, and no score, among proposals whose knobs all differ by less than this share: a dead end."""


class Critic:
    """Judges every proposal and every score of search once, in the order of the log."""

    listens: ClassVar[tuple[str, ...]] = ("proposal.posted", "run.finished")
    only_latest: ClassVar[bool] = False

    def __init__(self, context: Context) -> None:
        self._name, self._code = context.name, context.code
        self._base: tuple[str, Mapping[str, bytes]] = ("", {})
        self._known: dict[str, Essence | None] = {}

    async def handle(self, post: Post, board: Board) -> Sequence[AnyEvent]:
        """Judge the proposal in `post`; on joining, all that it has not judged."""
        if board.opened is None or board.closed:
            return []
        if isinstance(post.event, RunFinished):
            word = doubt(board, post.event.run)
            return [word] if word else []
        if isinstance(post.event, ProposalPosted):
            todo = [post.event.tree]
        elif isinstance(post.event, AgentJoined):
            todo = [tree for tree, p in board.proposals.items() if p.verdict == "open"]
        else:
            todo = []
        proposals = [board.proposals[tree] for tree in todo if tree in board.proposals]
        return [await self._judge(p, board) for p in proposals if not any(c.author == self._name for c in p.critiques)]

    async def _judge(self, proposal: Proposal, board: Board) -> CritiquePosted:
        assert board.opened is not None
        opened, tree, commit = board.opened, proposal.event.tree, proposal.event.commit
        if tree == opened.base_tree:
            return CritiquePosted(target=tree, verdict="endorse", rule="baseline", text="everything is measured by it")
        if self._base[0] != opened.base_commit:
            self._base, self._known = (opened.base_commit, await self._code.files(opened.base_commit)), {}
        try:
            files = await self._code.files(commit, base=opened.base_commit)
        except ObjectMissing as error:
            return _block(tree, "no_code", str(error))
        if (real := self._code.tree(commit)) != tree:
            return _block(tree, "other_code", f"claims tree {tree[:10]}, but its commit holds {real[:10]}")
        earlier = {
            other: known
            for other, p in list(board.proposals.items())  # it grows while code is fetched
            if p.seq < proposal.seq and p.why != "blocked" and (known := await self._essence(p, opened.spec))
        }
        return judge(opened.spec, tree, files, self._base[1], earlier, ends=_ends(board))

    async def _essence(self, proposal: Proposal, spec: ArenaSpec) -> Essence | None:
        """What an earlier proposal says, None where its code cannot be had."""
        tree, commit = proposal.event.tree, proposal.event.commit
        if tree not in self._known:
            try:
                files = await self._code.files(commit, base=self._base[0])
                self._known[tree] = essence(files, spec.artifact.editable)
            except ObjectMissing:
                self._known[tree] = None
        return self._known[tree]


def judge(
    spec: ArenaSpec,
    tree: str,
    files: Mapping[str, bytes],
    base: Mapping[str, bytes],
    earlier: Mapping[str, Essence],
    *,
    ends: Mapping[str, bool] | None = None,
) -> CritiquePosted:
    """Return the word on one proposal, given its files, the base's, and what earlier proposals say, by tree hash.

    `ends` says of the earlier ones whose runs have ended whether they got a score.
    """
    editable = spec.artifact.editable
    if broken := _broken(files, base, editable):
        return _block(tree, *broken)
    mine, first = essence(files, editable), essence(base, editable)
    for other, theirs in {"": first, **earlier}.items():
        label = f"proposal {other[:10]}" if other else "the baseline"
        if theirs.meaning == mine.meaning:
            return _block(tree, "duplicate", f"says the same as {label} but for comments and layout")
        if theirs.seedless == mine.seedless:
            return _block(tree, "seed_only", f"differs from {label} in nothing but a seed")
    for other, theirs in earlier.items():
        if mine.is_near(theirs, NEAR):
            text = f"every knob is within {NEAR:.0%} of its range of proposal {other[:10]}"
            return CritiquePosted(target=tree, verdict="warn", rule="near_duplicate", text=text)
    around = [got for other, got in (ends or {}).items() if other in earlier and mine.is_near(earlier[other], AROUND)]
    if len(around) >= DEAD_END and not any(around):
        text = f"all {len(around)} proposals whose knobs are within {AROUND:.0%} of their ranges have failed"
        return CritiquePosted(target=tree, verdict="block", rule="dead_end", text=text, confidence=0.9)
    return CritiquePosted(target=tree, verdict="endorse", rule="sound", text="parses, keeps to its files, and is new")


def _ends(board: Board) -> dict[str, bool]:
    """Return of the proposals that were run, and have failed or not, whether they got a score."""
    runs = {tree: board.current_runs(tree) for tree in board.proposals}
    return {tree: bool(board.scores(tree)) for tree, its in runs.items() if its and all(run.finished for run in its)}


def _block(tree: str, rule: str, text: str) -> CritiquePosted:
    return CritiquePosted(target=tree, verdict="block", rule=rule, text=text, confidence=1.0)


def _broken(files: Mapping[str, bytes], base: Mapping[str, bytes], editable: Sequence[str]) -> tuple[str, str] | None:
    """Why the files cannot run, as a rule and a text; None where nothing can be said against them."""
    for name in sorted(files.keys() | base.keys()):
        if name not in editable and files.get(name) != base.get(name):
            return "protected", f"changes {name!r}, but only {', '.join(editable)} may be changed"
    for name in editable:
        if name not in files:
            return "missing", f"leaves out {name!r}, which the trial needs"
        if name.endswith(".py"):
            try:
                ast.parse(files[name])
            except SyntaxError as error:
                return "syntax", f"{name} does not parse: {error.msg} (line {error.lineno or 1})"
            except (ValueError, RecursionError, MemoryError) as error:
                return "syntax", f"{name} does not parse: {str(error) or type(error).__name__}"
    return None

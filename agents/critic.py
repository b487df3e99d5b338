"""The critic: judges proposals before any compute is spent on them, and scores after.

It blocks what does not parse, touches protected files, changes nothing but a seed, comments or docstrings, says what
another proposal said before, or is not the code that it claims to be; what lies where several have failed and nobody
had a score (a dead end), as an opinion; it warns of a near duplicate. `judge` is pure. Where a model is named, it is
asked about what the rules let through, and both make one word (`agents.critique.model`). When a run of search has got
a score, the critic says how much of that is luck (`agents.critique.shrinkage`).
"""

import ast
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from agents.critique.fingerprint import Fingerprint, fingerprint
from agents.critique.shrinkage import judge_score
from agents.llm.digest import worth_showing
from agents.search.knobs import NEAR
from mesh.agent.protocol import Context
from mesh.board import Board, Proposal, Run
from mesh.errors import BadInput, ObjectMissing
from mesh.events import AnyEvent, CritiquePosted, ProposalPosted, RunFinished
from mesh.spec import ArenaSpec
from mesh.text import short
from mesh.wire import Post

if TYPE_CHECKING:
    from agents.critique.model import ModelCritic

AROUND, DEAD_END = 0.1, 3
"""So many failures, and no score, among proposals whose knobs all differ by less than this share: a dead end."""


MISSED = 20
"""Scores that came while a critic was away and of which it says, when it is back, how much is luck: the latest."""


class Critic:
    """Judges every proposal and every score of search once.

    Options: `model` (provider/name), and those of `agents.critique.model.ModelCritic`.
    """

    listens: ClassVar[tuple[str, ...]] = ("proposal.posted", "run.finished")
    only_latest: ClassVar[bool] = False
    role: ClassVar[str] = "critic"

    def __init__(self, context: Context) -> None:
        self._name, self._code = context.name, context.code
        self._base: tuple[str, Mapping[str, bytes]] = ("", {})
        self._known: dict[str, Fingerprint | None] = {}
        self._opinions = _opinions(context) if context.options.get("model") else None

    async def handle(self, post: Post, board: Board) -> Sequence[AnyEvent]:
        """Judge the proposal or score in `post`."""
        if board.opened is None or board.closed:
            return []
        if isinstance(post.event, RunFinished):
            return self._judge_scores(board, [post.event.run])
        if not isinstance(post.event, ProposalPosted):
            return []
        # together with all that waits where there is a model, so that it is asked about several at once
        return await self._judge_all([*board.undecided] if self._opinions else [post.event.tree], board)

    async def joined(self, board: Board) -> Sequence[AnyEvent]:
        """Judge the proposals and scores that it has missed."""
        if board.opened is None or board.closed:
            return []
        return [*await self._judge_all([*board.undecided], board), *self._missed(board)]

    async def _judge_all(self, trees: Sequence[str], board: Board) -> Sequence[AnyEvent]:
        proposals = [board.proposals[tree] for tree in trees if tree in board.proposals]
        words = [await self._judge(p, board) for p in proposals if not self._has_judged(p)]
        return await self._with_opinions(words, board) if self._opinions else words

    def _missed(self, board: Board) -> list[CritiquePosted]:
        """Judge scores that nobody has decided on and that came while this critic was away."""
        names = [name for tree in board.undecided for name in board.proposals[tree].runs]
        latest = sorted(names, key=lambda name: board.runs[name].seq, reverse=True)
        return self._judge_scores(board, latest)[::-1]

    def _judge_scores(self, board: Board, runs: Iterable[str]) -> list[CritiquePosted]:
        """Return the words on the first `MISSED` of these runs that have a score and no word of this critic."""
        new = (name for name in runs if name in board.runs and not self._has_judged(board.runs[name]))
        return list(islice((word for name in new if (word := judge_score(board, name))), MISSED))

    def _has_judged(self, it: Proposal | Run) -> bool:
        return any(word.author == self._name for word in it.critiques)

    async def _with_opinions(self, words: Sequence[CritiquePosted], board: Board) -> Sequence[AnyEvent]:
        """Ask the model about what the rules let through, as far as it may be asked."""
        assert self._opinions
        assert board.opened
        asked = self._opinions.worth_asking(board, words)
        if not asked:
            return words
        shown = [*(word.target for word in asked), *worth_showing(board)]
        base = {board.opened.base_tree: self._base[1]}  # nobody may have proposed it yet
        code = {**await self._code.at_hand(board, shown), **base}
        return [*(word for word in words if word not in asked), *await self._opinions.of(board, asked, code)]

    async def _judge(self, proposal: Proposal, board: Board) -> CritiquePosted:
        assert board.opened is not None
        opened, tree = board.opened, proposal.event.tree
        if tree == opened.base_tree:
            return CritiquePosted(target=tree, verdict="endorse", rule="baseline", text="everything is measured by it")
        if self._base[0] != opened.base_commit:
            self._base, self._known = (opened.base_commit, await self._code.files(board)), {}
        try:
            files, real = await self._code.files(board, tree), await self._code.real_tree(board, tree)
        except ObjectMissing as error:
            return _block(tree, "no_code", str(error))
        if real != tree:
            return _block(tree, "other_code", f"claims tree {short(tree)}, but its commit holds {short(real)}")
        earlier = {
            other: known
            for other, p in list(board.proposals.items())  # it grows while code is fetched
            if p.seq < proposal.seq and p.why != "blocked" and (known := await self._fingerprint(p, board))
        }
        return judge(opened.spec, tree, files, self._base[1], earlier, ends=_ends(board))

    async def _fingerprint(self, proposal: Proposal, board: Board) -> Fingerprint | None:
        """What an earlier proposal says, None where its code cannot be had."""
        tree = proposal.event.tree
        if tree not in self._known:
            try:
                files = await self._code.files(board, tree)
                self._known[tree] = fingerprint(files, board.spec.artifact.editable)
            except ObjectMissing:
                self._known[tree] = None
        return self._known[tree]


def _opinions(context: Context) -> "ModelCritic":
    """Return what asks the model; imported here, since a critic without one needs nothing of what models need."""
    try:
        from agents.critique.model import ModelCritic
    except ModuleNotFoundError as error:
        raise BadInput(f"models need {error.name}: pip install 'mesh-swarm[models]'") from None
    return ModelCritic(context.name, context.options)


def judge(
    spec: ArenaSpec,
    tree: str,
    files: Mapping[str, bytes],
    base: Mapping[str, bytes],
    earlier: Mapping[str, Fingerprint],
    *,
    ends: Mapping[str, bool] | None = None,
) -> CritiquePosted:
    """Return the word on one proposal, given its files, the base's, and what earlier proposals say, by tree hash.

    `ends` says of the earlier ones whose runs have ended whether they got a score.
    """
    editable = spec.artifact.editable
    if broken := _broken(files, base, editable):
        return _block(tree, *broken)
    mine, first = fingerprint(files, editable), fingerprint(base, editable)
    for other, theirs in {"": first, **earlier}.items():
        label = f"proposal {short(other)}" if other else "the baseline"
        if theirs.meaning == mine.meaning:
            return _block(tree, "duplicate", f"says the same as {label} but for comments and layout")
        if theirs.seedless == mine.seedless:
            return _block(tree, "seed_only", f"differs from {label} in nothing but a seed")
    for other, theirs in earlier.items():
        if mine.is_near(theirs):
            text = f"every knob is within {NEAR:.0%} of its range of proposal {short(other)}"
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

"""The critic: judges proposals before any compute is spent on them, and scores after the run.

It blocks a proposal that does not parse, changes protected files or text outside of editable regions, or is not the
code that it claims to be. One that changes what the version in force fixes (`mesh.version_rules`) is ruled out by its
block. It also blocks a proposal that changes only a seed, comments or docstrings, or repeats an
earlier one. It blocks, as an opinion, a dead end: several similar proposals failed and none had a score. It warns of
near duplicates. `judge` is pure.

If a model is configured, the critic asks it about the proposals that passed the rules, and posts one critique for both
(`agents.critique.model`). After a score, it says how much of the score is luck (`agents.critique.shrinkage`), and
whether a result, such as a checksum, is not that of the baseline.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from agents.critique.claim_sums import ClaimSums
from agents.critique.earlier import Earlier, Learned
from agents.critique.fingerprint import fingerprint
from agents.critique.shrinkage import judge_score
from agents.llm.digest import worth_recalling, worth_showing
from mesh.agent.protocol import Context
from mesh.board import Board, Proposal, Run
from mesh.editable_paths import editable_paths, too_many_new
from mesh.editable_regions import any_trespass
from mesh.errors import BadInput, ObjectMissing
from mesh.events import AnyEvent, CritiquePosted, ProposalPosted, RunFinished
from mesh.knobs import NEAR
from mesh.python_syntax import parse_python
from mesh.rule_breaches import rules_of, turned_literals
from mesh.ruling_out import FIXED
from mesh.spec import ArenaSpec
from mesh.steady_results import other_results
from mesh.text import short
from mesh.wire import Post

if TYPE_CHECKING:
    from agents.critique.model import ModelCritic

AROUND, DEAD_END = 0.1, 3
"""Dead end: `DEAD_END` failures and no score among proposals whose knobs all differ by less than `AROUND` (a share)."""


MISSED = 20
"""After a restart, the critic judges at most this many of the latest scores that it missed."""


class Critic:
    """Judges every proposal, and every score of an explore run, once.

    Options: `model` (provider/name), and those of `agents.critique.model.ModelCritic`.
    """

    listens: ClassVar[tuple[str, ...]] = ("proposal.posted", "run.finished")
    only_latest: ClassVar[bool] = False
    role: ClassVar[str] = "critic"

    def __init__(self, context: Context) -> None:
        self._name, self._code, self._texts = context.name, context.code, context.texts
        self._base: tuple[str, Mapping[str, bytes]] = ("", {})
        self._learned = Learned(self._code.files)
        self._claims = ClaimSums()
        self._opinions = _opinions(context) if context.options.get("model") else None
        self.reserves_usd = self._opinions.reserves_usd if self._opinions else None

    async def handle(self, post: Post, board: Board) -> Sequence[AnyEvent]:
        """Judge the proposal or score in `post`."""
        if board.opened is None or board.closed:
            return []
        if isinstance(post.event, RunFinished):
            return self._judge_scores(board, [post.event.run])
        if not isinstance(post.event, ProposalPosted):
            return []
        if self._opinions:
            self._opinions.lost_calls(board)  # none: it forgets the calls whose facts are on the board
        # with a model, all waiting proposals are judged together, so that several calls run at once
        return await self._judge_all([*board.undecided] if self._opinions else [post.event.tree], board)

    async def joined(self, board: Board) -> Sequence[AnyEvent]:
        """Judge the proposals and scores that it has missed."""
        if board.opened is None or board.closed:
            return []
        lost = self._opinions.lost_calls(board) if self._opinions else []
        return [*lost, *await self._judge_all([*board.undecided], board), *self._missed(board)]

    async def _judge_all(self, trees: Sequence[str], board: Board) -> Sequence[AnyEvent]:
        proposals = [board.proposals[tree] for tree in trees if tree in board.proposals]
        critiques = [await self._judge(p, board) for p in proposals if not self._has_judged(p)]
        return await self._with_opinions(critiques, board) if self._opinions else critiques

    def _missed(self, board: Board) -> list[CritiquePosted]:
        """Judge scores of undecided proposals that came while this critic was away."""
        names = [name for tree in board.undecided for name in board.proposals[tree].runs]
        latest = sorted(names, key=lambda name: board.runs[name].seq, reverse=True)
        return self._judge_scores(board, latest)[::-1]

    def _judge_scores(self, board: Board, runs: Iterable[str]) -> list[CritiquePosted]:
        """Return critiques of the first `MISSED` of these runs that have a score and no critique of this critic."""
        new = (name for name in runs if name in board.runs and not self._has_judged(board.runs[name]))
        critiques = (critique for name in new if (critique := _of_score(board, name, self._claims)))
        return list(islice(critiques, MISSED))

    def _has_judged(self, target: Proposal | Run) -> bool:
        return any(critique.author == self._name for critique in target.critiques)

    async def _with_opinions(self, critiques: Sequence[CritiquePosted], board: Board) -> Sequence[AnyEvent]:
        """Ask the model about proposals that passed the rules, within its budget."""
        assert self._opinions
        assert board.opened
        open_ones = self._opinions.worth_asking(board, critiques)
        if not open_ones:
            return critiques
        shown = [*(critique.target for critique in open_ones), *worth_showing(board)]
        base = {board.opened.base_tree: self._base[1]}  # no agent may have proposed the baseline yet
        code = {**await self._code.at_hand(board, shown), **base}
        if self._texts:
            await self._texts.recall(board, [*shown, *worth_recalling(board)])
        judged = await self._opinions.of(board, open_ones, code)
        return [*(critique for critique in critiques if critique not in open_ones), *judged]

    async def _judge(self, proposal: Proposal, board: Board) -> CritiquePosted:
        assert board.opened is not None
        opened, tree = board.opened, proposal.event.tree
        if tree == opened.base_tree:
            return CritiquePosted(
                target=tree, verdict="endorse", rule="baseline", text="the baseline: every proposal is compared with it"
            )
        if self._base[0] != opened.base_commit:
            self._base = (opened.base_commit, await self._code.files(board))
            self._learned = Learned(self._code.files)
        try:
            files, real = await self._code.files(board, tree), await self._code.real_tree(board, tree)
        except ObjectMissing as error:
            return _block(tree, "no_code", str(error))
        if real != tree:
            return _block(tree, "other_code", f"claims tree {short(tree)}, but its commit has tree {short(real)}")
        is_sampler, event = proposal.event.origin.how == "sampler", proposal.event
        turned = turned_literals(board, event.parents, event.knobs, is_sampler=is_sampler)
        if why := rules_of(opened, self._base[1]).changed_value(files, turned=turned):
            return _block(tree, FIXED, why)
        earlier, counts = await self._learned.before(board, proposal)
        return judge(opened.spec, tree, files, self._base[1], earlier, counts=counts, ended=lambda t: _end(board, t))


def _of_score(board: Board, run: str, claims: ClaimSums) -> CritiquePosted | None:
    """Return the critique of a score: its luck, and whether the run gave other results than the baseline."""
    critique = judge_score(board, run, claims)
    if board.runs[run].requested.lane != "explore" or not (odd := other_results(board, board.runs[run])):
        return critique
    beside = f"; {critique.text}" if critique else ""
    text = f"{odd}: does it still do all of the work?{beside}"
    predicted = critique.predicted if critique else None
    return CritiquePosted(target=run, verdict="warn", rule="other_results", text=text, predicted=predicted)


def _opinions(context: Context) -> "ModelCritic":
    """Return the critic's client of a model, imported here because only critics with a model need the packages."""
    try:
        from agents.critique.model import ModelCritic
    except ModuleNotFoundError as error:
        raise BadInput(
            f"models need the package {error.name}, which is not installed; run pip install 'mesh-swarm[models]'"
        ) from None
    return ModelCritic(context.name, context.options, context.calls, context.unposted)


def judge(
    spec: ArenaSpec,
    tree: str,
    files: Mapping[str, bytes],
    base: Mapping[str, bytes],
    earlier: Earlier,
    *,
    counts: Callable[[str], bool] = lambda _: True,
    ended: Callable[[str], bool | None] = lambda _: None,
) -> CritiquePosted:
    """Return the critique of one proposal.

    Args:
        spec: The spec of the arena.
        tree: The proposal, by its tree hash.
        files: All files of the proposal, by path.
        base: The files of the arena's base commit.
        earlier: Fingerprints of earlier proposals.
        counts: Whether one of them counts, by its tree hash.
        ended: Whether one of them ran well; None while it has not.
    """
    editable = editable_paths(spec, base, files)
    if broken := _broken(files, base, editable):
        return _block(tree, *broken)
    own, first = fingerprint(files, editable), fingerprint(base, editable)
    if own.meaning == first.meaning or own.seedless == first.seedless:
        return _same(tree, "the baseline", seed_only=own.meaning != first.meaning)
    if same := earlier.same(own, counts):
        return _same(tree, f"proposal {short(same.tree)}", seed_only=same.seed_only)
    if other := next(earlier.near(own, counts), ""):
        text = f"near duplicate of proposal {short(other)}: every knob differs by less than {NEAR:.0%} of its range"
        return CritiquePosted(target=tree, verdict="warn", rule="near_duplicate", text=text)
    failed = 0
    for other in earlier.near(own, counts, AROUND):
        if won := ended(other):
            break
        failed += won is False
    else:
        if failed >= DEAD_END:
            text = f"all {failed} earlier proposals with every knob within {AROUND:.0%} of its range have failed"
            return CritiquePosted(target=tree, verdict="block", rule="dead_end", text=text, confidence=0.9)
    return CritiquePosted(
        target=tree, verdict="endorse", rule="sound", text="parses, changes only editable files, and is new"
    )


def _end(board: Board, tree: str) -> bool | None:
    """Return whether a proposal ran well; None if it has no run, or one that has not finished.

    One that misses a constraint or a threshold ran well: where they bind, the best proposals have such neighbours.
    """
    done = board.current_runs(tree)
    if not done or not all(run.finished for run in done):
        return None
    return any(run.value is not None or run.missed for run in done)


def _same(tree: str, other: str, *, seed_only: bool) -> CritiquePosted:
    if seed_only:
        return _block(tree, "seed_only", f"differs from {other} only in a seed")
    return _block(tree, "duplicate", f"same code as {other} except for comments and layout")


def _block(tree: str, rule: str, text: str) -> CritiquePosted:
    return CritiquePosted(target=tree, verdict="block", rule=rule, text=text, confidence=1.0)


def _broken(files: Mapping[str, bytes], base: Mapping[str, bytes], editable: Sequence[str]) -> tuple[str, str] | None:
    """Return why the files cannot run, as the name of a rule and a text; None if they can."""
    for name in sorted(files.keys() | base.keys()):
        if name not in editable and files.get(name) != base.get(name):
            return "protected", f"changes {name!r}, but only {', '.join(editable)} may be changed"
    if why := any_trespass(base, files, editable):
        return "protected", why
    if why := too_many_new(base, files):
        return "protected", why
    for name in editable:
        if name not in files:
            return "missing", f"lacks {name!r}, which the trial needs"
        if name.endswith(".py"):
            try:
                parse_python(files[name])
            except SyntaxError as error:
                return "syntax", f"{name} does not parse: {error.msg} (line {error.lineno or 1})"
            except (ValueError, RecursionError, MemoryError) as error:
                return "syntax", f"{name} does not parse: {str(error) or type(error).__name__}"
    return None

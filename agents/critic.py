"""The critic: judges proposals before any compute is spent on them.

It blocks what does not parse, touches protected files, changes nothing but a seed or comments, or says what another
proposal said before; it warns of a near duplicate. `judge` is pure.
"""

import ast
import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import ClassVar

from agents.knobs import knobs_of
from mesh.agent.protocol import Context
from mesh.board import Board, Proposal
from mesh.errors import ObjectMissing
from mesh.events import AgentJoined, AnyEvent, ArenaSpec, CritiquePosted, ProposalPosted, Scalar
from mesh.wire import Post

NEAR = 0.01
"""Relative difference of every knob below which two proposals are near duplicates."""


class Critic:
    """Judges every proposal once, in the order of the log."""

    listens: ClassVar[tuple[str, ...]] = ("proposal.posted",)
    only_latest: ClassVar[bool] = False

    def __init__(self, context: Context) -> None:
        self._name, self._code = context.name, context.code
        self._files: dict[str, Mapping[str, bytes]] = {}

    async def handle(self, post: Post, board: Board) -> Sequence[AnyEvent]:
        """Judge the proposal in `post`; on joining, all that it has not judged."""
        if board.opened is None or board.closed:
            return []
        if isinstance(post.event, ProposalPosted):
            todo = [post.event.tree]
        elif isinstance(post.event, AgentJoined):
            todo = [tree for tree, p in board.proposals.items() if p.verdict == "open" and not self._has_judged(p)]
        else:
            todo = []
        return [await self._judge(tree, board) for tree in todo if tree in board.proposals]

    def _has_judged(self, proposal: Proposal) -> bool:
        return any(c.author == self._name for c in proposal.critiques)

    async def _judge(self, tree: str, board: Board) -> CritiquePosted:
        assert board.opened is not None
        opened, proposal = board.opened, board.proposals[tree]
        if tree == opened.base_tree:
            return CritiquePosted(target=tree, verdict="endorse", rule="baseline", text="everything is measured by it")
        try:
            base = await self._load(opened.base_tree, opened.base_commit, opened.base_commit)
            files = await self._load(tree, proposal.event.commit, opened.base_commit)
            earlier = {
                other: await self._load(other, p.event.commit, opened.base_commit)
                for other, p in board.proposals.items()
                if p.seq < proposal.seq and p.why != "blocked"
            }
        except ObjectMissing as error:
            return CritiquePosted(target=tree, verdict="block", rule="no_code", text=str(error))
        return judge(opened.spec, tree, files, base, earlier)

    async def _load(self, tree: str, commit: str, base: str) -> Mapping[str, bytes]:
        if tree not in self._files:
            self._files[tree] = await self._code.files(commit, base=base)
        return self._files[tree]


def judge(
    spec: ArenaSpec,
    tree: str,
    files: Mapping[str, bytes],
    base: Mapping[str, bytes],
    earlier: Mapping[str, Mapping[str, bytes]],
) -> CritiquePosted:
    """Return the word on one proposal, given its files, the base's, and those of earlier proposals by tree hash."""
    editable = spec.artifact.editable

    def block(rule: str, text: str) -> CritiquePosted:
        return CritiquePosted(target=tree, verdict="block", rule=rule, text=text, confidence=1.0)

    touched = sorted(
        name for name in files.keys() | base.keys() if name not in editable and files.get(name) != base.get(name)
    )
    if touched:
        return block("protected", f"changes {touched[0]!r}, but only {', '.join(editable)} may be changed")
    for name in editable:
        if name not in files:
            return block("missing", f"leaves out {name!r}, which the trial needs")
        if name.endswith(".py"):
            try:
                ast.parse(files[name])
            except (SyntaxError, ValueError, RecursionError) as error:
                return block("syntax", f"{name} does not parse: {error}")
    meaning, no_seeds = fingerprint(files, editable), fingerprint(files, editable, seeds=False)
    for other, theirs in {"the baseline": base, **earlier}.items():
        label = other if other == "the baseline" else f"proposal {other[:10]}"
        if fingerprint(theirs, editable) == meaning:
            return block("duplicate", f"says the same as {label} but for comments and layout")
        if fingerprint(theirs, editable, seeds=False) == no_seeds:
            return block("seed_only", f"differs from {label} in nothing but a seed")
    for other, theirs in earlier.items():
        if _near(files, theirs, editable):
            text = f"every knob is within {NEAR:.0%} of proposal {other[:10]}"
            return CritiquePosted(target=tree, verdict="warn", rule="near_duplicate", text=text)
    return CritiquePosted(target=tree, verdict="endorse", rule="sound", text="parses, keeps to its files, and is new")


def fingerprint(files: Mapping[str, bytes], editable: Sequence[str], *, seeds: bool = True) -> str:
    """Return a hash of what the editable files mean: without comments and layout, and without seeds if told so."""
    total = hashlib.sha256()
    for name in editable:
        data = files.get(name, b"")
        total.update(f"{name} ".encode())
        total.update(_normal(data, seeds) if name.endswith(".py") else data)
    return total.hexdigest()


@lru_cache(maxsize=8192)
def _normal(data: bytes, seeds: bool) -> bytes:
    try:
        module = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError):
        return data
    if not seeds:
        for statement in module.body:
            if isinstance(statement, ast.Assign) and any(
                isinstance(t, ast.Name) and "SEED" in t.id.upper() for t in statement.targets
            ):
                statement.value = ast.Constant(0)
    return hashlib.sha256(ast.dump(module).encode()).digest()


@lru_cache(maxsize=8192)
def _values(file: str, data: bytes) -> tuple[tuple[tuple[str, str], Scalar], ...]:
    return tuple(((k.file, k.name), k.value) for k in knobs_of({file: data}, (file,)))


def _near(mine: Mapping[str, bytes], theirs: Mapping[str, bytes], editable: Sequence[str]) -> bool:
    """Whether two proposals differ in numeric knobs alone, each by less than `NEAR`."""
    a, b = ({at: value for name in editable for at, value in _values(name, f.get(name, b""))} for f in (mine, theirs))
    if a.keys() != b.keys() or not a:
        return False
    for at, x in a.items():
        y = b[at]
        if x == y:
            continue
        if isinstance(x, str | bool) or isinstance(y, str | bool):
            return False
        if not math.isclose(x, y, rel_tol=NEAR):
            return False
    return True

"""The explorer: proposes real edits of knobs, with no model and no key.

First the artifact as it is; then, by its place among the explorers, one of three samplers that all learn from the whole
log: `random` draws every knob afresh, `mutate` moves a few knobs of a good proposal, `crossover` takes each knob from
one of two good proposals (a commit with two parents). It keeps a bounded number of its proposals undecided.
"""

import random
from collections.abc import Mapping, Sequence
from typing import ClassVar

from agents.knobs import Knob, edit, find_knobs
from mesh.agent.protocol import Context
from mesh.board import Board
from mesh.errors import BadInput
from mesh.events import AnyEvent, KnobChange, Origin, ProposalPosted, Scalar
from mesh.wire import Post

SAMPLERS = ("mutate", "random", "crossover")
UNDECIDED = 2
"""Proposals of one explorer that may wait for a verdict."""

ELITE = 4
"""How many of the best serve as parents."""

TRIES = 30
"""Draws before an explorer gives up on finding files that nobody has proposed."""


class Explorer:
    """Turns knobs; option `sampler` names one of `SAMPLERS`, else they are dealt out in turn."""

    listens: ClassVar[tuple[str, ...]] = ("run.finished", "proposal.promoted", "proposal.retired", "arena.opened")
    only_latest: ClassVar[bool] = True

    def __init__(self, context: Context) -> None:
        self._name, self._code = context.name, context.code
        self._sampler = context.options.get("sampler", SAMPLERS[context.index % len(SAMPLERS)])
        if self._sampler not in SAMPLERS:
            raise BadInput(f"option sampler={self._sampler} is unknown: it is one of {', '.join(SAMPLERS)}")
        self._sources: dict[str, dict[str, bytes]] = {}

    async def handle(self, post: Post, board: Board) -> Sequence[AnyEvent]:
        """Propose until `UNDECIDED` of its proposals wait for a verdict."""
        if board.opened is None or board.closed:
            return []
        opened = board.opened
        if opened.base_tree not in board.proposals:
            origin = Origin(how="baseline")
            return [ProposalPosted(tree=opened.base_tree, commit=opened.base_commit, title="as it is", origin=origin)]
        mine = [p for p in board.proposals.values() if p.author == self._name]
        undecided = sum(p.verdict == "open" for p in mine)
        made: list[AnyEvent] = []
        seen = set(board.proposals)
        for number in range(UNDECIDED - undecided):
            proposal = await self._propose(post, board, len(mine) + number, seen)
            if proposal is None:
                break
            seen.add(proposal.tree)
            made.append(proposal)
        return made

    async def _propose(self, post: Post, board: Board, number: int, seen: set[str]) -> ProposalPosted | None:
        assert board.opened is not None
        opened = board.opened
        elite = rank(board)[:ELITE]
        for attempt in range(TRIES):
            rng = random.Random(f"{self._name} {opened.version} {number} {attempt} {board.seq}")
            base = await self._files(opened.base_tree, opened.base_commit, opened.base_commit)
            parents = pick_parents(self._sampler, elite, opened.base_tree, rng)
            files = [
                await self._files(tree, board.proposals[tree].event.commit, opened.base_commit) for tree in parents
            ]
            knobs = knobs_of(files[0], opened.spec.artifact.editable)
            if not knobs:
                return None
            others = [knobs_of(other, opened.spec.artifact.editable) for other in files[1:]]
            idea = think(self._sampler, knobs, others, rng)
            changed = apply(files[0], knobs, idea)
            # A commit's time is the time of the post that led to it: the same thought makes the same commit.
            if changed == files[0] or changed == base:
                continue
            commit = self._code.commit(
                changed,
                parents=[board.proposals[tree].event.commit for tree in parents],
                message=f"{idea[0]}\n",
                author=self._name,
                at=post.at,
            )
            if commit.tree not in seen:
                changes = tuple(
                    KnobChange(file=k.file, name=k.name, old=k.value, new=idea[1][k.file, k.name])
                    for k in knobs
                    if idea[1][k.file, k.name] != k.value
                )
                return ProposalPosted(
                    tree=commit.tree,
                    commit=commit.commit,
                    parents=parents,
                    title=idea[0],
                    rationale=_RATIONALE[self._sampler],
                    origin=Origin(how="sampler", name=self._sampler),
                    knobs=changes,
                )
        return None

    async def _files(self, tree: str, commit: str, base: str) -> dict[str, bytes]:
        if tree not in self._sources:
            if len(self._sources) > 64:
                self._sources.clear()
            self._sources[tree] = await self._code.files(commit, base=base)
        return self._sources[tree]


Values = dict[tuple[str, str], Scalar]
_RATIONALE = {
    "random": "an even draw over every knob: what nobody would try by hand",
    "mutate": "a small step from one of the best so far",
    "crossover": "each knob from one of two good proposals: what works apart may work together",
}


def rank(board: Board) -> list[str]:
    """Return the proposals that have scores, best mean first."""
    means = {tree: sum(s) / len(s) for tree in board.proposals if (s := board.scores(tree))}
    return sorted(means, key=lambda tree: means[tree], reverse=board.spec.objective.direction == "maximize")


def pick_parents(sampler: str, elite: Sequence[str], base: str, rng: random.Random) -> tuple[str, ...]:
    """Return the proposals to start from: the baseline, one of the best (better ones more often), or two of them."""
    if sampler == "random" or not elite:
        return (base,)
    if sampler == "crossover" and len(elite) > 1:
        return tuple(rng.sample(list(elite), 2))
    weights = [1 / (place + 1) for place in range(len(elite))]
    return (rng.choices(list(elite), weights)[0],)


def knobs_of(files: Mapping[str, bytes], editable: Sequence[str]) -> list[Knob]:
    """Return the knobs of the editable Python files."""
    found: list[Knob] = []
    for name in editable:
        if name.endswith(".py") and name in files:
            found += find_knobs(name, files[name].decode("utf-8", "replace"))
    return found


def think(
    sampler: str, knobs: Sequence[Knob], others: Sequence[Sequence[Knob]], rng: random.Random
) -> tuple[str, Values]:
    """Return a title and a value for every knob."""
    values: Values = {(k.file, k.name): k.value for k in knobs}
    if sampler == "random":
        values = {(k.file, k.name): k.sample(rng) for k in knobs}
    elif others:
        theirs = {(k.file, k.name): k.value for other in others for k in other}
        values = {at: theirs[at] if at in theirs and rng.random() < 0.5 else mine for at, mine in values.items()}
    if sampler == "mutate" or not any(values[k.file, k.name] != k.value for k in knobs):
        count = min(len(knobs), rng.choice((1, 1, 2, 3)))
        for knob in rng.sample(list(knobs), count):
            values[knob.file, knob.name] = knob.mutate(knob.value, rng)
    changed = [f"{k.name} {k.value} → {values[k.file, k.name]}" for k in knobs if values[k.file, k.name] != k.value]
    title = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
    return f"{sampler}: {title}", values


def apply(files: Mapping[str, bytes], knobs: Sequence[Knob], idea: tuple[str, Values]) -> dict[str, bytes]:
    """Return the files with the idea's values written into them."""
    changed = dict(files)
    for name in {k.file for k in knobs}:
        new = {k.name: idea[1][k.file, k.name] for k in knobs if k.file == name and idea[1][k.file, k.name] != k.value}
        if new:
            changed[name] = edit(files[name].decode("utf-8", "replace"), new).encode()
    return changed

"""The explorer: proposes real edits of knobs, with no model and no key.

First the artifact as it is; then, by its place among the explorers, one of three samplers that all learn from the whole
log: `random` draws every knob afresh, `mutate` moves a few knobs of a good proposal, `crossover` takes each knob from
one of two good proposals (a commit with two parents). It keeps a bounded number of its proposals undecided.
"""

import math
import random
from collections.abc import Mapping, Sequence
from typing import ClassVar

from agents.knobs import Knob, edit, knobs_of
from agents.selection import queue_depth
from mesh.agent.protocol import Context
from mesh.board import Board
from mesh.errors import BadInput
from mesh.events import AgentJoined, AnyEvent, KnobChange, NotePosted, Origin, ProposalPosted, Scalar
from mesh.wire import Post

SAMPLERS = ("mutate", "random", "crossover")
UNDECIDED = 2
"""Proposals of one explorer that may wait for a verdict, or its share of the queue where that is more."""

ELITE = 4
"""How many of the best serve as parents."""

TRIES = 30
"""Draws before an explorer gives up on finding files that nobody has proposed."""


class Explorer:
    """Turns knobs; option `sampler` names one of `SAMPLERS`, else they are dealt out in turn."""

    listens: ClassVar[tuple[str, ...]] = ("run.finished", "proposal.promoted", "proposal.retired", "arena.opened")
    only_latest: ClassVar[bool] = True

    def __init__(self, context: Context) -> None:
        self._name, self._code, self._speaks = context.name, context.code, context.index == 0
        self._sampler = context.options.get("sampler", SAMPLERS[context.index % len(SAMPLERS)])
        if self._sampler not in SAMPLERS:
            raise BadInput(f"option sampler={self._sampler} is unknown: it is one of {', '.join(SAMPLERS)}")
        self._sources: dict[str, dict[str, bytes]] = {}
        self._said: set[str] = set()

    async def handle(self, post: Post, board: Board) -> Sequence[AnyEvent]:
        """Propose until enough of its proposals wait for a verdict."""
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
        for number in range(share(board) - undecided):
            proposal = await self._propose(post, board, len(mine) + number, seen)
            if proposal is None:
                break
            seen.add(proposal.tree)
            made.append(proposal)
        return made or ([] if undecided else await self._nothing_new(board))

    async def _propose(self, post: Post, board: Board, number: int, seen: set[str]) -> ProposalPosted | None:
        assert board.opened is not None
        opened, editable = board.opened, board.opened.spec.artifact.editable
        base = await self._files(opened.base_tree, opened.base_commit, opened.base_commit)
        elite = rank(board)[:ELITE]
        sampler = "mutate" if self._sampler == "crossover" and len(elite) < 2 else self._sampler
        for attempt in range(TRIES):
            rng = random.Random(f"{self._name} {opened.version} {number} {attempt} {board.seq}")
            parents = pick_parents(sampler, elite, opened.base_tree, rng)
            files = [
                await self._files(tree, board.proposals[tree].event.commit, opened.base_commit) for tree in parents
            ]
            knobs, *others = [knobs_of(each, editable) for each in files]
            if not knobs:
                continue
            title, values = think(sampler, knobs, others, rng)
            start = {**base, **{name: files[0][name] for name in editable if name in files[0]}}
            changed = apply(start, base, knobs, values)
            if self._code.tree_of(changed) in seen:
                continue
            # A commit's time is the time of the post that led to it: the same thought makes the same commit.
            commit = self._code.commit(
                changed,
                parents=[board.proposals[tree].event.commit for tree in parents],
                message=f"{title}\n",
                author=self._name,
                at=post.at,
            )
            changes = tuple(
                KnobChange(file=k.file, name=k.name, old=k.value, new=values[k.file, k.name])
                for k in knobs
                if values[k.file, k.name] != k.value
            )
            return ProposalPosted(
                tree=commit.tree,
                commit=commit.commit,
                parents=parents,
                title=title,
                rationale=_RATIONALE[sampler],
                origin=Origin(how="sampler", name=sampler),
                knobs=changes,
            )
        return None

    async def _nothing_new(self, board: Board) -> list[AnyEvent]:
        """Say, once in a life, why nothing is proposed; the first explorer speaks for all where there are no knobs."""
        assert board.opened is not None
        opened, editable = board.opened, board.opened.spec.artifact.editable
        knobs = knobs_of(await self._files(opened.base_tree, opened.base_commit, opened.base_commit), editable)
        if knobs:
            text = f"{self._name} found nothing new in {TRIES} draws of {len(knobs)} knobs: give them wider ranges"
        else:
            text = (
                f"arena {board.arena} has no knobs, so explorers propose nothing: give {' or '.join(editable)} "
                "constants such as `LEARNING_RATE = 0.1  # mesh: 1e-3..1.0 log`"
            )
        if text in self._said or (not knobs and not self._speaks):
            return []
        self._said.add(text)
        return [NotePosted(channel="ops", text=text)]

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


def share(board: Board) -> int:
    """Return how many proposals of one explorer may be undecided, so that all explorers together fill the queue."""
    joined = ((m.name, m.joined) for m in board.agents.values() if not m.left)
    names = {name for name, its in joined if isinstance(its, AgentJoined) and its.role.lower().endswith("explorer")}
    return max(UNDECIDED, math.ceil(queue_depth(board) / max(1, len(names))))


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


def apply(
    files: Mapping[str, bytes], base: Mapping[str, bytes], knobs: Sequence[Knob], values: Values
) -> dict[str, bytes]:
    """Return the files with the values written into them.

    A value that `base` holds too is spelled as there, so that the same values make the same tree whatever the way.
    """
    changed = dict(files)
    for name in dict.fromkeys(k.file for k in knobs):
        source = files[name].decode()
        before = {k.name: k.value for k in knobs if k.file == name}
        after = {at: values[name, at] for at in before}
        first = {k.name: k.value for k in knobs_of(base, [name])}
        if first.keys() == before.keys():
            original = base[name].decode()
            if edit(original, after) == edit(source, after):
                source, before = original, first
        new = {at: value for at, value in after.items() if value != before[at]}
        changed[name] = edit(source, new).encode()
    return changed

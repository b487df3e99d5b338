"""The explorer: proposes real edits of knobs, with no model and no key.

First the artifact as it is; then a few points that leave no gaps (Sobol); then a portfolio of samplers that all learn
from the whole log, whoever made its proposals (`agents.search.samplers`). Shares of the proposals move to the kinds
that earn more improvement per second of a worker. It keeps a bounded number of its proposals waiting. What it proposes
depends on the board, its name and nothing else: explorers of other names have other ideas, and a restart goes on as
before.
"""

import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import ClassVar

import anyio.to_thread

from agents.search.knobs import Knob, are_near, edit, knobs_of, steady
from agents.search.samplers import portfolio
from agents.search.samplers.history import History, Known
from agents.search.samplers.own import own_sampler, reason_of
from agents.search.samplers.protocol import Idea, Trial, Values, best_first, place, where
from mesh.agent.draft import BASELINE, Draft
from mesh.agent.protocol import Answers, Context
from mesh.board import Board
from mesh.errors import BadInput, ObjectMissing
from mesh.events import KnobChange, NotePosted, Origin, Scalar
from mesh.fleet import agents_here, queue_depth
from mesh.wire import Post

UNDECIDED = 2
"""Proposals of one explorer that may wait for a result, or its share of what keeps the workers busy if that is more."""

AHEAD_S = 5.0
"""Seconds of work that lie ready for a worker beside the run it has; more would be made knowing less."""

_TRIES = 30
"""Draws before an explorer gives up on finding files that nobody has proposed; the later half learns nothing."""


class Explorer:
    """Turns knobs.

    Option `sampler` names the one sampler to ask (one of ours, or `module:Class` of the user's own); else ours take
    turns by what they earn. Where nothing new is found, steps and even draws are tried too.
    """

    listens: ClassVar[tuple[str, ...]] = ("run.finished", "proposal.promoted", "proposal.retired", "arena.opened")
    only_latest: ClassVar[bool] = True
    role: ClassVar[str] = "explorer"

    def __init__(self, context: Context) -> None:
        self._name, self._code, self._speaks = context.name, context.code, context.index == 0
        self._forced = context.options.get("sampler", "")
        self._samplers, self._missing = portfolio.installed_samplers()
        self._reasons = dict(portfolio.RATIONALE)
        if ":" in self._forced:
            own = own_sampler(self._forced, context.path)
            self._forced = type(own).__name__.lower()
            self._samplers[self._forced], self._reasons[self._forced] = own, reason_of(own)
        if self._forced and self._forced not in self._samplers:
            known = ", ".join(self._samplers)
            why = f"needs {', '.join(self._missing)}" if self._forced in portfolio.SAMPLERS else "is unknown"
            raise BadInput(f"option sampler={self._forced} {why}: use {known}, or module:Class of your own")
        self._kinds = [kind for kind in portfolio.LEARNING if kind in self._samplers]
        self._kinds += ["random"] if self._missing else []
        self._history = History(context.code.files)
        self._said: set[str] = set()

    async def handle(self, post: Post, board: Board) -> Answers:
        """Propose until enough of its proposals wait for a result."""
        return await self.joined(board)

    async def joined(self, board: Board) -> Answers:
        """Propose until enough of its proposals wait for a result."""
        if board.opened is None or board.closed:
            return []
        if board.opened.base_tree not in board.proposals:
            return [BASELINE]
        known = await self._history.read(board)
        mine = {tree for tree, proposal in board.proposals.items() if proposal.author == self._name}
        waiting = sum(trial.tree in mine for trial in known.pending)
        made: list[Draft | NotePosted] = []
        for number in range(share(board) - waiting):
            found = await self._propose(board, known, len(mine) + number)
            if found is None:
                break
            draft, trial = found
            known.pending.append(trial)
            made.append(draft)
        if self._missing and not self._forced:
            made += self._say(
                f"{' and '.join(self._missing)} not installed, so explorers draw by {', '.join(self._kinds)} alone: "
                "pip install 'mesh-swarm[search]'",
                as_one_of_many=True,
            )
        return made or ([] if waiting else await self._nothing_new(board))

    async def _propose(self, board: Board, known: Known, number: int) -> tuple[Draft, Trial] | None:
        assert board.opened is not None
        opened, editable = board.opened, board.opened.spec.artifact.editable
        base = await self._code.files(board)
        best = best_code(board, known)
        first = knobs_of(base, editable)
        space = steady(knobs_of(await self._code.files(board, best), editable), first)
        if not space:
            return None
        before = known.every
        trials = [trial for trial in known.trials if trial.values]  # code without knobs teaches nothing about them
        seen = {trial.tree for trial in before}
        for attempt in range(_TRIES):
            rng = Random(f"{self._name} {opened.version} {number} {attempt} {known.seq}")
            kind, drawn = self._kind(space, known, rng, attempt)
            sampler = self._samplers[kind]
            idea: Idea = await anyio.to_thread.run_sync(sampler.ask, space, trials, known.pending, rng)
            parents = idea.parents or (best,)
            try:
                files = await self._code.files(board, parents[0])
                for tree in parents[1:]:
                    await self._code.files(board, tree)
            except ObjectMissing:  # a stranger may post what it never shares
                continue
            knobs = space if parents[0] == best else steady(knobs_of(files, editable), first)
            values = {where(knob): fitting(knob, idea.values.get(where(knob))) for knob in knobs}
            if not knobs or any(are_near(knobs, values, trial.values) for trial in before):
                continue
            start = {**base, **{name: files[name] for name in editable if name in files}}
            changed = apply(start, base, knobs, values)
            if (its_tree := self._code.tree_of(changed)) in seen:
                continue
            changes = [
                KnobChange(file=k.file, name=k.name, old=k.value, new=values[where(k)])
                for k in knobs
                if values[where(k)] != k.value
            ]
            words = [f"{change.name} {change.old} → {change.new}" for change in changes]
            title = f"{kind}: {', '.join(words[:3])}" + (f" and {len(words) - 3} more" if words[3:] else "")
            draft = Draft(
                {name: changed[name] for name in editable if name in changed},
                title,
                self._reasons[kind],
                parents,
                knobs=tuple(changes),
                origin=Origin(how="sampler", name=kind, share=drawn),
                as_of=known.seq,
            )
            return draft, Trial(tree=its_tree, seq=known.seq + 1 + number, values=values, loss=None, by=kind)
        return None

    def _kind(self, space: Sequence[Knob], known: Known, rng: Random, attempt: int) -> tuple[str, float | None]:
        """Return the sampler to ask, and its share where lots are drawn.

        Sobol comes first, then they share, and in the end it is whatever finds something new.
        """
        if attempt >= _TRIES // 2:
            return ("mutate", "random")[attempt % 2], None
        if self._forced:
            return self._forced, None
        begun = sum(trial.by == "sobol" for trial in known.every)
        if begun < portfolio.first_points(len(space)):
            return "sobol", None
        kind, share_ = portfolio.choose_kind(self._kinds, known.trials, rng)
        return kind, round(share_, 4)

    async def _nothing_new(self, board: Board) -> list[NotePosted]:
        """Say, once in a life, why nothing is proposed; the first explorer speaks for all where there are no knobs."""
        assert board.opened is not None
        editable = board.opened.spec.artifact.editable
        knobs = knobs_of(await self._code.files(board), editable)
        if knobs:
            return self._say(
                f"{self._name} found nothing new in {_TRIES} draws of {len(knobs)} knobs: give them wider ranges"
            )
        text = (
            f"arena {board.arena} has no knobs, so explorers propose nothing: give {' or '.join(editable)} "
            "constants such as `LEARNING_RATE = 0.1  # mesh: 1e-3..1.0 log`"
        )
        return self._say(text, as_one_of_many=True)

    def _say(self, text: str, *, as_one_of_many: bool = False) -> list[NotePosted]:
        if text in self._said or (as_one_of_many and not self._speaks):
            return []
        self._said.add(text)
        return [NotePosted(channel="ops", text=text)]


def share(board: Board) -> int:
    """Return how many proposals of one explorer may wait, so that all explorers together keep the workers busy."""
    ahead = min(1.0, AHEAD_S / board.spec.trial.budget_s)
    wanted = queue_depth(board) / 2 * (1 + ahead)
    return max(UNDECIDED, math.ceil(wanted / max(1, len(agents_here(board, "explorer")))))


def best_code(board: Board, known: Known) -> str:
    """Return the proposal whose code is edited: the champion, else the best so far, else the artifact as it is.

    Code without knobs is passed over.
    """
    assert board.opened is not None
    ranked = [trial.tree for trial in best_first(known.trials) if trial.values]
    turned = {trial.tree for trial in known.every if trial.values}
    return board.champion if board.champion in turned else (ranked or [board.opened.base_tree])[0]


def fitting(knob: Knob, value: Scalar | None) -> Scalar:
    """Return a value that the knob may have: the nearest in its range, or the one it has where there is none."""
    if value is None or value == knob.value or place(knob, value) is None:
        return knob.value
    if knob.choices or isinstance(value, str):
        return value
    inside = min(knob.high, max(knob.low, value))
    return round(inside) if knob.is_int else float(inside)


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

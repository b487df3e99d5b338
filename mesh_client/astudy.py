"""A study: an optimiser's view of an arena, with the knobs as the explorer knows them, in an event loop.

`ask` proposes values, and `tell` only waits for the swarm's score: nobody reports a score of their own.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Literal

import anyio
import msgspec

from agents.explorer import apply, best_code, changes_of, fitting, tied
from agents.search.asking import Asking
from agents.search.history import History, Known
from agents.search.samplers import portfolio
from agents.search.samplers.protocol import Sampler, Trial, Values, where
from agents.search.strategy import TRIES, Strategy
from agents.search.titles import title_of
from gateway.answers import Outcome
from gateway.door import Door
from gateway.propose import post_draft
from gateway.refusals import check_open
from gateway.wait import ending_of
from mesh.agent.draft import BASELINE, Draft
from mesh.board import Board
from mesh.editable_paths import editable_paths
from mesh.errors import BadInput, NotYet, ObjectMissing
from mesh.events import Origin, Scalar
from mesh.fleet import slots
from mesh.knobs import Knob, are_near, knobs_of, steady
from mesh.literals import how_to_add_knobs
from mesh.text import short
from mesh.wire import check_token
from mesh_client.knob_words import checked_values, knob_names, values_by_name

_Wait = Callable[[str, float | None], Awaitable[Outcome]]
"""Waits for the first score of a proposal, for so many seconds."""

TrialState = Literal["waiting", "scored", "failed"]


class StudyTrial(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal of anybody as a trial of the study's knobs.

    Attributes:
        proposal: The tree hash of the proposal.
        values: Its values by the names of the knobs; knobs that its code lacks are not among them.
        state: `waiting` for its first score, `scored`, or `failed` without one: it crashed, was refused or given up.
        score: The mean score, in units of the metric; None if there is none.
        loss: The score, turned so that lower is better; a trial that misses a limit has one that is worse than all.
        author: Who proposed it.
        why: Why it has no score, in text of others; "" if it has one or waits.
    """

    proposal: str
    values: dict[str, Scalar]
    state: TrialState = "waiting"
    score: float | None = None
    loss: float | None = None
    author: str = ""
    why: str = ""


class _Code(msgspec.Struct, frozen=True):
    """The code that values are written into: the best proposal, its files, and those of the baseline."""

    tree: str
    files: Mapping[str, bytes]
    base: Mapping[str, bytes]
    editable: tuple[str, ...]
    first: Sequence[Knob]
    space: Sequence[Knob]


class AsyncStudy:
    """A study of an arena; `AsyncClient.study` makes it.

    Attributes:
        name: The name under which its proposals are credited, as that of a sampler.
    """

    def __init__(
        self, door: Door, author: str, wait: _Wait, *, name: str, sampler: str | Sampler = "", seed: int = 0
    ) -> None:
        self.name = check_token("the name of a study", name)
        self._door, self._author, self._wait, self._seed = door, author, wait, seed
        self._history = History(door.files.files)
        self._asking: Asking | None = None
        self._sampler = sampler
        self._asked = 0

    async def space(self) -> dict[str, Knob]:
        """Return the knobs of the best code by name: value, and range (`low`, `high`, `log`) or `choices`.

        A name that knobs of several files have stands after its file, as in `model.py:LR`.

        Raises:
            BadInput: The arena has no knobs.
        """
        _, code = await self._read()
        return knob_names(code.space)

    async def trials(self) -> list[StudyTrial]:
        """Return all proposals of anybody as trials, in the order of the log; the last ones may wait for a score."""
        known, code = await self._read()
        return [self._shown(code.space, trial) for trial in sorted(known.every, key=lambda trial: trial.seq)]

    async def ask(self, values: Mapping[str, object] | None = None) -> StudyTrial:
        """Propose values, and return them as a trial; knobs that are not named stay as the best code has them.

        Values that somebody has proposed before are that trial, perhaps with its score.

        Args:
            values: Values by the names of knobs; by default the sampler of the study chooses.

        Raises:
            ArenaIsClosed: The arena takes no proposals.
            BadInput: A name or a value is not valid, or the arena has no knobs, or the sampler finds nothing new.
        """
        check_open(self._door.board)
        known, code = await self._read()
        if values is not None:
            given = checked_values(code.space, values)
            return await self._propose(code, {where(k): given.get(where(k), k.value) for k in code.space}, code.tree)
        return await self._ask_sampler(known, code)

    async def tell(self, trial: StudyTrial, timeout: float | None = None) -> StudyTrial:
        """Wait for the score that the swarm measures, and return the trial with it.

        Args:
            trial: A trial that `ask` returned.
            timeout: Seconds to wait; None is any time.

        Raises:
            NotYet: The time is over, a `TimeoutError`.
        """
        return self._told(trial, await self._wait(trial.proposal, timeout))

    async def tell_any(self, trials: Sequence[StudyTrial], timeout: float | None = None) -> list[StudyTrial]:
        """Wait until at least one of these trials has its score, and return all that have.

        Raises:
            NotYet: The time is over, a `TimeoutError`.
        """

        def ended(board: Board) -> list[StudyTrial]:
            return [trial for trial in trials if ending_of(board, trial.proposal, "score")]

        if not trials:
            return []
        with anyio.move_on_after(timeout):
            await self._door.follower.until(lambda board: bool(ended(board)))
        if not (found := ended(self._door.board)):
            raise NotYet(f"none of {len(trials)} proposals has a score after {timeout:g} s; wait again")
        return [await self.tell(trial) for trial in found]

    def slots(self) -> int:
        """Return how many runs the workers take at a time."""
        return slots(self._door.board).total()

    async def _read(self) -> tuple[Known, _Code]:
        board = self._door.board
        known = await self._history.read(board)
        files, rules = self._door.files, board.spec.knobs
        base = await files.files(board)
        for tree in best_code(board, known)[:TRIES]:
            with suppress(ObjectMissing):  # another author may post a proposal and never share its code
                best = await files.files(board, tree)
                editable = editable_paths(board.spec, base, best)
                first = knobs_of(base, editable, rules)
                space = steady(knobs_of(best, editable, rules, base=base), first)
                if not space:
                    break
                return known, _Code(tree, best, base, tuple(editable), first, space)
        raise BadInput(f"arena {board.arena} has no knobs; {how_to_add_knobs(editable_paths(board.spec, base))}")

    async def _ask_sampler(self, known: Known, code: _Code) -> StudyTrial:
        board, files = self._door.board, self._door.files
        asking = self._asking = self._asking or Asking(self._strategy(), self._history.lock)
        for attempt in range(TRIES):
            rng = Random(f"{self._seed} {self.name} {self._asked} {attempt} {known.seq}")
            idea = (await asking.ask(code.space, known, rng, attempt, ())).idea
            parent = idea.parents[0] if idea.parents else code.tree
            try:
                start = code.files if parent == code.tree else await files.files(board, parent)
            except ObjectMissing:
                continue
            knobs = code.space
            if parent != code.tree:
                knobs = steady(knobs_of(start, code.editable, board.spec.knobs, base=code.base), code.first)
            knobs = [*knobs, *tied(start, knobs, idea.values)]
            values = {where(knob): fitting(knob, idea.values.get(where(knob))) for knob in knobs}
            new = self._written(code, start, knobs, values)
            near = any(are_near(knobs, values, trial.values) for trial in known.every if trial.values)
            if knobs and not near and files.tree_of(new) not in board.proposals:
                self._asked += 1
                return await self._propose(code, values, parent, knobs)
        raise BadInput(f"the sampler found no new values in {TRIES} draws; give the knobs wider ranges, or values")

    def _strategy(self) -> Strategy:
        samplers, missing = portfolio.installed_samplers()
        if not isinstance(self._sampler, str):
            return Strategy({self.name: self._sampler}, [], self.name)
        if self._sampler and self._sampler not in samplers:
            why = f"needs the packages {', '.join(missing)}" if self._sampler in portfolio.SAMPLERS else "is not known"
            raise BadInput(f"sampler {self._sampler!r} {why}; use one of {', '.join(samplers)}")
        kinds = [kind for kind in portfolio.LEARNING if kind in samplers] + (["random"] if missing else [])
        return Strategy(samplers, kinds, self._sampler)

    async def _propose(
        self, code: _Code, values: Values, parent: str, knobs: Sequence[Knob] | None = None
    ) -> StudyTrial:
        door, knobs = self._door, code.space if knobs is None else knobs
        board = door.board
        start = code.files if parent == code.tree else await door.files.files(board, parent)
        new, changes = self._written(code, start, knobs, values), changes_of(knobs, values)
        if (tree := door.files.tree_of(new)) not in board.proposals:
            draft = BASELINE
            if board.opened and tree != board.opened.base_tree:
                draft = Draft(
                    {name: new[name] for name in code.editable if name in new},
                    title_of(self.name, 0, knobs, changes) if changes else f"{self.name}: as its parent",
                    parents=(parent,),
                    knobs=tuple(changes),
                    origin=Origin(how="sampler", name=self.name),
                )
            tree, _ = await post_draft(door.bus, door.code, board, draft, self._author)
            await door.follower.until(lambda board: tree in board.proposals)
        shown = StudyTrial(
            proposal=tree, values=values_by_name(knobs, values), author=door.board.proposals[tree].author
        )
        with suppress(NotYet):
            return self._told(shown, await self._wait(tree, 0))
        return shown

    @staticmethod
    def _written(code: _Code, start: Mapping[str, bytes], knobs: Sequence[Knob], values: Values) -> dict[str, bytes]:
        editable = {name: start[name] for name in code.editable if name in start}
        return apply({**code.base, **editable}, code.base, knobs, values)

    def _shown(self, space: Sequence[Knob], trial: Trial) -> StudyTrial:
        board = self._door.board
        ended = bool(ending_of(board, trial.tree, "score"))
        has_score = trial.loss is not None and not trial.violation
        return StudyTrial(
            proposal=trial.tree,
            values=values_by_name(space, trial.values),
            state="scored" if has_score else "failed" if ended or trial.loss is not None else "waiting",
            score=self._turned(trial.loss) if has_score else None,
            loss=trial.loss,
            author=board.proposals[trial.tree].author,
        )

    def _told(self, trial: StudyTrial, outcome: Outcome) -> StudyTrial:
        scored = outcome.mean is not None and outcome.ending not in ("no_score", "refused")
        return msgspec.structs.replace(
            trial,
            state="scored" if scored else "failed",
            score=outcome.mean if scored else None,
            loss=self._turned(outcome.mean) if scored else None,
            why="" if scored else outcome.why or f"proposal {short(trial.proposal)}: {outcome.ending}",
        )

    def _turned(self, number: float | None) -> float | None:
        """Return a score as a loss, or a loss as a score."""
        if number is None:
            return None
        return number if self._door.board.spec.objective.direction == "minimize" else -number

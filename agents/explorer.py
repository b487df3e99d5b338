"""The explorer: proposes real edits of knobs, without a language model or a key.

First it proposes the baseline, and waits until that has a score. Then come a few steps near it beside Sobol points that
cover the knob space evenly. Then a portfolio of samplers takes over (`agents.search.samplers`). All samplers learn from
the whole log, whoever made the proposals. Samplers that earn more improvement per worker-second get a larger share of
the proposals. Values that would probably crash, to judge by the log, are rarely proposed (`agents.search.feasibility`).

An explorer keeps a bounded number of its proposals waiting. They depend only on the board and on its name: explorers
with different names propose different values, and a restart continues as before.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from random import Random
from typing import ClassVar

import anyio.to_thread

from agents.curation.put_back import claims_to_put_back, results
from agents.search.asking import Asking
from agents.search.history import History, Known
from agents.search.samplers import portfolio
from agents.search.samplers.own import own_sampler, reason_of
from agents.search.samplers.protocol import Trial, Values, place, where
from agents.search.samplers.table_moves import TableMoves, table_knobs
from agents.search.strategy import TRIES, Strategy
from agents.search.structure.factors import FACTORS
from agents.search.structure.moves import has_table, rewritten, structural_moves, with_factor
from agents.search.structure.needless import PUT_BACK, changed_groups, next_put_backs
from agents.search.structure.ties import TIES, TieMoves
from agents.search.titles import title_of
from agents.search.turns import Turns
from mesh.agent.common import Common
from mesh.agent.draft import BASELINE, Draft
from mesh.agent.protocol import Answers, Context, Wakes
from mesh.baseline import is_measured
from mesh.board import Board
from mesh.editable_paths import editable_paths
from mesh.errors import BadInput, ObjectMissing
from mesh.events import KnobChange, NotePosted, Origin, Scalar
from mesh.knobs import Knob, are_near, edit, knobs_of, literal_values, steady
from mesh.literals import how_to_add_knobs
from mesh.stalled import why_paused
from mesh.wire import Post

_AT_ONCE = 64
"""Limit of proposals made in one go, however many slots the workers claim to have."""


class Explorer:
    """Proposes new knob values.

    Option `sampler` names the only sampler to use: a built-in name, or `module:Class` for your own. Without it, the
    built-in samplers share the proposals. If a sampler finds nothing new, mutation and random draws are tried too.
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
            packages = ", ".join(self._missing)
            why = f"needs the packages {packages}" if self._forced in portfolio.SAMPLERS else "is not a known sampler"
            raise BadInput(f"option sampler={self._forced} {why}; use {known}, or module:Class for your own")
        self._kinds = [kind for kind in portfolio.LEARNING if kind in self._samplers]
        self._kinds += ["random"] if self._missing else []
        self._history = context.common.get(History, lambda: History(context.code.files))
        self._asking = self._asked_in(context.common, is_own=":" in context.options.get("sampler", ""))
        self._turns = context.common.get(Turns, Turns)
        self._posted: set[str] = set()

    def _asked_in(self, common: Common, *, is_own: bool) -> Asking:
        """Return the samplers: those of all explorers of the process, but a user's own, which may count its calls."""

        def made() -> Asking:
            return Asking(Strategy(self._samplers, self._kinds, self._forced), self._history.lock)

        return made() if is_own else common.get(Asking, made, self._forced)

    def wakes(self, board: Board) -> Wakes:
        """Tell whether it may propose: its share, and that of all explorers together, is not full."""
        return "yes" if self._speaks else self._turns.wakes(self._name, board)

    async def handle(self, post: Post, board: Board) -> Answers:
        """Propose until enough of its proposals wait for a result."""
        return await self.joined(board)

    async def joined(self, board: Board) -> Answers:
        """Propose until enough of its proposals wait for a result."""
        made: Answers = []
        try:
            return (made := await self._propose_all(board))
        finally:
            if not any(isinstance(each, Draft) for each in made):  # else its places are held until a draft is posted
                self._turns.leave(self._name)

    async def _propose_all(self, board: Board) -> Answers:
        if board.opened is None or board.closed:
            return []
        if board.opened.base_tree not in board.proposals:
            return [BASELINE] if self._turns.may_begin(self._name) else []
        if self.wakes(board) != "yes" or not is_measured(board) or why_paused(board):
            return []
        async with self._turns.lock:
            return await self._propose_some(board)

    async def _propose_some(self, board: Board) -> Answers:
        if board.closed:
            return []
        known = await self._history.read(board)
        own, waiting = self._history.authored(self._name), self._turns.waiting(self._name, board)
        room = self._turns.take(self._name, board)
        made: list[Draft | NotePosted] = list(await self._put_back(board, known) if self._speaks else ())
        with self._history.drafting(known) as drafted:
            for number in range(min(_AT_ONCE, room)):
                found = await self._propose(board, known, own + number)
                if found is None:
                    break
                draft, trial = found
                drafted(trial)
                made.append(draft)
        if self._missing and not self._forced:
            made += self._say(
                f"packages not installed: {', '.join(self._missing)}. Explorers use only the samplers "
                f"{', '.join(self._kinds)}. To use all, run pip install 'mesh-swarm[search]'",
                once_for_all=True,
            )
        return made or ([] if waiting or not room else await self._nothing_new(board))

    async def _propose(self, board: Board, known: Known, number: int) -> tuple[Draft, Trial] | None:
        assert board.opened is not None
        opened, rules = board.opened, board.spec.knobs
        base = await self._code.files(board)
        best, code = await self._best_code(board, known)
        editable = editable_paths(board.spec, base, code)
        first = knobs_of(base, editable, rules)
        space = steady(knobs_of(code, editable, rules, base=base), first)
        structural = () if self._forced else structural_moves(space, code, editable, rules)
        if structural and TIES not in structural and known.trials.made["tables"]:
            structural = (*structural, TIES)  # the best code may still be as good without the table
        if not space:
            rng = Random(f"{self._name} {known.seq}")
            has_tables = known.made_by("tables") > 0
            found = await self._restructured(board, known, rng, number, None, "tables")
            return found if found or has_tables else await self._restructured(board, known, rng, number, None, FACTORS)
        drafted = known.drafted
        seen = {trial.tree for trial in drafted}
        for attempt in range(TRIES):
            rng = Random(f"{self._name} {opened.version} {number} {attempt} {known.seq}")
            choice = await self._asking.ask(space, known, rng, attempt, structural)
            kind, idea = choice.kind, choice.idea
            if kind in structural:
                if found := await self._restructured(board, known, rng, number, choice.share, kind):
                    return found
                continue
            parents = idea.parents or (best,)
            try:
                files = await self._code.files(board, parents[0])
                for parent in parents[1:]:
                    await self._code.files(board, parent)
            except ObjectMissing:  # another author may post a proposal and never share its code
                continue
            knobs = space if parents[0] == best else steady(knobs_of(files, editable, rules, base=base), first)
            knobs = [*knobs, *tied(files, knobs, idea.values)]
            values = {where(knob): fitting(knob, idea.values.get(where(knob))) for knob in knobs}
            if not knobs or any(are_near(knobs, values, trial.values) for trial in drafted):
                continue
            if self._history.is_near(knobs, values):
                continue
            start = {**base, **{name: files[name] for name in files if name in editable}}
            changed = apply(start, base, knobs, values)
            if (tree := self._code.tree_of(changed)) in seen or tree in board.proposals:
                continue
            made = ({name: changed[name] for name in changed if name in editable}, tree, values)
            return self._drafted(known, number, made, parents, kind, choice.share, knobs)
        return None

    async def _restructured(
        self, board: Board, known: Known, rng: Random, number: int, share: float | None, kind: str
    ) -> tuple[Draft, Trial] | None:
        """Return a structural move of the best code.

        Tables: its arrays written out as tables or, if that is tried, a move of numbers of the best tables. Factors:
        one more factor or summand. Ties: a move of numbers that belong together.
        """
        rules = board.spec.knobs
        seen = {trial.tree for trial in known.drafted}
        base = await self._code.files(board)
        best = next((trial.tree for trial in known.trials.best()), board.opened.base_tree if board.opened else "")
        with suppress(ObjectMissing):
            files = await self._code.files(board, best)
            editable = editable_paths(board.spec, base, files)
            start = {**base, **{each: files[each] for each in editable if each in files}}

            def is_new(name: str, source: str) -> bool:
                tree = self._code.tree_of({**start, name: source.encode()})

                return tree not in seen and tree not in board.proposals

            rewrite = {"tables": partial(rewritten, rules=rules), FACTORS: partial(with_factor, is_new=is_new)}
            find = rewrite.get(kind)
            found = await anyio.to_thread.run_sync(find, files, editable) if find else None
            if found and is_new(found[0], found[1].source):
                name, new = found
                changed = {**start, name: new.source.encode()}
                values = {where(knob): knob.value for knob in knobs_of(changed, editable, rules, base=base)}
                made = ({name: changed[name]}, self._code.tree_of(changed), values)
                return self._drafted(known, number, made, (best,), kind, share, title=new.title)
        if kind == FACTORS:
            return None
        with_numbers = list(islice((each for each in known.trials.valued.best() if has_table(each.values)), TRIES))
        if not with_numbers and kind == TIES:
            with_numbers = list(islice(known.trials.valued.best(), 1))
        for trial in islice(with_numbers, 1 if kind == TIES else TRIES):
            with suppress(ObjectMissing):
                files = await self._code.files(board, trial.tree)
                knobs = knobs_of(files, editable, rules, base=base)
                if kind != TIES and not table_knobs(knobs):
                    continue
                mover = TieMoves() if kind == TIES else TableMoves()
                idea = mover.ask(knobs, known.trials, known.pending, rng)
                if idea is None:
                    return None
                parents = idea.parents or (trial.tree,)
                files = await self._code.files(board, parents[0])
                knobs = knobs_of(files, editable, rules, base=base)
                values = {where(knob): idea.values.get(where(knob), knob.value) for knob in knobs}
                start = {**base, **{each: files[each] for each in editable if each in files}}
                changed = apply(start, base, knobs, values)
                if (tree := self._code.tree_of(changed)) in seen or tree in board.proposals:
                    return None
                made = ({name: changed[name] for name in changed if name in editable}, tree, values)
                return self._drafted(known, number, made, parents, kind, share, knobs)
        return None

    async def _put_back(self, board: Board, known: Known) -> list[Draft]:
        """Return drafts that put back changes of a claim which may not matter."""
        rules, made, base = board.spec.knobs, list[Draft](), await self._code.files(board)
        for tree in claims_to_put_back(board)[:1]:
            with suppress(ObjectMissing):
                old, new = await self._code.files(board, board.champion), await self._code.files(board, tree)
                editable = editable_paths(board.spec, old, new)
                before, after = literals_in(old, editable), literals_in(new, editable)
                if before.keys() != after.keys():
                    continue  # its code is another one
                knobs = knobs_of(new, editable, rules, base=base)
                for back in next_put_backs(changed_groups(before, after, knobs), results(board, tree)):
                    turned = [*knobs, *tied(new, knobs, back)]
                    values = {where(knob): back.get(where(knob), knob.value) for knob in turned}
                    changed = apply(new, base, turned, values)
                    if (own := self._code.tree_of(changed)) in board.proposals:
                        continue
                    files = {name: changed[name] for name in editable if name in changed}
                    made.append(self._drafted(known, 0, (files, own, values), (tree,), PUT_BACK, None, turned)[0])
        return made

    def _drafted(
        self,
        known: Known,
        number: int,
        made: tuple[Mapping[str, bytes], str, Values],
        parents: tuple[str, ...],
        kind: str,
        share: float | None,
        knobs: Sequence[Knob] = (),
        title: str = "",
    ) -> tuple[Draft, Trial]:
        """Return the draft of changed files with their tree and their values, and its trial."""
        changed, tree, values = made
        changes = changes_of(knobs, values)
        count = known.made_by(kind)
        draft = Draft(
            changed,
            f"{kind}: {title}" if title else title_of(kind, count + 1, knobs, changes),
            self._reasons[kind],
            parents,
            knobs=tuple(changes),
            origin=Origin(how="sampler", name=kind, share=share),
            as_of=known.seq,
        )
        return draft, Trial(tree=tree, seq=known.seq + 1 + number, values=values, loss=None, by=kind)

    async def _best_code(self, board: Board, known: Known) -> tuple[str, Mapping[str, bytes]]:
        """Return the first of `best_code` whose code can be read, and its files."""
        for tree in best_code(board, known)[:TRIES]:
            with suppress(ObjectMissing):  # another author may post a proposal and never share its code
                return tree, await self._code.files(board, tree)
        return board.opened.base_tree if board.opened else "", await self._code.files(board)

    async def _nothing_new(self, board: Board) -> list[NotePosted]:
        """Post once per process why nothing is proposed; without knobs only the first explorer posts."""
        assert board.opened is not None
        base = await self._code.files(board)
        editable = editable_paths(board.opened.spec, base)
        knobs = knobs_of(base, editable, board.spec.knobs)
        if knobs:
            return self._say(
                f"{self._name} found no new values in {TRIES} draws; give the knobs wider ranges (knobs: {len(knobs)})"
            )
        text = f"arena {board.arena} has no knobs, so explorers propose nothing; {how_to_add_knobs(editable)}"
        return self._say(text, once_for_all=True)

    def _say(self, text: str, *, once_for_all: bool = False) -> list[NotePosted]:
        if text in self._posted or (once_for_all and not self._speaks):
            return []
        self._posted.add(text)
        return [NotePosted(channel="ops", text=text)]


def changes_of(knobs: Sequence[Knob], values: Values) -> list[KnobChange]:
    """Return the changes from the knobs of a file to new values."""
    return [
        KnobChange(file=k.file, name=k.name, old=k.value, new=values[where(k)])
        for k in knobs
        if values[where(k)] != k.value
    ]


def best_code(board: Board, known: Known) -> list[str]:
    """Return the proposals whose code may be edited, best first: the champion, else the best so far, else the baseline.

    Proposals without knobs are skipped.
    """
    assert board.opened is not None
    champion = [board.champion] if known.has_values(board.champion) else []
    return [*champion, *known.best, board.opened.base_tree]


def fitting(knob: Knob, value: Scalar | None) -> Scalar:
    """Return the nearest value in the range of the knob, or its present value if there is none."""
    if value is None or value == knob.value or place(knob, value) is None:
        return knob.value
    if knob.choices or isinstance(value, str):
        return value
    inside = min(knob.high, max(knob.low, value))
    if knob.is_power:
        return knob.at(knob.place(inside))
    return round(inside) if knob.is_int else float(inside)


def literals_in(files: Mapping[str, bytes], editable: Sequence[str]) -> Values:
    """Return the values of all literals of the editable files, knobs or not."""
    return {(file, at): v for file in editable for at, v in literal_values(file, files.get(file, b"")).items()}


def tied(files: Mapping[str, bytes], knobs: Sequence[Knob], values: Values) -> list[Knob]:
    """Return literals that are not knobs alone but are turned with their equals, as knobs of the old and the new value.

    Args:
        files: The contents by path.
        knobs: The knobs of `files`.
        values: The new values; only literals with a value here are returned.
    """
    places = {where(knob) for knob in knobs}
    names = dict.fromkeys((knob.file, name) for knob in knobs for name in knob.tie)
    found = []
    for file, name in names:
        new, old = values.get((file, name)), literal_values(file, files[file]).get(name)
        if (file, name) not in places and new is not None and old is not None:
            found.append(Knob(file=file, name=name, value=old, choices=(old, new)))
    return found


def apply(
    files: Mapping[str, bytes], base: Mapping[str, bytes], knobs: Sequence[Knob], values: Values
) -> dict[str, bytes]:
    """Return the files with the values written into them.

    Args:
        files: The files to edit, by path.
        base: The files of the baseline. A value that is equal there keeps its spelling, so that equal values give
            equal trees.
        knobs: The knobs of `files`.
        values: The new value of every knob.
    """
    changed = dict(files)
    for name in dict.fromkeys(k.file for k in knobs):
        source = files[name].decode()
        before = {k.name: k.value for k in knobs if k.file == name}
        after = {at: values[name, at] for at in before}
        first = literal_values(name, base.get(name, b""))
        if before.keys() <= first.keys():
            original = base[name].decode()
            if edit(original, after, name) == edit(source, after, name):
                source, before = original, first
        new = {at: value for at, value in after.items() if value != before[at]}
        changed[name] = edit(source, new, name).encode()
    return changed

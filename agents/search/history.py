"""The history that samplers learn from: every proposal of any author, with its knob values and its result.

For proposals of people and models, knob values are read from their code. For those of samplers, they follow from the
parent and the listed changes, so that a restart need not fetch all code. The caches only save work.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise, takewhile

import anyio
import msgspec
from msgspec.structs import replace

from agents.search.nearness import Nearness
from agents.search.samplers.protocol import Trial, Values, where
from agents.search.samplers.trial_log import TrialLog
from agents.search.sorted_blocks import SortedBlocks
from agents.search.strategy import TRIES
from mesh.board import Board, Proposal
from mesh.changes import ChangeReader
from mesh.editable_paths import editable_paths
from mesh.errors import ObjectMissing
from mesh.knobs import Knob, knobs_of
from mesh.outcomes import badness
from mesh.run_sums import has_many, open_runs, run_sums

_FORGOTTEN = 200
"""After so many entries a draft that nobody has posted is forgotten."""

_Files = Callable[[Board, str], Awaitable[Mapping[str, bytes]]]
"""Returns the files of a proposal by its tree."""


class Known(msgspec.Struct, frozen=True):
    """All proposals up to entry `seq`, each list in the order of the log; `barred` ones were given up without a run.

    It holds until the next read: `trials` is the log that the history keeps up, which nobody else may change.
    `pending` also has what explorers of this process have drafted and not posted yet. `counts` are the numbers of
    proposals by sampler, and `best` are the proposals with values and a score, the best first, but not more than are
    looked at. `values` are those of all.
    Proposals that the version in force rules out are in no list: their code with other values may be tried.
    """

    seq: int
    trials: TrialLog
    pending: list[Trial]
    barred: list[Trial]
    counts: Mapping[str, int] = {}
    best: list[str] = []
    values: Mapping[str, Values] = {}

    @property
    def every(self) -> list[Trial]:
        """All trials: finished, pending and barred."""
        return [*self.trials, *self.pending, *self.barred]

    @property
    def drafted(self) -> list[Trial]:
        """The pending trials that are not on the board yet."""
        return [trial for trial in self.pending if trial.tree not in self.values]

    def has_values(self, tree: str) -> bool:
        """Tell whether the code of a proposal has knobs."""
        return bool(self.values.get(tree))

    def made_by(self, kind: str) -> int:
        """Return how many proposals a sampler has made."""
        return self.counts.get(kind, 0) + sum(trial.by == kind for trial in self.drafted)


class History:
    """Reads the history from a board; a read costs what has changed since the one before.

    Who looks at the trials in another thread holds `lock` meanwhile, because a read changes them.
    """

    def __init__(self, files: _Files) -> None:
        self._files = files
        self._values: dict[str, Values] = {}
        self._changes, self._board = ChangeReader(), Board(arena="")
        self._version, self.lock = 0, anyio.Lock(fast_acquire=True)
        self._base: Mapping[str, bytes] | None = None
        self._forget()

    def _forget(self) -> None:
        self._shown = TrialLog()
        self._violating: dict[str, Trial] = {}
        self._violations: dict[int, SortedBlocks[float]] = {}
        self._losses = SortedBlocks[float]()
        self._scale: Scale | None = None
        self._pending: dict[str, Trial] = {}
        self._barred: dict[str, Trial] = {}
        self._counts: Counter[str] = Counter()
        self._read: tuple[int, Known] | None = None
        self._drafts: dict[str, tuple[Trial, int]] = {}
        self._authors: Counter[str] = Counter()
        self._near, self._trees = Nearness(), list[str]()
        self._untried = set[str]()
        self._leading, self._best = list[tuple[float, int, Trial]](), list[str]()

    async def read(self, board: Board) -> Known:
        """Return all proposals with their values and results.

        Raises:
            BusError: The log cannot be reached.
        """
        async with self.lock:
            if self._read is None or board is not self._board or board.seq != self._read[0]:
                while missing := self._without_values(board):  # some may be posted while code is fetched
                    for tree in missing:
                        self._values[tree] = await self._values_of(board, board.proposals[tree])
                self._update(board)
                self._read = board.seq, self._known(board)
        return self._read[1]

    @contextmanager
    def drafting(self, known: Known) -> Iterator[Callable[[Trial], None]]:
        """Yield a function that notes what an explorer has drafted: all that read this history take it as pending.

        Where the explorer fails, nobody posts its drafts, and they are forgotten.
        """
        mine = list[Trial]()

        def draft(trial: Trial) -> None:
            mine.append(trial)
            self._drafts[trial.tree] = (trial, known.seq)
            known.pending.append(trial)
            if self._read and self._read[1] is not known:
                self._read[1].pending.append(trial)

        try:
            yield draft
        except BaseException:
            for trial in mine:
                self._drafts.pop(trial.tree, None)
                for each in (known, *([self._read[1]] if self._read else [])):
                    with suppress(ValueError):
                        each.pending.remove(trial)
            raise

    def _known(self, board: Board) -> Known:
        leading = self._shown.valued.leading(TRIES)
        if leading is not self._leading:
            self._leading, self._best = leading, [trial.tree for _, _, trial in leading]
        self._drafts = {
            tree: each
            for tree, each in self._drafts.items()
            if tree not in self._values and each[1] + _FORGOTTEN > board.seq
        }
        pending = [*self._pending.values(), *(trial for trial, _ in self._drafts.values())]
        barred = list(self._barred.values())
        return Known(board.seq, self._shown, pending, barred, self._counts, self._best, self._values)

    def authored(self, name: str) -> int:
        """Return how many proposals an author has made, by the last read."""
        return self._authors[name]

    def is_near(self, knobs: Sequence[Knob], values: Values) -> bool:
        """Tell whether values are near those of a proposal, by the last read."""
        return any(self._trees[at] not in self._untried for at in self._near.near(knobs, values))

    def _without_values(self, board: Board) -> list[str]:
        """Return proposals whose values are not known; in a new version of the arena, other literals may be knobs."""
        version = board.opened.version if board.opened else 0
        if board is not self._board or version != self._version:
            self._values = self._values if version == self._version else {}
            self._board, self._version, self._base = board, version, None
            return [tree for tree in board.proposals if tree not in self._values]
        return [*takewhile(lambda tree: tree not in self._values, reversed(board.proposals))][::-1]

    def _update(self, board: Board) -> None:
        changes = self._changes.look(board)
        if changes.is_new:
            self._forget()
        for tree in changes.proposals:
            self._near.add(self._values[tree])
            self._trees.append(tree)
            self._authors[board.proposals[tree].author] += 1
        for tree in changes.touched(board):
            self._change(board, tree, board.proposals[tree])
        order = [trial.seq for trial in self._pending.values()]
        if any(one > other for one, other in pairwise(order)):
            self._pending = {trial.tree: trial for trial in sorted(self._pending.values(), key=_seq)}
        self._rescale()

    def _change(self, board: Board, tree: str, proposal: Proposal) -> None:
        """Put a proposal in the place that it has now."""
        shown = self._shown.find(proposal.seq)
        if old := self._pending.pop(tree, None) or self._barred.pop(tree, None) or shown:
            self._counts[old.by] -= 1
        if violating := self._violating.pop(tree, None):
            self._violations[violating.stages_missed].remove(violating.violation)
        elif shown and shown.loss is not None:
            self._losses.remove(shown.loss)
        trial, finished = (None, False) if proposal.ruled_out else self._trial(board, tree, proposal)
        if shown and not finished:
            self._shown.take(proposal.seq)
        if trial and self._place(tree, proposal, trial, finished=finished):
            self._counts[trial.by] += 1
            self._untried.discard(tree)
        else:
            self._untried.add(tree)

    def _place(self, tree: str, proposal: Proposal, trial: Trial, *, finished: bool) -> bool:
        """Put a trial where it belongs; tell whether it belongs anywhere."""
        if finished and trial.violation:
            self._violating[tree] = trial
            self._violations.setdefault(trial.stages_missed, SortedBlocks()).add(trial.violation)
            self._shown.put(self._scale.of(trial) if self._scale else trial)
        elif finished:
            if trial.loss is not None:
                self._losses.add(trial.loss)
            self._shown.put(trial)
        elif proposal.verdict == "open":
            self._pending[tree] = trial
        elif proposal.why != "failed":  # what failed by an older evaluator alone, or before any score, is untried
            self._barred[tree] = trial
        else:
            return False
        return True

    def _rescale(self) -> None:
        """Give the trials that miss a limit their losses anew, where what these are measured by has changed."""
        most = {kind: each.last for kind, each in self._violations.items() if each}
        scale = scale_of(most, self._losses.first, self._losses.last) if self._losses else scale_of(most, 0.0, 0.0)
        if scale == self._scale or not most:
            return
        self._scale = scale
        feasible = (trial for trial in self._shown if trial.tree not in self._violating)
        self._shown = TrialLog([*feasible, *map(scale.of, self._violating.values())])

    def _trial(self, board: Board, tree: str, proposal: Proposal) -> tuple[Trial, bool]:
        """Return a proposal as a trial, and whether it has a result."""
        if has_many(board, tree):
            sums = run_sums(board, tree)
            kept = sums.scores.get("")
            scores, seconds = (kept.items if kept else []), sum(sums.explore_s.items)
            has_ended = bool(sums.seeds) and not open_runs(board, tree)
        else:
            runs = board.current_runs(tree)
            ended = [run.finished for run in runs if run.finished]
            scores = [run.value for run in runs if run.value is not None]
            seconds = sum(run.finished.trial_s for run in runs if run.finished and run.requested.lane == "explore")
            has_ended = bool(runs) and len(ended) == len(runs)
        origin = proposal.event.origin
        trial = Trial(
            tree=tree,
            seq=proposal.seq,
            values=self._values[tree],
            loss=-board.spec.objective.gain(sum(scores) / len(scores)) if scores else None,
            by=origin.name if origin.how == "sampler" else "",
            violation=worst.violation if (worst := board.missed(tree)) else 0.0,
            stages_missed=badness(worst)[0] if worst else 0,
            seconds=seconds,
        )
        return trial, bool(scores) or has_ended

    async def _values_of(self, board: Board, proposal: Proposal) -> Values:
        event = proposal.event
        if event.origin.how == "sampler" and event.knobs and event.parents and event.parents[0] in self._values:
            changed = {(change.file, change.name): change.new for change in event.knobs}
            values = self._values[event.parents[0]] | {at: new for at, new in changed.items() if new is not None}
            return {at: value for at, value in values.items() if changed.get(at, value) is not None}
        baseline = board.opened.base_tree if board.opened else ""
        try:
            if self._base is None:
                self._base = await self._files(board, baseline)
            base = self._base
            files = base if event.tree == baseline else await self._files(board, event.tree)
        except ObjectMissing:
            return {}
        knobs = knobs_of(files, editable_paths(board.spec, files), board.spec.knobs, base=base)
        return {where(knob): knob.value for knob in knobs}


def _seq(trial: Trial) -> int:
    return trial.seq


class Scale(msgspec.Struct, frozen=True):
    """What the losses of trials that miss a constraint or a threshold are measured by.

    `beyond` is the loss of a kind, by the stages that it did not pass, and `most` its greatest violation.
    """

    beyond: dict[int, float]
    most: dict[int, float]
    spread: float

    def of(self, trial: Trial) -> Trial:
        """Return a trial that misses a limit with its loss."""
        kind = trial.stages_missed
        if kind not in self.most:  # the first of its kind: the scale is found anew
            return trial
        return replace(trial, loss=self.beyond[kind] + self.spread * trial.violation / self.most[kind])


def scale_of(most: Mapping[int, float], best: float, worst: float) -> Scale:
    """Return the scale by the greatest violation of each kind, and the best and the worst loss of the others."""
    spread = worst - best or 1.0
    beyond = {kind: worst + spread * place for place, kind in enumerate(sorted(most), 1)}
    return Scale(beyond, dict(most), spread)


def feasible_first(trials: list[Trial]) -> list[Trial]:
    """Return the trials with a loss for those that miss a constraint or a threshold: all are worse than every other.

    Those that violate a constraint come first, then those that a stage ended, by the stages that they did not pass.
    Among each other they are ordered by their violation (K. Deb, 2000). The losses of the first kind lie one spread of
    the feasible losses beyond the worst, and at most two, those of each further kind one more. So a sampler that only
    minimises walks to where constraints and thresholds hold. A history keeps this up trial by trial.
    """
    most: dict[int, float] = {}
    for trial in trials:
        if trial.violation:
            most[trial.stages_missed] = max(trial.violation, most.get(trial.stages_missed, 0.0))
    losses = [trial.loss for trial in trials if trial.loss is not None and not trial.violation]
    scale = scale_of(most, min(losses, default=0.0), max(losses, default=0.0))
    return [scale.of(trial) if trial.violation else trial for trial in trials]

"""The history that samplers learn from: every proposal of any author, with its knob values and its result.

For proposals of people and models, knob values are read from their code. For those of samplers, they follow from the
parent and the listed changes, so that a restart need not fetch all code. The caches only save work.
"""

from collections.abc import Awaitable, Callable, Mapping

import msgspec
from msgspec.structs import replace

from agents.search.samplers.protocol import Trial, Values, where
from mesh.board import Board, Proposal
from mesh.editable_paths import editable_paths
from mesh.errors import ObjectMissing
from mesh.knobs import knobs_of
from mesh.outcomes import badness

_Files = Callable[[Board, str], Awaitable[Mapping[str, bytes]]]
"""Returns the files of a proposal by its tree."""


class Known(msgspec.Struct, frozen=True):
    """All proposals up to entry `seq`, each list in the order of the log; `barred` ones were given up without a run.

    Those that the version in force rules out are in none of them: their code with other values may be tried.
    """

    seq: int
    trials: list[Trial]
    pending: list[Trial]
    barred: list[Trial]

    @property
    def every(self) -> list[Trial]:
        """All trials: finished, pending and barred."""
        return [*self.trials, *self.pending, *self.barred]


class History:
    """Reads the history from a board, with a cache between reads."""

    def __init__(self, files: _Files) -> None:
        self._files = files
        self._values: dict[str, Values] = {}
        self._done: dict[str, tuple[str, int, Trial]] = {}
        self._version = 0
        self._base: Mapping[str, bytes] | None = None

    async def read(self, board: Board) -> Known:
        """Return all proposals with their values and results.

        Raises:
            BusError: The log cannot be reached.
        """
        if self._version != (version := board.opened.version if board.opened else 0):
            self._values, self._done, self._version = {}, {}, version  # other literals may be knobs now
            self._base = None
        for tree, proposal in list(board.proposals.items()):
            if tree not in self._values:
                self._values[tree] = await self._values_of(board, proposal)
        known = Known(board.seq, [], [], [])
        for tree, proposal in board.proposals.items():
            if tree not in self._values or proposal.ruled_out:  # posted while code was fetched, or counts no more
                continue
            trial, finished = self._trial(board, tree, proposal)
            if finished:
                known.trials.append(trial)
            elif proposal.verdict == "open":
                known.pending.append(trial)
            elif proposal.why != "failed":  # what failed by an older evaluator alone, or before any score, is untried
                known.barred.append(trial)
        known.trials[:] = feasible_first(known.trials)
        return known

    def _trial(self, board: Board, tree: str, proposal: Proposal) -> tuple[Trial, bool]:
        """Return a proposal as a trial, and whether it has a result."""
        evaluator = board.opened.evaluator if board.opened else ""
        kept = self._done.get(tree)
        if kept and kept[:2] == (evaluator, len(proposal.runs)):
            return kept[2], True
        runs = board.current_runs(tree)
        ended = [run for run in runs if run.finished]
        scores = [run.value for run in ended if run.value is not None]
        origin = proposal.event.origin
        trial = Trial(
            tree=tree,
            seq=proposal.seq,
            values=self._values[tree],
            loss=-board.spec.objective.gain(sum(scores) / len(scores)) if scores else None,
            by=origin.name if origin.how == "sampler" else "",
            violation=worst.violation if (worst := board.missed(tree)) else 0.0,
            stages_missed=badness(worst)[0] if worst else 0,
            seconds=sum(run.finished.trial_s for run in ended if run.finished and run.requested.lane == "explore"),
        )
        has_result = bool(scores) or (bool(runs) and len(ended) == len(runs))
        if has_result and len(ended) == len(proposal.runs):
            self._done[tree] = (evaluator, len(proposal.runs), trial)
        return trial, has_result

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


def feasible_first(trials: list[Trial]) -> list[Trial]:
    """Return the trials with a loss for those that miss a constraint or a threshold: all are worse than every other.

    Those that violate a constraint come first, then those that a stage ended, by the stages that they did not pass.
    Among each other they are ordered by their violation (K. Deb, 2000). The losses of the first kind lie one spread of
    the feasible losses beyond the worst, and at most two, those of each further kind one more. So a sampler that only
    minimises walks to where constraints and thresholds hold.
    """
    kinds = sorted({trial.stages_missed for trial in trials if trial.violation})
    if not kinds:
        return trials
    most = {
        kind: max(trial.violation for trial in trials if trial.violation and trial.stages_missed == kind)
        for kind in kinds
    }
    losses = [trial.loss for trial in trials if trial.loss is not None and not trial.violation]
    worst, spread = max(losses, default=0.0), (max(losses) - min(losses) if losses else 0.0) or 1.0
    beyond = {kind: worst + spread * place for place, kind in enumerate(kinds, 1)}
    return [
        replace(trial, loss=beyond[trial.stages_missed] + spread * trial.violation / most[trial.stages_missed])
        if trial.violation
        else trial
        for trial in trials
    ]

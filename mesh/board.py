"""The board: the state of the swarm, folded from the log entry by entry. Agents decide from it.

Folding is pure: the same entries always give the same board, without clock, network or randomness. Of several facts
with one key only the first counts. `mesh.board_bytes` writes a board to bytes and reads it back.
"""

import datetime as dt
from sys import intern

import msgspec

from mesh import events as e
from mesh import failed_calls, hand_outs, outcomes, records, ruling_out
from mesh.bounds import MAX_INTEGER
from mesh.current_runs import runs_kept
from mesh.failed_calls import FailedCalls
from mesh.kept import KeptProposals, KeptRuns
from mesh.lean import lean_finish, share_names, shared, without_curve
from mesh.records import NOTE_CHARACTERS as NOTE_CHARACTERS
from mesh.records import Critique as Critique
from mesh.records import JudgeTotal as JudgeTotal
from mesh.records import Member as Member
from mesh.records import Note as Note
from mesh.records import Proposal as Proposal
from mesh.records import Run as Run
from mesh.records import Verdict as Verdict
from mesh.records import WorkerDoubts as WorkerDoubts
from mesh.spec import ArenaSpec
from mesh.wire import Entry
from mesh.worker_costs import COSTING, WorkerCosts

_NOTES = 20
"""Notes whose text a board keeps: the latest, without the channel `ops`, where processes report on themselves."""

_VOID = 10_000
"""Entries that do not count, of which a board keeps the sequences: the latest."""

_ANSWERED = 20_000
"""Answers to posts that a board keeps: the latest, for posts that wait for an agent which may have answered them."""


class Board(msgspec.Struct):
    """The state of one arena as of entry `seq`; only `fold` changes it, and `mesh.recall`, which changes no decision.

    `undecided` are the proposals whose verdict is open. `proofs` are the runs of the lanes confirm and control. Both
    are in the order of the log. `opened_by` opened the version in force. `champions` are all champions so far; the last
    one was promoted by entry `promoted_seq`. `usd` is the known cost of all model calls and runs, in dollars. `spent`
    (dollars, where known) and `tokens` are the model costs of each author. `failed_calls` are each author's model calls
    without a usable answer, since its last usable one. `latest` are the last notes. `closed_early` are the versions
    that were closed before they were opened. `void` are the last entries that do not count, in their order. `looks` are
    the proposals that the sealed split is opened for in this version. `judged` are the entries that finished the first
    run of a proposal. `seconds` are those of trials and their scoring, by lane. `scored_seq` is the entry of the first
    number that the evaluator in force gave, 0 without one: what failed before it is no evidence. `judge` is what the
    scoring of all runs has asked of models. `bases` are the base commits with the entries that opened them. `heir` is
    the past champion that the version in force makes champion again, "" if none (`mesh.ruling_out`). `ruled_out_late`
    are the proposals that critics have ruled out in this version. `evidence_changes` counts the finishes that change
    fresh evidence, or the claims of proposals that have some, and the comparisons of items. `full` are the retired
    proposals whose texts are on the board, the oldest first. `doubts` speak against workers.
    """

    arena: str
    seq: int = 0
    time: dt.datetime = dt.datetime.min.replace(tzinfo=dt.UTC)
    opened: e.ArenaOpened | None = None
    closed: e.ArenaClosed | None = None
    champion: str = ""
    round: int = 0
    proposals: KeptProposals = msgspec.field(default_factory=KeptProposals)
    runs: KeptRuns = msgspec.field(default_factory=KeptRuns)
    unfinished: dict[str, None] = {}
    agents: dict[str, Member] = {}
    workers: dict[str, Member] = {}
    notes: int = 0
    unknown: int = 0
    void: dict[int, None] = {}
    answered: dict[str, None] = {}
    opened_at: dt.datetime | None = None
    opened_by: str = ""
    undecided: dict[str, None] = {}
    proofs: list[str] = []
    champions: list[str] = []
    promoted_seq: int = 0
    finished: int = 0
    usd: float = 0.0
    spent: dict[str, float] = {}
    tokens: dict[str, int] = {}
    failed_calls: dict[str, FailedCalls] = {}
    latest: list[Note] = []
    closed_early: set[int] = set()
    looks: list[str] = []
    judged: list[int] = []
    seconds: dict[str, float] = {}
    judge: JudgeTotal = msgspec.field(default_factory=JudgeTotal)
    scored_seq: int = 0
    bases: list[tuple[int, str]] = []
    heir: str = ""
    ruled_out_late: list[str] = []
    evidence_changes: int = 0
    full: dict[str, None] = {}
    worker_costs: WorkerCosts = msgspec.field(default_factory=WorkerCosts)
    doubts: WorkerDoubts = msgspec.field(default_factory=WorkerDoubts)

    def __post_init__(self) -> None:
        self.runs.link(self.proposals)

    @property
    def next_version(self) -> int:
        """The version that the arena gets when it is opened next: one that can be closed, as nobody did before."""
        version = self.opened.version + 1 if self.opened else 1
        while version in self.closed_early:
            version += 1
        return version

    def fold(self, entry: Entry) -> bool:
        """Fold the next entry; return whether its fact counts: it can be decoded and is the first with its key.

        Raises:
            ValueError: the entry does not come after the last one folded.
        """
        if entry.seq <= self.seq:
            raise ValueError(f"entry {entry.seq} does not come after entry {self.seq}, the last one folded")
        self.seq, self.time = entry.seq, entry.time
        if (post := entry.post) is None:
            self.unknown += 1
            return self._avoid(entry.seq)
        event, author = post.event, post.author
        if not self._take(entry, event, author):
            return self._avoid(entry.seq)
        if type(event) in COSTING:
            self.worker_costs.take(self, entry.time, author, event)
        if post.cause:
            records.note_latest(self.answered, f"{author} {post.cause}", _ANSWERED)
        return True

    def _avoid(self, seq: int) -> bool:
        """Note that an entry does not count: its key is still free."""
        records.note_latest(self.void, seq, _VOID)
        return False

    def _take(self, entry: Entry, event: e.AnyEvent, author: str) -> bool:
        # Frequent facts come first: to compare types takes a third of the time of a pattern.
        if type(event) is e.RunStarted:
            return hand_outs.fold_start(self, event, author)
        if type(event) is e.RunFinished:
            return self._finish(entry, event, author)
        if type(event) is e.RunRequested:
            return self._request(entry.seq, event)
        if type(event) is e.CritiquePosted:
            return self._critique(entry.seq, event, author)
        if type(event) is e.ProposalPosted:
            return self._propose(entry, event, author)
        if type(event) is e.ProposalRetired:
            return self._retire(event)
        match event:
            case e.NotePosted():
                self.notes += 1
                if event.channel != "ops":
                    note = Note(entry.seq, author, event.channel, event.text[:NOTE_CHARACTERS])
                    self.latest = [*self.latest, note][-_NOTES:]
            case e.ModelAsked():
                self._think(author, event.cost)
                failed_calls.add_failed_call(self.failed_calls, author, event, entry)
            case e.ArenaOpened():
                if self.opened and event.version <= self.opened.version:
                    return False
                changed = self.opened is not None and event.evaluator != self.opened.evaluator
                self.opened, self.closed, self.opened_at = event, None, entry.time
                self.looks, self.ruled_out_late, self.opened_by = [], [], author if event.rules else ""
                self.failed_calls.clear()
                self.scored_seq = self._first_number() if changed else self.scored_seq
                if not self.bases or self.bases[-1][1] != event.base_commit:
                    self.bases.append((entry.seq, event.base_commit))
                ruling_out.rule_out(self, entry.seq, event)
            case e.ArenaClosed():
                if event.version > (self.opened.version if self.opened else 0):
                    self.closed_early.add(event.version)
                if not self.opened or self.closed or event.version != self.opened.version:
                    return False
                self.closed = event
            case e.AgentJoined():
                if not records.add_life(self.agents, author, entry.seq, event):
                    return False
                failed_calls.forget_another_model(self.failed_calls, author, event.model)
            case e.WorkerJoined():
                return records.add_life(self.workers, author, entry.seq, event)
            case e.AgentLeft():
                return hand_outs.fold_leave(self, self.agents, event, author)
            case e.WorkerLeft():
                return hand_outs.fold_leave(self, self.workers, event, author)
            case e.RunKilled():
                if not (run := self.runs.take_out(event.run)) or run.killed or run.finished:
                    return False
                of = self.proposals.get(run.requested.proposal)
                run.killed, run.withdrawn = True, bool(of and of.ruled_out)
            case e.ItemsCompared():
                return self._compare(event)
            case e.ProposalPromoted():
                return self._promote(entry.seq, event)
            case e.HoldoutOpened():
                return self._look(event)
        return True  # `gateway.members` folds members, gateways fold channels and commits

    def _finish(self, entry: Entry, event: e.RunFinished, author: str) -> bool:
        run = self.runs.take_out(event.run)
        if not run or run.finished or not hand_outs.fold_finish(self, run, event, author):
            return False
        requested, opened = run.requested, self.opened
        known = self.proposals.take_out(requested.proposal)
        own = self.runs.loose(known.runs) if known else []
        if known:
            if not (known.ended and any(each.finished for each in own)) and not records.is_aside(requested):
                self.judged.append(entry.seq)
            known.ended += 1
        if requested.lane == "explore" and event.curve and opened:
            run.rungs = records.rungs_reached(event.curve, opened.spec.selection.rungs)
        run.has_curve = bool(event.curve)
        event = lean_finish(event) if known and known.is_lean else without_curve(event)
        share_names(event)
        run.finished, run.finished_seq, run.finished_at = event, entry.seq, entry.time
        if not self.scored_seq and run.has_number and run.evaluator in ("", self._evaluator):
            self.scored_seq = entry.seq
        self.evidence_changes += records.is_evidence(opened, run, own)
        self.finished += 1
        self.seconds[requested.lane] = self.seconds.get(requested.lane, 0.0) + event.trial_s + event.score_s
        self.unfinished.pop(event.run, None)
        self.usd += (event.cost.usd if event.cost else None) or 0.0
        if event.judge:
            spec = opened.spec if opened else None
            use = self.worker_costs.stated.count_judge(author, event.judge, spec, run.attempts)
            self.judge.add(use)
            self.usd += use.usd
        return True

    def _propose(self, entry: Entry, event: e.ProposalPosted, author: str) -> bool:
        if event.tree in self.proposals.known:
            return False
        kept = msgspec.structs.replace(event, values={}) if event.values else event  # they stay in the log
        share_names(kept)
        self.proposals.known[kept.tree] = Proposal(entry.seq, entry.time, intern(author), kept)
        self.undecided[kept.tree] = None
        self._think(author, event.cost)
        self.failed_calls.pop(author, None)
        return True

    def _critique(self, seq: int, event: e.CritiquePosted, author: str) -> bool:
        target = self.runs.take_out(event.target) or self.proposals.take_out(event.target)
        if not target or (target.critiques and any(c.author == author for c in target.critiques)):
            return False
        about = target if isinstance(target, Proposal) else self.proposals.get(target.requested.proposal)
        text = "" if about and about.is_lean else event.text
        critique = Critique(intern(author), event.verdict, intern(event.rule), shared(text), event.confidence, seq)
        target.critiques = (*target.critiques, critique)
        if isinstance(target, Proposal) and ruling_out.rule_out_one(self, target, event, author):
            self.ruled_out_late.append(event.target)
        self._think(author, event.cost)
        if event.cost is not None:
            self.failed_calls.pop(author, None)
        return True

    def _request(self, seq: int, event: e.RunRequested) -> bool:
        if event.run in self.runs.known:
            return False
        share_names(event)
        self.runs.known[event.run] = Run(seq, event)
        self.unfinished[event.run] = None
        if event.instead_of:
            hand_outs.give_up(self, event)
        if event.lane in e.PROOF:
            self.proofs.append(event.run)
        if proposal := self.proposals.take_out(event.proposal):
            proposal.add_run(event)
        return True

    def _compare(self, event: e.ItemsCompared) -> bool:
        run = self.runs.take_out(event.run)
        if not run or event.over not in self.runs or run.compared_with(self.runs[event.over]):
            return False
        share_names(event)
        run.compared = run.compared or {}
        run.compared[event.over] = event
        self.evidence_changes += 1
        return True

    def _look(self, event: e.HoldoutOpened) -> bool:
        if not self.opened or event.version != self.opened.version or event.proposal not in self.proposals:
            return False
        rule = self.opened.spec.selection
        if rule.sealed == "off" or len(self.looks) >= rule.sealed_looks or event.proposal in self.looks:
            return False
        self.looks.append(event.proposal)
        return True

    def _promote(self, seq: int, event: e.ProposalPromoted) -> bool:
        proposal = self.proposals.take_out(event.proposal)
        if not proposal or event.met != self.champion or event.proposal == self.champion or proposal.ruled_out:
            return False
        if past := self.proposals.take_out(self.champion):
            past.verdict = "past_champion"
        proposal.verdict, proposal.why, self.champion = "champion", "", event.proposal
        share_names(event)
        proposal.rulings = (*proposal.rulings, event)
        self.undecided.pop(event.proposal, None)
        self.champions.append(event.proposal)
        self.promoted_seq, self.heir = seq, ""
        self.round += 1
        return True

    def _retire(self, event: e.ProposalRetired) -> bool:
        proposal = self.proposals.take_out(event.proposal)
        if not proposal or proposal.verdict != ("past_champion" if event.why == "demoted" else "open"):
            return False
        proposal.verdict, proposal.why = "retired", event.why
        proposal.rulings = (*proposal.rulings, event)
        self.undecided.pop(event.proposal, None)
        self.proposals.settle(event.proposal, self.full)
        return True

    def _think(self, author: str, cost: e.Cost | None) -> None:
        """Add what a proposal, a critique or a failed model call cost its author."""
        if cost is None:
            return
        if cost.usd is not None:
            usd = self.worker_costs.count_usd(self, author, cost.usd)
            self.usd, self.spent[author] = self.usd + usd, self.spent.get(author, 0.0) + usd
        if cost.tokens_in is not None or cost.tokens_out is not None:
            total = self.tokens.get(author, 0) + (cost.tokens_in or 0) + (cost.tokens_out or 0)
            self.tokens[author] = min(total, MAX_INTEGER)  # a snapshot takes 64 bits

    @property
    def spec(self) -> ArenaSpec:
        """The specification in force.

        Raises:
            LookupError: the arena was never opened.
        """
        if self.opened is None:
            raise LookupError(f"arena {self.arena} was never opened")
        return self.opened.spec

    def scores(self, proposal: str) -> list[float]:
        """Return the scores of a proposal that count in the version in force, in the order of the requests."""
        if len(self.proposals[proposal].runs) <= records.FEW_RUNS or self.proposals[proposal].ruled_out:
            return [run.value for run in self.current_runs(proposal) if run.value is not None]
        return runs_kept(self, proposal).scores

    def sealed_runs(self, proposal: str) -> list[Run]:
        """Return the runs of a proposal on the sealed split that the evaluator in force scored, or will score."""
        evaluator = self.opened.evaluator if self.opened else ""
        known = self.proposals.get(proposal)
        runs = map(self.runs.__getitem__, known.sealed if known and not known.ruled_out else [])
        own = (run for run in runs if run.requested.lane == "sealed" and run.evaluator in ("", evaluator))
        return [run for run in own if run.finished or not run.withdrawn]

    def sealed_score(self, proposal: str) -> float | None:
        """Return the mean score of a proposal on the sealed split; None without one."""
        runs = sorted(self.sealed_runs(proposal), key=lambda run: run.finished_seq)
        values = [run.value for run in runs if run.value is not None]
        return sum(values) / len(values) if values else None

    def missed(self, proposal: str) -> e.Infeasible | e.ScreenedOut | None:
        """Return the worst outcome of a proposal that misses a constraint or a threshold; None if no run did."""
        known = self.proposals[proposal]
        many = len(known.runs) > records.FEW_RUNS and not known.ruled_out
        runs = runs_kept(self, proposal).missed if many else self.current_runs(proposal)
        return max((run.missed for run in runs if run.missed), key=outcomes.badness, default=None)

    def current_runs(self, proposal: str) -> list[Run]:
        """Return the runs of a proposal that the evaluator in force scored, or will score; none if it is ruled out.

        Failures before its first number are left out: where nothing can be scored, they say nothing of a proposal.
        """
        known = self.proposals[proposal]
        if known.ruled_out:
            return []
        if len(known.runs) <= records.FEW_RUNS:
            return [run for run in map(self.runs.__getitem__, known.runs) if self.is_current(run)]
        return runs_kept(self, proposal).every(self.is_current)

    def is_current(self, run: Run) -> bool:
        """Tell whether `current_runs` has a run, unless its proposal is ruled out."""
        return run.evaluator in ("", self._evaluator) and not self.ended_in_vain(run)

    def ended_in_vain(self, run: Run) -> bool:
        """Tell whether a run says nothing: it ended before the evaluator in force gave a number, or was withdrawn."""
        is_early = run.finished is not None and run.finished_seq < self.scored_seq
        return is_early or (run.withdrawn and run.value is None)

    @property
    def _evaluator(self) -> str:
        return self.opened.evaluator if self.opened else ""

    def _first_number(self) -> int:
        """Return the entry of the first number by the evaluator in force; 0 without one."""
        found = (run for run in self.runs.values() if run.has_number and run.evaluator in ("", self._evaluator))
        return min((run.finished_seq for run in found), default=0)

    def has_answered(self, author: str, post_id: str) -> bool:
        """Tell whether `author` has posted a fact whose cause is the post `post_id`; long ago does not count."""
        return f"{author} {post_id}" in self.answered

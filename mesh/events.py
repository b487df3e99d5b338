"""The facts: all that the log may contain, as one closed union of frozen structs.

The tag of a fact (`run.finished`) is its only name: wire type, subject, SQL value and command-line word. Facts only
ever gain fields with defaults. `make events` writes `docs/events.md` from this module. `mesh.wire` has the envelope
and the bytes.
"""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from mesh import bounds as b
from mesh.bounds import Scalar as Scalar
from mesh.commit_facts import CommitPushed as CommitPushed
from mesh.fact import Event as Event
from mesh.fact_values import LANES as LANES
from mesh.fact_values import PROOF as PROOF
from mesh.fact_values import Cost as Cost
from mesh.fact_values import Counting as Counting
from mesh.fact_values import CurvePoint as CurvePoint
from mesh.fact_values import ItemsKept as ItemsKept
from mesh.fact_values import JudgeUse as JudgeUse
from mesh.fact_values import KeptCall as KeptCall
from mesh.fact_values import KnobChange as KnobChange
from mesh.fact_values import KnobValues as KnobValues
from mesh.fact_values import Lane as Lane
from mesh.fact_values import Origin as Origin
from mesh.fact_values import RuledOut as RuledOut
from mesh.life_facts import AgentJoined as AgentJoined
from mesh.life_facts import AgentLeft as AgentLeft
from mesh.life_facts import WorkerJoined as WorkerJoined
from mesh.life_facts import WorkerLeft as WorkerLeft
from mesh.member_facts import ChannelOpened as ChannelOpened
from mesh.member_facts import MemberAdmitted as MemberAdmitted
from mesh.member_facts import MemberInvited as MemberInvited
from mesh.member_facts import MemberRevoked as MemberRevoked
from mesh.outcomes import Failed as Failed
from mesh.outcomes import FailureReason as FailureReason
from mesh.outcomes import Infeasible as Infeasible
from mesh.outcomes import Scored as Scored
from mesh.outcomes import ScreenedOut as ScreenedOut
from mesh.outcomes import StageEnd as StageEnd
from mesh.outcomes import StageEnds as StageEnds
from mesh.run_facts import Audit as Audit
from mesh.run_facts import CurvePoints as CurvePoints
from mesh.run_facts import RunKilled as RunKilled
from mesh.run_facts import RunRequested as RunRequested
from mesh.run_facts import RunStarted as RunStarted
from mesh.spec import ArenaSpec


class ArenaOpened(Event, frozen=True, kw_only=True, tag="arena.opened"):
    """An arena, or a new version of it, is open. `code`, `evaluator` and `data` are content hashes.

    `ruled_out` are earlier proposals that changed what this version fixes: while it is in force, no score of theirs
    counts, and none of them is champion. `rules` say whose starts and finishes of runs count (`mesh.hand_outs`), and
    which costs (`mesh.stated_costs`).
    """

    version: b.Version
    spec: ArenaSpec
    base_commit: b.GitHash
    base_tree: b.Tree
    evaluator: b.OptionalSha256
    data: b.OptionalSha256 = ""
    reason: b.Text = ""
    ruled_out: Annotated[tuple[RuledOut, ...], Meta(max_length=b.MAX_ITEMS)] = ()
    rules: b.Count = 0

    def key(self, post_id: str) -> str:
        return str(self.version)


class ArenaClosed(Event, frozen=True, kw_only=True, tag="arena.closed"):
    """An arena is closed: every process of it ends its work."""

    version: b.Version
    reason: Literal["operator", "budget", "plateau", "time", "trials"]
    text: b.Text = ""

    def key(self, post_id: str) -> str:
        return str(self.version)


class ProposalPosted(Event, frozen=True, kw_only=True, tag="proposal.posted"):
    """A commit of the artifact with a reason. `tree` is the proposal's id: equal files are one proposal.

    `as_of` is the sequence of the last entry that its author knew. The number of entries from there to the first
    result is the staleness of the idea.
    """

    tree: b.Tree
    commit: b.GitHash
    parents: b.Trees = ()
    title: b.Text
    rationale: b.Text = ""
    origin: Origin
    predicted_gain: b.Number | None = None
    confidence: b.Probability | None = None
    knobs: Annotated[tuple[KnobChange, ...], Meta(max_length=b.MAX_ITEMS)] = ()
    cost: Cost | None = None
    as_of: b.Count = 0
    values: KnobValues = msgspec.field(default_factory=dict)
    call: KeptCall | None = None

    def key(self, post_id: str) -> str:
        return self.tree


class CritiquePosted(Event, frozen=True, kw_only=True, tag="critique.posted"):
    """A critic's judgement of a proposal before it runs, or of a run after it; one per critic and target.

    `confidence` makes it a forecast: the probability that an `endorse` becomes champion, or that a `warn` or `block`
    does not.
    """

    one_per_author: ClassVar[bool] = True
    target: b.KeyText
    verdict: Literal["endorse", "warn", "block"]
    rule: b.Word = ""
    text: b.Text = ""
    predicted: b.Number | None = None
    confidence: b.Probability | None = None
    cost: Cost | None = None
    call: KeptCall | None = None

    def key(self, post_id: str) -> str:
        return self.target


class RunFinished(Event, frozen=True, kw_only=True, tag="run.finished"):
    """A run has ended; the first such fact of a run counts, of a worker that began it (`mesh.hand_outs`).

    The supervisor measures times and memory. The worker computes `code`, `data`, `evaluator` and `environment` from
    what it executed. The GPU driver reports GPU memory and utilisation.
    """

    run: b.KeyText
    proposal: b.Tree
    outcome: Scored | Failed | Infeasible | ScreenedOut
    worker: b.Word
    worker_class: b.Word
    attempt: b.Attempt = 1
    curve: CurvePoints = ()
    trial_s: b.Amount = 0.0
    score_s: b.Amount = 0.0
    cpu_s: b.Amount = 0.0
    peak_memory_mb: b.Amount = 0.0
    peak_gpu_memory_mb: b.Amount | None = None
    gpu_utilisation: b.Amount | None = None
    evaluator: b.OptionalSha256 = ""
    code: b.ContentHash = ""
    data: b.OptionalSha256 = ""
    environment: b.Word = ""
    tier: b.Word = "none"
    log_tail: b.Text = ""
    cost: Cost | None = None
    budget_used_s: b.Amount = 0.0
    budget_counts: Counting | Literal[""] = ""
    predict_s: b.Amount = 0.0
    items: ItemsKept | None = None
    stages: StageEnds = ()
    own_seeds: b.Count = 0
    built: b.Word = ""
    packages: b.Text = ""
    judge: JudgeUse | None = None
    build_cache: b.Text = ""

    def key(self, post_id: str) -> str:
        return self.run


class ItemsCompared(Event, frozen=True, kw_only=True, tag="items.compared"):
    """The curator has compared the items of two runs: those of `run` with those of `over`, which has another proposal.

    It compares them in pairs where both have the same items, else as two samples.
    """

    key_tokens: ClassVar[int] = 2
    run: b.KeyText
    over: b.KeyText
    common: b.Count = 0
    difference: b.Number | None = None
    error: b.Amount | None = None
    dof: b.Amount = 0.0
    text: b.Text = ""

    def key(self, post_id: str) -> str:
        return f"{self.run}.{self.over}"


class _Verdict(Event, frozen=True, kw_only=True):
    """A verdict on a proposal in one round."""

    proposal: b.Tree
    round: b.Count

    def key(self, post_id: str) -> str:
        return f"{self.proposal}-{self.round}"


class ProposalPromoted(_Verdict, frozen=True, kw_only=True, tag="proposal.promoted"):
    """A proposal becomes champion. The fact counts only if `met` was the champion at that point of the log."""

    met: b.OptionalTree = ""
    mean: b.Number
    low: b.Number | None = None
    high: b.Number | None = None
    seeds: b.Seeds = ()
    p_better: b.Probability | None = None
    text: b.Text = ""


class ProposalRetired(_Verdict, frozen=True, kw_only=True, tag="proposal.retired"):
    """A proposal is retired: blocked, failed, early-stopped, not better than the champion, or demoted."""

    why: Literal["blocked", "failed", "not_better", "demoted", "killed"]
    met: b.OptionalTree = ""
    mean: b.Number | None = None
    seeds: b.Seeds = ()
    p_better: b.Probability | None = None
    text: b.Text = ""


class HoldoutOpened(Event, frozen=True, kw_only=True, tag="holdout.opened"):
    """A look: the sealed split is opened for a proposal, once per proposal and version, while looks are left."""

    version: b.Version
    look: b.Count
    proposal: b.Tree

    def key(self, post_id: str) -> str:
        return f"{self.version}-{self.look}"


class NotePosted(Event, frozen=True, kw_only=True, tag="note.posted"):
    """Free text on the message board; `reply_to` is the sequence of the post it answers."""

    channel: b.Word
    text: b.Text
    reply_to: b.Count | None = None

    def key(self, post_id: str) -> str:
        return post_id


class ModelAsked(Event, frozen=True, kw_only=True, tag="model.asked"):
    """A model call that led to no proposal or critique; its cost counts like any other.

    `ok` is whether the provider answered. `text` is why that answer was not used.
    """

    model: b.Word
    purpose: b.Word
    ok: bool
    cost: Cost
    text: b.Text = ""
    call: KeptCall | None = None

    def key(self, post_id: str) -> str:
        return post_id


class BudgetGranted(Event, frozen=True, kw_only=True, tag="budget.granted"):
    """The arena may spend this much more; null sets no limit."""

    n: b.Count
    gpu_seconds: b.Amount | None = None
    tokens: b.Quantity | None = None
    usd: b.Amount | None = None

    def key(self, post_id: str) -> str:
        return str(self.n)


AnyEvent = (
    ArenaOpened
    | ArenaClosed
    | AgentJoined
    | AgentLeft
    | WorkerJoined
    | WorkerLeft
    | ProposalPosted
    | CommitPushed
    | CritiquePosted
    | RunRequested
    | RunStarted
    | RunKilled
    | RunFinished
    | ItemsCompared
    | ProposalPromoted
    | ProposalRetired
    | HoldoutOpened
    | NotePosted
    | ModelAsked
    | BudgetGranted
    | ChannelOpened
    | MemberInvited
    | MemberAdmitted
    | MemberRevoked
)

KINDS: dict[str, type[Event]] = {str(e.__struct_config__.tag): e for e in AnyEvent.__args__}


def kind_of(event: AnyEvent) -> str:
    """Return the tag of a fact, e.g. `run.finished`."""
    return str(event.__struct_config__.tag)

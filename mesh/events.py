"""The facts: all that the log may contain, as one closed union of frozen structs.

The tag of a fact (`run.finished`) is its only name: wire type, subject, SQL value and command-line word. Facts only
ever gain fields with defaults. `make events` writes `docs/events.md` from this module. `mesh.wire` has the envelope
and the bytes.
"""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from mesh.spec import ArenaSpec

Lane = Literal["confirm", "control", "audit", "explore"]
LANES: tuple[Lane, ...] = ("confirm", "control", "audit", "explore")
PROOF: tuple[Lane, ...] = ("confirm", "control")
"""The lanes whose scores prove something: their seeds played no part in choosing the proposal."""

FailureReason = Literal["timeout", "out_of_memory", "crash", "no_score", "bad_score", "lost", "killed", "over_budget"]
Counting = Literal["cpu", "wall", "gpu"]
"""Which seconds count against a budget: CPU time of all processes, wall time, or time with a GPU open."""

Scalar = bool | int | float | str


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """A fact; each subclass defines its tag and the fields that form its key."""

    one_per_author: ClassVar[bool] = False
    key_tokens: ClassVar[int] = 1

    def key(self, post_id: str) -> str:
        """Return the subject tokens that make this fact unique in its arena.

        Args:
            post_id: id of the post, which is the key of facts that may repeat.
        """
        raise TypeError(f"{type(self).__name__} has no key")


class ArenaOpened(Event, frozen=True, kw_only=True, tag="arena.opened"):
    """An arena, or a new version of it, is open. `code`, `evaluator` and `data` are content hashes."""

    version: Annotated[int, Meta(ge=1)]
    spec: ArenaSpec
    base_commit: str
    base_tree: str
    evaluator: str
    data: str = ""
    reason: str = ""

    def key(self, post_id: str) -> str:
        return str(self.version)


class ArenaClosed(Event, frozen=True, kw_only=True, tag="arena.closed"):
    """An arena is closed: every process of it ends its work."""

    version: Annotated[int, Meta(ge=1)]
    reason: Literal["operator", "budget", "plateau", "time", "trials"]
    text: str = ""

    def key(self, post_id: str) -> str:
        return str(self.version)


class _Life(Event, frozen=True, kw_only=True):
    """A fact about one life of a process; `boot` is the id of that life."""

    boot: str

    def key(self, post_id: str) -> str:
        return self.boot


class AgentJoined(_Life, frozen=True, kw_only=True, tag="agent.joined"):
    """An agent is ready. It gets a new `boot` id each time it starts."""

    role: str
    model: str = ""
    host: str = ""
    version: str = ""


class AgentLeft(_Life, frozen=True, kw_only=True, tag="agent.left"):
    """An agent ended in good order."""

    reason: str = ""


class WorkerJoined(_Life, frozen=True, kw_only=True, tag="worker.joined"):
    """A worker is ready to take runs. `tier` is the sandbox tier that passed its self-check."""

    worker_class: str
    device: str
    slots: Annotated[int, Meta(ge=1)]
    memory_mb: int = 0
    price_per_hour_usd: float | None = None
    tier: str = "none"
    host: str = ""
    environment: str = ""


class WorkerLeft(_Life, frozen=True, kw_only=True, tag="worker.left"):
    """A worker has stopped taking runs."""

    reason: str = ""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where an idea came from: the unchanged baseline, a sampler, a model or a person.

    `share` is the probability with which this sampler was drawn, null if none was drawn.
    """

    how: Literal["baseline", "sampler", "model", "human"]
    name: str = ""
    share: Annotated[float, Meta(ge=0, le=1)] | None = None


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What something cost; null is unknown, not zero."""

    usd: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    seconds: float | None = None


class KnobChange(msgspec.Struct, frozen=True, kw_only=True):
    """The change of one constant in an editable file: its value in the parent and in the proposal."""

    file: str
    name: str
    old: Scalar | None = None
    new: Scalar | None = None


class ProposalPosted(Event, frozen=True, kw_only=True, tag="proposal.posted"):
    """A commit of the artifact with a reason. `tree` is the proposal's id: equal files are one proposal.

    `as_of` is the sequence of the last entry that its author knew. The number of entries from there to the first
    result is the staleness of the idea.
    """

    tree: str
    commit: str
    parents: tuple[str, ...] = ()
    title: str
    rationale: str = ""
    origin: Origin
    predicted_gain: float | None = None
    confidence: Annotated[float, Meta(ge=0, le=1)] | None = None
    knobs: tuple[KnobChange, ...] = ()
    cost: Cost | None = None
    as_of: int = 0

    def key(self, post_id: str) -> str:
        return self.tree


class CritiquePosted(Event, frozen=True, kw_only=True, tag="critique.posted"):
    """A critic's judgement of a proposal before it runs, or of a run after it; one per critic and target.

    `confidence` makes it a forecast: the probability that an `endorse` becomes champion, or that a `warn` or `block`
    does not.
    """

    one_per_author: ClassVar[bool] = True
    target: str
    verdict: Literal["endorse", "warn", "block"]
    rule: str = ""
    text: str = ""
    predicted: float | None = None
    confidence: Annotated[float, Meta(ge=0, le=1)] | None = None
    cost: Cost | None = None

    def key(self, post_id: str) -> str:
        return self.target


class RunRequested(Event, frozen=True, kw_only=True, tag="run.requested"):
    """A run is requested: one execution of one proposal with one seed.

    `avoid` is the boot id of a worker that should not take it. `race` is the number of its race, 0 outside of races;
    logs from before this field also have 0, and there the seed divided by 1000 is the race.
    """

    key_tokens: ClassVar[int] = 2
    run: str
    lane: Lane
    proposal: str
    commit: str
    seed: int
    budget_s: float
    deadline_s: float
    worker_class: str = "any"
    evaluator: str = ""
    version: int = 1
    avoid: str = ""
    race: Annotated[int, Meta(ge=0)] = 0

    def key(self, post_id: str) -> str:
        return f"{self.lane}.{self.run}"


class RunStarted(Event, frozen=True, kw_only=True, tag="run.started"):
    """A worker begins an attempt of a run. It locks nothing: a second attempt may begin while the first one runs."""

    run: str
    attempt: int
    worker: str
    device: str = ""

    def key(self, post_id: str) -> str:
        return f"{self.run}-{self.attempt}"


class CurvePoint(msgspec.Struct, frozen=True, array_like=True):
    """One point of a learning curve."""

    step: int
    value: float
    at_s: float
    fraction: float = 0.0


class RunKilled(Event, frozen=True, kw_only=True, tag="run.killed"):
    """The swarm has stopped a run early; `curve` is the evidence."""

    run: str
    by: Literal["rule", "operator", "budget"]
    text: str = ""
    curve: tuple[CurvePoint, ...] = ()

    def key(self, post_id: str) -> str:
        return self.run


class Scored(msgspec.Struct, frozen=True, kw_only=True, tag_field="how", tag="scored"):
    """The run ended with a score. `self_reported` is true if the candidate's own code could forge it."""

    value: float
    metrics: dict[str, float] = {}
    self_reported: bool = False


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag_field="how", tag="failed"):
    """The run ended without a score."""

    reason: FailureReason
    message: str


class RunFinished(Event, frozen=True, kw_only=True, tag="run.finished"):
    """A run has ended; the first such fact of a run counts.

    The supervisor measures times and memory. The worker computes `code`, `data`, `evaluator` and `environment` from
    what it executed. The GPU driver reports GPU memory and utilisation.
    """

    run: str
    proposal: str
    outcome: Scored | Failed
    worker: str
    worker_class: str
    attempt: int = 1
    curve: tuple[CurvePoint, ...] = ()
    trial_s: float = 0.0
    score_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_mb: float = 0.0
    peak_gpu_memory_mb: float | None = None
    gpu_utilisation: float | None = None
    evaluator: str = ""
    code: str = ""
    data: str = ""
    environment: str = ""
    tier: str = "none"
    log_tail: str = ""
    cost: Cost | None = None
    budget_used_s: float = 0.0
    budget_counts: Counting | Literal[""] = ""
    predict_s: float = 0.0

    def key(self, post_id: str) -> str:
        return self.run


class _Verdict(Event, frozen=True, kw_only=True):
    """A verdict on a proposal in one round."""

    proposal: str
    round: int

    def key(self, post_id: str) -> str:
        return f"{self.proposal}-{self.round}"


class ProposalPromoted(_Verdict, frozen=True, kw_only=True, tag="proposal.promoted"):
    """A proposal becomes champion. The fact counts only if `met` was the champion at that point of the log."""

    met: str = ""
    mean: float
    low: float | None = None
    high: float | None = None
    seeds: tuple[int, ...] = ()
    p_better: float | None = None
    text: str = ""


class ProposalRetired(_Verdict, frozen=True, kw_only=True, tag="proposal.retired"):
    """A proposal is retired: blocked, failed, early-stopped, not better than the champion, or demoted."""

    why: Literal["blocked", "failed", "not_better", "demoted", "killed"]
    met: str = ""
    mean: float | None = None
    seeds: tuple[int, ...] = ()
    p_better: float | None = None
    text: str = ""


class NotePosted(Event, frozen=True, kw_only=True, tag="note.posted"):
    """Free text on the message board; `reply_to` is the sequence of the post it answers."""

    channel: str
    text: str
    reply_to: int | None = None

    def key(self, post_id: str) -> str:
        return post_id


class ModelAsked(Event, frozen=True, kw_only=True, tag="model.asked"):
    """A model call that led to no proposal or critique; its cost counts like any other.

    `ok` is whether the model gave an answer that could be read. `text` is why that answer was not used.
    """

    model: str
    purpose: str
    ok: bool
    cost: Cost
    text: str = ""

    def key(self, post_id: str) -> str:
        return post_id


class BudgetGranted(Event, frozen=True, kw_only=True, tag="budget.granted"):
    """The arena may spend this much more; null sets no limit."""

    n: int
    gpu_seconds: float | None = None
    tokens: int | None = None
    usd: float | None = None

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
    | CritiquePosted
    | RunRequested
    | RunStarted
    | RunKilled
    | RunFinished
    | ProposalPromoted
    | ProposalRetired
    | NotePosted
    | ModelAsked
    | BudgetGranted
)

KINDS: dict[str, type[Event]] = {str(e.__struct_config__.tag): e for e in AnyEvent.__args__}


def kind_of(event: AnyEvent) -> str:
    """Return the tag of a fact, e.g. `run.finished`."""
    return str(event.__struct_config__.tag)

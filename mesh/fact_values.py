"""The values inside of facts: lanes, costs, origins, changed knobs, curves and kept items.

`mesh.events` names them all, so other modules import them from there. `mesh.outcomes` has the outcomes of runs.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mesh import bounds as b
from mesh.bounds import Scalar

Lane = Literal["confirm", "control", "sealed", "audit", "explore"]
LANES: tuple[Lane, ...] = ("confirm", "control", "sealed", "audit", "explore")
PROOF: tuple[Lane, ...] = ("confirm", "control")
"""The lanes whose scores prove something: their seeds played no part in choosing the proposal."""

Counting = Literal["cpu", "wall", "gpu"]
"""Which seconds count against a budget: CPU time of all processes, wall time, or time with a GPU open."""


class Origin(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where an idea came from: the unchanged baseline, a sampler, a model or a person.

    `share` is the probability with which this sampler was drawn, null if none was drawn.
    """

    how: Literal["baseline", "sampler", "model", "human"]
    name: b.Word = ""
    share: b.Probability | None = None


class Cost(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What something cost; null is unknown, not zero."""

    usd: b.Amount | None = None
    tokens_in: b.Quantity | None = None
    tokens_out: b.Quantity | None = None
    seconds: b.Amount | None = None


class JudgeUse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the score program of a run has asked models: calls, those answered from the cache, tokens and dollars."""

    calls: b.Count = 0
    cached: b.Count = 0
    tokens_in: b.Quantity = 0
    tokens_out: b.Quantity = 0
    usd: b.Amount = 0.0


class KeptCall(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The prompt and the answer of a model call, which lie beside the log as an object of this hash.

    The objects of the newest calls of an arena are kept; `mesh show` prints them.
    """

    sha256: b.Sha256
    prompt_bytes: b.Count
    answer_bytes: b.Count


class KnobChange(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The change of one constant in an editable file: its value in the parent and in the proposal."""

    file: b.Path
    name: b.Word
    old: Scalar | None = None
    new: Scalar | None = None


KnobValues = Annotated[
    dict[b.Path, Annotated[dict[b.Word, Scalar], Meta(max_length=b.MAX_ITEMS)]], Meta(max_length=b.MAX_ITEMS)
]
"""Values of knobs, by file and name."""


class RuledOut(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Proposals that changed what a version fixes; `text` says in one sentence what they changed."""

    text: b.Text
    proposals: b.Trees


class CurvePoint(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One point of a learning curve."""

    step: b.Integer
    value: b.Number
    at_s: b.Amount
    fraction: b.Number = 0.0


class ItemsKept(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The scores of single items that a score is the mean of.

    Of runs that prove something (lanes confirm and control) they lie beside the log, as an object of this hash.
    """

    sha256: b.Sha256
    count: b.Count
    clusters: b.Count = 0
    ids: b.OptionalSha256 = ""
    margin: b.Amount = 0.0

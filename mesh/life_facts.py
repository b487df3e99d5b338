"""The facts about the lives of processes: agents and workers join, and leave.

`mesh.events` names them all, so other modules import them from there.
"""

from mesh import bounds as b
from mesh.fact import Event


class _Life(Event, frozen=True, kw_only=True):
    """A fact about one life of a process; `boot` is the id of that life."""

    boot: b.KeyText

    def key(self, post_id: str) -> str:
        return self.boot


class AgentJoined(_Life, frozen=True, kw_only=True, tag="agent.joined"):
    """An agent is ready. It gets a new `boot` id each time it starts.

    `reserves_usd` is the most that its model calls of one moment may cost, null where that is not known.
    """

    role: b.Word
    model: b.Word = ""
    host: b.Word = ""
    version: b.Word = ""
    owner: b.Word = ""
    reserves_usd: b.Amount | None = None
    answers_by_name: bool = False


class AgentLeft(_Life, frozen=True, kw_only=True, tag="agent.left"):
    """An agent ended in good order; `owes_usd` is the most that calls may cost whose cost is in no fact."""

    reason: b.Text = ""
    owes_usd: b.Amount = 0.0


class WorkerJoined(_Life, frozen=True, kw_only=True, tag="worker.joined"):
    """A worker is ready to take runs. `tier` is the sandbox tier that passed its self-check.

    `price_per_hour_usd` is for the whole machine, null if unknown; `price_source` says whose word that is.
    """

    worker_class: b.Word
    device: b.Word
    slots: b.Slots
    memory_mb: b.Quantity = 0
    price_per_hour_usd: b.Amount | None = None
    tier: b.Word = "none"
    host: b.Word = ""
    environment: b.Word = ""
    provider: b.Word = ""
    instance: b.Word = ""
    spot: bool = False
    price_source: b.Word = ""
    owner: b.Word = ""
    answers_by_name: bool = False


class WorkerLeft(_Life, frozen=True, kw_only=True, tag="worker.left"):
    """A worker has stopped taking runs. `silent`: it no longer answered, and the hub says so (`mesh.hand_outs`)."""

    reason: b.Text = ""
    silent: bool = False

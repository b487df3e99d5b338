"""The meaning of each field of the facts about lives of agents and workers; a part of `mesh.meanings`."""

_BY_NAME = "Whether it answers a roll call that names it; false in earlier versions, which hear their boot id alone."

LIFE_FIELDS: dict[str, dict[str, str]] = {
    "AgentJoined": {
        "role": "Role of the agent: explorer, researcher, critic, curator, or the name of a role of yours.",
        "version": "Version of the mesh that it runs.",
        "reserves_usd": "The most that its model calls of one moment may cost; a budget keeps it. Null if not known.",
        "answers_by_name": _BY_NAME,
    },
    "AgentLeft": {
        "reason": "Why it ended.",
        "owes_usd": "The most that its calls may cost whose cost no fact has yet: a budget keeps it until it returns.",
    },
    "WorkerJoined": {
        "slots": "How many runs it takes at a time.",
        "memory_mb": "Memory of the device, in MB; 0 is unknown.",
        "price_per_hour_usd": "Price of the whole machine in dollars per hour; null is unknown, 0 is a statement.",
        "environment": "Hash of its Python packages and of its hardware.",
        "provider": "Who rents the machine out; empty if not known.",
        "instance": "The provider's name for such a machine; empty if not known.",
        "spot": "Whether the provider may take it back at any time.",
        "price_source": "Where the price is from: `said`, or the table of prices with its date; empty without a price.",
        "answers_by_name": _BY_NAME,
    },
    "WorkerLeft": {
        "reason": "Why it ended: `drained` (its runs were finished), `idle`, `preempted` (taken away), `budget`.",
        "silent": "Whether it was posted in the name of the hub, because this worker no longer answered.",
    },
}

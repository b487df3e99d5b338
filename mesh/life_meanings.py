"""The meaning of each field of the facts about lives of agents and workers; a part of `mesh.meanings`."""

LIFE_FIELDS: dict[str, dict[str, str]] = {
    "AgentJoined": {
        "role": "Role of the agent: explorer, researcher, critic, curator, or the name of a role of yours.",
        "version": "Version of the mesh that it runs.",
    },
    "AgentLeft": {"reason": "Why it ended."},
    "WorkerJoined": {
        "slots": "How many runs it takes at a time.",
        "memory_mb": "Memory of the device, in MB; 0 is unknown.",
        "price_per_hour_usd": "Price of the whole machine in dollars per hour; null is unknown, 0 is a statement.",
        "environment": "Hash of its Python packages and of its hardware.",
        "provider": "Who rents the machine out; empty if not known.",
        "instance": "The provider's name for such a machine; empty if not known.",
        "spot": "Whether the provider may take it back at any time.",
        "price_source": "Where the price is from: `said`, or the table of prices with its date; empty without a price.",
    },
    "WorkerLeft": {
        "reason": "Why it ended: `drained` (its runs were finished), `idle`, `preempted` (its machine was taken away).",
        "silent": "Whether it was posted in the name of the hub, because this worker no longer answered.",
    },
}

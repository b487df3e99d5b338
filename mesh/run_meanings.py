"""The meaning of each field of the facts of a run before its end; a part of `mesh.meanings`."""

RUN_FIELDS: dict[str, dict[str, str]] = {
    "RunRequested": {
        "lane": "Why the run is requested: `explore` (search), `confirm` (proof), `control` (champion again), "
        "`sealed` (champions on the sealed split), `audit`.",
        "seed": "Seed of the trial in the log. `MESH_SEED` is a number derived from it.",
        "budget_s": "Budget of the trial in seconds (`MESH_BUDGET_S`), without tolerance and start-up.",
        "deadline_s": "Wall seconds after which the worker kills the trial.",
        "worker_class": "Worker class that may take it, or `any`.",
        "evaluator": "Hash of the evaluator that will score it.",
        "version": "Version of the arena that it belongs to.",
        "avoid": "Boot id of a worker that should not take it; empty is none.",
        "race": "Number of its race, 0 for none; in logs before this field, the seed divided by 1000.",
        "thresholds": "By stage, the number that a threshold relative to champion or baseline came to at the request; "
        "of a cascade, a number below all scores where the champion misses the threshold itself.",
        "instead_of": "Name of the run that it replaces, because the queue has lost that one; empty is none.",
        "not_by": "Workers whose starts of it do not count: those of the proposal's owner, and of its first score's; "
        "for audits all but those of the owner that was drawn; and those that scored it by another evaluator.",
        "audit": "What it checks, if it repeats a run on another worker; null for all other runs.",
    },
    "Audit": {
        "run": "Name of the run that is repeated.",
        "worker": "Name of the worker that gave the score.",
        "value": "The score.",
        "tolerance": "By how much the repeated score may differ: 0 for exact metrics, else a multiple of the noise.",
        "other": "Name of the worker whose audit got another score; empty where this is the first audit.",
        "other_value": "The score of that audit; null where this is the first one.",
    },
    "RunStarted": {"attempt": "Number of the attempt, from 1."},
    "RunKilled": {
        "by": "What stopped it: a rule (early stopping), a person, or the budget, whose money it outlived.",
        "text": "The reason in a sentence.",
        "curve": "The learning curve behind the decision.",
    },
}

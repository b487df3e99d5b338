"""The meaning of each key of the tables of `arena.toml` that say what scores cost and decide, and of small structs.

`mesh.meanings` has the others.
"""

RULE_FIELDS: dict[str, dict[str, str]] = {
    "KeptCall": {
        "sha256": "Name of the object, and sha256 of its bytes.",
        "prompt_bytes": "Bytes of all messages of the prompt, before anything was cut.",
        "answer_bytes": "Bytes of the answer and of what the provider calls its reasoning, before anything was cut.",
    },
    "RuledOut": {
        "text": "What they changed, as in `changed N, which version 3 fixes`.",
        "proposals": "Their tree hashes; at most 10,000 in one fact, champions first, then the latest.",
    },
    "JudgeSpec": {
        "models": "Models that the score program may ask, by the names that it uses.",
        "key": "Name of the worker's environment variable that has the key, such as `OPENAI_API_KEY`; empty for a "
        "server that needs none.",
        "upstream": 'Address of the API, such as `"http://127.0.0.1:8000/v1"`. It may be left out where `key` is the '
        "usual name of a known provider's.",
        "usd": "Most dollars that the arena spends on these calls on each machine; 0 is no limit. A key needs one.",
        "usd_per_run": "Most dollars for one attempt at a run; 0 is no limit.",
        "calls_per_run": "Most calls for one attempt at a run; answers from the cache are none. 0 is no limit.",
        "prices": "Dollars per million tokens in and out, by model. Needed for models whose price litellm does not "
        "know, if dollars are limited.",
        "cache": 'Which answers are used again when the same is asked: `"deterministic"` (with temperature 0, and '
        'embeddings), `"all"` or `"off"`.',
        "cache_mb": "Size of these answers on each machine, in MB; the ones that were not used for longest go first.",
    },
    "SelectionSpec": {
        "baseline_seeds": "Number of seeds on which the baseline runs when the arena opens.",
        "confirm_seeds": "Largest number of fresh seeds in a race.",
        "fdr": "Bound of the expected share of false promotions over the whole life of the arena.",
        "sealed": '`"report"`: champions are scored on the sealed split, and the gap is shown. `"gate"`: a proposal '
        "whose sealed score is not better than the champion's is refused. The score program must obey `MESH_SPLIT`.",
        "sealed_looks": "How many proposals may be scored on the sealed split per version of the arena.",
        "proof_share": "Largest share of the workers' time that proof takes while search has runs.",
        "halving": "Whether to stop explore runs early when their learning curve is behind.",
        "curve": "Direction of the learning curve, if it differs from the objective's.",
        "reduction": "Of this many runs that reach a rung, one continues.",
        "rungs": "Fractions of the budget at which runs are compared.",
        "never_killed": "Share of the runs that early stopping spares, to measure how often it is wrong.",
    },
    "StopSpec": {
        "plateau": "Close after this many scored explore runs without a promotion; 0 is never.",
        "trials": "Close after this many finished runs; 0 is never.",
        "hours": "Close after this many hours; 0 is never.",
        "usd": "The first grant of dollars (`mesh budget`): the arena closes when the rest pays for no run. 0 is no "
        "limit.",
    },
}

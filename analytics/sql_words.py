"""Words that people type in SQL, from other systems and other days, and our words for them.

`tests/test_did_you_mean.py` runs every suggestion. A new view or column is worth a line here where another system has
another word for it.
"""

COLUMN_WORDS = (
    # words that people type, and our columns for them, the first that a view has
    ("score result objective loss fitness reward metric target values objective_value", "value mean best metric"),
    ("best_value best_score top highest max_score min_loss", "best mean value"),
    ("avg average mean_score mu", "mean value best"),
    ("std stdev stddev sigma variance noise spread", "sd"),
    ("ci interval lower lower_bound ci_low error_bar", "low"),
    ("upper upper_bound ci_high", "high"),
    ("status outcome result_state phase lifecycle_stage", "state"),
    ("failures failure error errors exception cause failure_reason error_type crash", "reason failed why state"),
    ("error_message msg traceback stderr log", "message text body"),
    ("duration runtime elapsed wall walltime latency time_taken took seconds _runtime", "trial_s seconds worker_s"),
    ("cpu_time cpu cpu_seconds", "cpu_s"),
    ("wait waiting queue queued wait_time", "queue_s"),
    ("memory mem ram peak_memory memory_used", "peak_memory_mb peak_gpu_memory_mb"),
    ("gpu_memory gpu_mem vram peak_vram peak_vram_mb cuda_memory", "peak_gpu_memory_mb"),
    ("gpu_util gpu_usage gpu_busy utilization utilisation gpu_utilization", "gpu_utilisation"),
    ("usd price spend spent dollars money budget cost costs total_cost", "usd price_per_hour_usd"),
    ("tokens prompt_tokens input_tokens", "tokens_in"),
    ("completion_tokens output_tokens", "tokens_out"),
    ("trial trial_id trial_number experiment experiment_id job job_id number", "run runs"),
    ("study study_name project project_name experiment_name task", "arena"),
    ("commit_hash git_commit git_hash sha git_sha revision", "commit"),
    ("key", "name run proposal target"),
    ("id uuid _id", "run proposal target"),
    ("prompt prompts question", "prompt_bytes"),
    ("answer answers response completion reply", "answer_bytes"),
    ("hash tree candidate candidate_id solution program individual", "proposal target"),
    ("name description summary idea change title_text display_name", "title text name"),
    ("explanation why_better motivation hypothesis notes", "rationale"),
    ("user owner created_by by proposer agent agent_name posted_by", "author agent who"),
    ("reviewer judge", "critic"),
    ("type kind_of lane_name purpose", "lane kind role origin"),
    ("source sampler optimizer method algorithm strategy generator", "origin_name origin kind"),
    ("position place_no ranking", "rank"),
    ("step iteration generation epoch", "seq"),
    ("created created_at date datetime timestamp time ts", "time requested_at joined_at opened_at since"),
    ("start start_time begin begun started datetime_start", "started_at joined_at opened_at since"),
    ("end end_time stop finished ended completed completed_at datetime_complete", "finished_at left_at until"),
    ("gpu hardware machine node device_name host_name", "worker_class device host worker"),
    ("parent_id base ancestor parents", "parent parents"),
    ("improvement delta diff gain_over_parent lift uplift", "gain improvement"),
    ("num_runs n_runs trials n n_trials count_runs samples", "runs seeds count"),
    ("repeats replicates n_seeds", "seeds"),
    ("random_state random_seed", "seed"),
    ("message_text content body_text comment comments", "text"),
    ("p p_value pvalue p_better probability", "confidence low"),
    ("is_champion is_best champion winner promoted", "state promoted promoted_at"),
    ("val number_value param_value", "value number"),
    ("param parameter param_name parameter_name knob metric_name", "name"),
)
KNOB_WORDS = (
    "knobs",
    "params parameters hyperparameters hparams config configs settings search_space user_attrs args best_params",
)
METRIC_WORDS = "metrics", "summary summary_metrics other_metrics numbers measurements system_attrs measures"
VIEW_WORDS = (
    # words that people type after FROM, and what to ask in their place
    ("trials trial experiments experiment jobs job evaluations evals attempts tests run outcomes results", "runs"),
    ("result ranking rankings rank top summary standings scoreboard best_runs winners", "leaderboard"),
    ("candidates candidate solutions programs ideas changes_proposed commits individuals population", "proposals"),
    ("studies study projects project goals tasks arena", "arenas"),
    ("best history progress trace best_values best_value trajectory improvements curve", "frontier"),
    ("params param parameters hyperparameters hparams config configs settings trial_params", "knobs"),
    (
        "metric latest_metrics metric_history measurements numbers trial_values user_attrs trial_user_attributes",
        "metrics",
    ),
    ("champion winner", "champions"),
    ("parents ancestry tree dag edges genealogy", "lineage"),
    ("users user authors people team members agent", "agents"),
    ("reviews reviewers critiques critic", "critics"),
    ("machines nodes gpus gpu devices hosts worker cluster", "workers"),
    ("costs spend spending budget billing usage money price prices", "cost"),
    ("notes note messages message chat posts comments discussion", "board"),
    ("log logs facts event audit entries", "events"),
    ("llm llm_calls calls model models prompts completions tokens", "model_calls"),
    ("diffs diff edits change patches", "changes"),
    ("sampler samplers_used optimizers methods", "samplers"),
    ("variance std error_bars seeds", "noise"),
    ("pruned early_stopped pruning", "halving"),
    ("failures failure errors error crashes crash failed failed_runs exceptions", "runs WHERE state = 'failed'"),
    ("running queue queued pending active", "runs WHERE state IN ('requested', 'running')"),
)

CLOSED_WORDS = {
    "runs.state": "requested running scored infeasible screened_out failed killed replaced",
    "proposals.state": "open champion past_champion demoted retired ruled_out",
    "leaderboard.state": "champion past_champion demoted retired close confirming claimed infeasible screened_out",
    "stages.state": "passed screened_out failed scored",
    "arenas.state": "open closed",
    "agents.state": "here left guest",
    "workers.state": "here left",
    "runs.lane": "explore confirm control audit sealed",
    "proposals.origin": "baseline sampler model human",
    "leaderboard.origin": "baseline sampler model human",
    "model_calls.became": "proposal critique unused",
    "cost.what": "proposal critique run lost idle judge failed call",
}
"""The columns that only have these words."""
STATE_WORDS = (
    # words that people compare a state with, and ours
    ("completed complete finished done success succeeded ok passed", "scored"),
    ("error errored crashed crash failure fail", "failed"),
    ("pending queued waiting created scheduled", "requested open"),
    ("active in_progress started", "running here open"),
    ("cancelled canceled aborted stopped pruned early_stopped", "killed"),
    ("best winner kept accepted keep promoted current", "champion"),
    ("rejected discarded discard dropped abandoned", "retired"),
    ("alive online up connected", "here"),
    ("dead gone offline disconnected", "left"),
    ("search exploration", "explore"),
    ("llm ai gpt researcher", "model"),
    ("user person people manual", "human"),
)
OTHER_DIALECTS = (
    # what other dialects and prompts have, and what to write here
    (r"^\s*SHOW\s+(?:COLUMNS|FIELDS)\s+(?:FROM|IN)\s+(\w+)", r"write DESCRIBE \1"),
    (r"^\s*SHOW\s+CREATE\b", "write DESCRIBE and the name of the view"),
    (r"\bSELECT\s+(?:DISTINCT\s+)?TOP\s*\(?(\d+)", r"write LIMIT \1 at the end in place of TOP \1"),
    (r"^\s*(?:\.(?:tables|views)\b|\\d[tv+]*\s*$|SHOW\s+(?:FULL\s+)?(?:TABLES|VIEWS)\b)", "write SHOW TABLES"),
    (r"^\s*(?:\.schema|\\d\+?|PRAGMA\s+table_info\s*\(?)\s*'?(\w+)", r"write DESCRIBE \1"),
    (r"^\s*PIVOT\b", "PIVOT needs its values here: PIVOT knobs ON name IN ('LR') USING first(number)"),
    (
        r"^\s*\w+\.(?:head|tail|describe|info|columns|shape|dtypes|sort_values|groupby|query|i?loc|plot)\b",
        "this is SQL: write FROM runs LIMIT 5, or SUMMARIZE runs",
    ),
    (r"^\s*(?:\.\w+|\\\w+)", "commands with a dot work at the prompt, which `mesh sql` starts"),
)

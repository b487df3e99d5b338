"""The meaning of each field of a fact and each key of `arena.toml`, in a sentence: the source of the reference pages.

`FIELDS` is by struct and field. `SHARED` is by field alone, for fields that mean the same in every fact.
`mesh.events_page` and `mesh.arena_page` write these sentences into the docs. A test fails if a field has no sentence,
or a sentence no field.
"""

from mesh.commit_meanings import COMMIT_FIELDS
from mesh.life_meanings import LIFE_FIELDS
from mesh.member_meanings import MEMBER_FIELDS
from mesh.rule_meanings import RULE_FIELDS
from mesh.run_meanings import RUN_FIELDS

SHARED = {
    "base_commit": "Git commit of the artifact as it was when the arena opened.",
    "base_tree": "Git tree of that commit: the id of the baseline proposal.",
    "boot": "Random id of one life of the process; a restart has another.",
    "call": "Prompt and answer of the model call, an object beside the log; null if there was none or none was kept.",
    "commit": "Git commit with the proposal's files.",
    "cost": "Its cost; null is unknown.",
    "device": "Device, such as `cpu` or `cuda:0`.",
    "evaluator": "Hash of all that decides a score: the protected files and the rules of `arena.toml`.",
    "environment": "Hash of the Python packages and the hardware of the run.",
    "built": "Hash of what the environment of the task was built from; empty where it was not built.",
    "packages": "Packages of an environment that was built, with their versions: `numpy==2.1.0`.",
    "high": "Upper bound of the 95 % interval of the mean.",
    "host": "Name of the machine.",
    "low": "Lower bound of the 95 % interval of the mean.",
    "mean": "Mean of the scores behind the verdict.",
    "met": "Tree of the champion that the proposal was compared with; empty if there was none.",
    "model": "Name of the language model, `provider/name`; empty if none is used.",
    "owner": "Who answers for it: a person, a team; empty if nobody was named.",
    "p_better": "Probability (0 to 1) that the proposal is better than the champion in `met`.",
    "proposal": "Tree hash of the proposal.",
    "round": "Number of the promotion round of the arena, so that several curators post one verdict.",
    "run": "Name of the run.",
    "seeds": "Seeds of the scores behind the verdict.",
    "tier": "Sandbox tier of the run: A is the strongest, E the weakest, `none` is no sandbox.",
    "worker": "Boot id of the worker.",
    "worker_class": "Worker class, such as `cpu-x86_64` or `cuda-h200`; scores are compared inside of one class.",
}

FIELDS: dict[str, dict[str, str]] = {
    "Post": {
        "id": "Id of the post (uuid7); it is also the message id, by which the server recognises a retry.",
        "at": "Time on the author's clock, UTC.",
        "author": "Name of the agent, worker or person that posts; the last token of the subject.",
        "cause": "Id of the post that led to this one; empty if there is none.",
        "event": "The fact.",
    },
    "ArenaOpened": {
        "version": "Version of the arena: 1 at first, one more each time its files change or it is opened again.",
        "spec": "All of `arena.toml`.",
        "data": "Hash of the data that `artifact.prepare` made; empty if there is none.",
        "reason": "Why this version was opened.",
        "ruled_out": "Earlier proposals that changed what this version fixes, by what they changed.",
        "rules": "What counts: 0 everybody's ends of runs and costs, as in logs before this field; from 1 on, ends of "
        "runs by who began them; from 2 on, costs against a budget as far as they were reserved.",
    },
    "ArenaClosed": {
        "version": "Version of the arena that ends.",
        "reason": "What closed it: a person, or one of the limits in `[stop]`.",
        "text": "The reason in a sentence.",
    },
    "ProposalPosted": {
        "tree": "Git tree of the files: the id of the proposal. Equal files are one proposal.",
        "parents": "Trees of the proposals that it changes: none, one, or several for a recombination.",
        "title": "The change in one line.",
        "rationale": "Why the change should help.",
        "origin": "Where the idea came from.",
        "predicted_gain": "Gain that the author expects, in units of the metric; positive is better.",
        "confidence": "Probability of a gain, as the author estimates it, 0 to 1.",
        "knobs": "Constants that it changes.",
        "as_of": "Sequence of the last entry that the author knew; 0 is unknown.",
        "values": "Values of all knobs of its files, by file and name; empty in logs before this field.",
    },
    "CritiquePosted": {
        "target": "Tree of a proposal, or name of a run.",
        "verdict": "`endorse`, `warn`, or `block`, which keeps the proposal out of the queue.",
        "rule": "Rule that decided; empty if none did.",
        "text": "The judgement in words.",
        "predicted": "Score that the critic expects.",
        "confidence": "Probability of the forecast: an `endorse` becomes champion, a `warn` or `block` does not.",
        "cost": "Cost of the model call; null if no model was asked.",
    },
    "RunFinished": {
        "outcome": "A score, or a failure with its reason.",
        "attempt": "Number of the attempt that ended, from 1.",
        "curve": "Learning curve, thinned to a bounded number of points.",
        "trial_s": "Wall seconds of the trial.",
        "score_s": "Wall seconds of scoring.",
        "cpu_s": "CPU seconds of all processes of the trial.",
        "peak_memory_mb": "Peak memory of all processes of the trial, in MB.",
        "peak_gpu_memory_mb": "Peak GPU memory in MB, as the driver reports it; null without a GPU.",
        "gpu_utilisation": "Mean utilisation of the GPU in percent, as the driver reports it; null without a GPU.",
        "code": "Hash of the files that ran.",
        "data": "Hash of the data that the run used.",
        "log_tail": "The last part of the trial's output.",
        "budget_used_s": "Seconds of the budget that the trial used, as the worker measured them.",
        "budget_counts": "Which seconds these are: `cpu`, `wall` or `gpu`; empty in logs before this field.",
        "items": "Scores of the single items, where the arena has them; null if there are none.",
        "stages": "Stages that ran, in their order, with their numbers and seconds; empty without stages.",
        "judge": "What its scoring has asked of models (`[judge]`); null in an arena without any.",
        "own_seeds": "How many seeds that the program gives itself were replaced by others, in a run that proves.",
        "build_cache": "What became of `artifact.cache`: `used`, `filled`, or `built from nothing` and why; empty "
        "without it.",
        "predict_s": "Seconds, of the same kind, of the code that answered the score program (`score.predict`).",
    },
    "ItemsCompared": {
        "run": "Run of the challenger.",
        "over": "Run of the champion that it met.",
        "common": "Number of items that were compared in pairs; 0 if the two runs had other items.",
        "difference": "Mean over the items of `run` minus that of `over`, in units of the metric; null if not known.",
        "error": "Standard error of the difference, by clusters where there are some; null if it is not known.",
        "dof": "Degrees of freedom of the standard error.",
        "text": "Why the items could not be compared.",
    },
    "ProposalPromoted": {"text": "The verdict in a sentence."},
    "ProposalRetired": {
        "why": "`blocked` by a critic, `failed`, `killed` (stopped early), `not_better` than the champion, or "
        "`demoted`.",
        "text": "The verdict in a sentence.",
    },
    "HoldoutOpened": {
        "version": "Version of the arena; each has its own looks.",
        "look": "Number of the look, from 1 to `selection.sealed_looks`.",
        "proposal": "Proposal that may be scored on the sealed split.",
    },
    "NotePosted": {
        "channel": "Channel of the message board.",
        "text": "The note.",
        "reply_to": "Sequence of the entry that it answers; null if it answers none.",
    },
    "ModelAsked": {
        "purpose": "What the model was asked to do.",
        "ok": "Whether the provider answered; false where it failed or was silent.",
        "text": "Why the answer was not used.",
    },
    "BudgetGranted": {
        "n": "Number of the grant, from 1.",
        "gpu_seconds": "More GPU seconds; null sets no limit.",
        "tokens": "More tokens of models; null sets no limit.",
        "usd": "More dollars, for models, judges and workers: all grants together are the limit. Null says nothing of "
        "dollars.",
    },
    "Origin": {
        "how": "`baseline` (the unchanged artifact), `sampler`, `model` or `human`.",
        "name": "Name of the sampler, model or person.",
        "share": "Probability with which this sampler was drawn; null if none was drawn.",
    },
    "Cost": {
        "usd": "Dollars; null is unknown.",
        "tokens_in": "Tokens that the model read; null is unknown.",
        "tokens_out": "Tokens that the model wrote; null is unknown.",
        "seconds": "Wall seconds; null is unknown.",
    },
    "JudgeUse": {
        "calls": "Calls that were made; those of earlier attempts at the run on this machine count too.",
        "cached": "Questions that were answered from the cache, without a call.",
        "tokens_in": "Tokens that the models have read.",
        "tokens_out": "Tokens that the models have written.",
        "usd": "Dollars. A call whose end is not known counts with the most that it may have cost.",
    },
    "KnobChange": {
        "file": "File of the constant.",
        "name": "Name of the constant; `BETAS[0]` is an element of a tuple.",
        "old": "Value in the parent; null if the constant did not exist.",
        "new": "Value in the proposal; null if the constant is gone.",
    },
    "CurvePoint": {
        "step": "Step number, as the trial counts its steps.",
        "value": "Value that the trial reported.",
        "at_s": "Wall seconds since the trial began.",
        "fraction": "Used fraction of the budget, 0 to 1, as the worker measured it.",
    },
    "ItemsKept": {
        "sha256": "Name of the object, and sha256 of its bytes.",
        "count": "Number of items.",
        "clusters": "Number of clusters; 0 if every item stands for itself.",
        "ids": "sha256 of the names of the items in their order; two runs with one hash were scored on the same items.",
        "margin": "Half of the 95 % interval of the score over its items, in units of the metric.",
    },
    "Scored": {
        "value": "The score: the arena's metric.",
        "metrics": "All numbers that the score program printed, the metric among them.",
        "self_reported": "Whether the candidate could forge it: its code ran in the process that reported the score.",
    },
    "Failed": {
        "reason": "Kind of the failure; `docs/lifecycle.md` explains each.",
        "message": "What happened, in one sentence.",
    },
    "Infeasible": {
        "reason": "Always `infeasible`.",
        "message": "Which numbers violate which constraints, in one sentence.",
        "value": "The arena's metric. It is not a score.",
        "violation": "How much the constraints are violated: 0.2 is 20 % beyond a bound, summed over the constraints.",
        "metrics": "All numbers that the score program printed.",
        "self_reported": "Whether the candidate could forge the numbers.",
    },
    "ScreenedOut": {
        "reason": "Always `screened_out`.",
        "message": "Which number of which stage misses which threshold, in one sentence.",
        "stage": "Name of the stage that ended the run.",
        "value": "The number that the threshold is for. It is not a score.",
        "violation": "How far it misses the threshold: 0.2 is 20 % beyond it.",
        "left": "Number of stages that did not run.",
        "metrics": "All numbers that the stage printed.",
        "self_reported": "Whether the candidate could forge the numbers.",
    },
    "StageEnd": {
        "stage": "Name of the stage.",
        "value": "The number that its threshold is for; in the last stage the score. Null if it gave none.",
        "trial_s": "Wall seconds of the trial that ran for it; 0 if it scored the output of the trial before it.",
        "score_s": "Wall seconds of its scoring.",
    },
    "StageSpec": {
        "name": "Name of the stage; the score program reads it in `MESH_STAGE`.",
        "command": "Score program of this stage, which runs without `score.predict`. Empty: `score.command`, with it.",
        "deadline_s": "Seconds after which its scoring is killed, counted as `score.deadline_s`, which is the limit. "
        "0 is that one.",
        "budget_s": "Budget of a trial of its own, shorter than `trial.budget_s`; that trial reads `MESH_STAGE` too. 0 "
        "scores the full trial, which runs once, before the first such stage. Increasing from stage to stage.",
        "metric": "Number that the threshold is for. Empty: the objective's metric.",
        "at_most": "The run ends here if the number is higher than this, or than what the champion or the baseline got "
        'here: `"champion + 2%"`.',
        "at_least": "The run ends here if the number is lower than this, or than what the champion or the baseline got "
        'here: `"champion - 2%"`.',
        "proof": "Whether the stage runs in proof too, where a candidate that it ends loses its race. Without it proof "
        "runs the last stage alone.",
    },
    "ArenaSpec": {
        "name": "Name of the arena: letters, digits, `_` and `-`. It names the log.",
        "summary": "The goal in one sentence; models are shown it.",
        "brief": "Your words about the task, or the name of a file of the arena that has them, such as `program.md`: "
        "what models should know and try. Models read it as the operator's words. At most 64 KiB.",
        "objective": "What is measured.",
        "artifact": "Which files may change, and which command makes the data.",
        "data": "Your own data, from which the arena's data is made.",
        "environment": "The task's own Python and what else its processes may read. [How to](../howto/environment.md).",
        "judge": "The models that its scoring may ask. [How to](../howto/judges.md).",
        "trial": "How one run is started, and its limits.",
        "score": "How a finished trial is scored.",
        "worker": "Which workers may run it.",
        "knobs": "Which literals of the editable files explorers may change. It does not change what scores.",
        "selection": "How scores become verdicts.",
        "stop": "When the arena closes by itself.",
    },
    "ObjectiveSpec": {
        "metric": "Name of the number to improve, as the score program prints it.",
        "direction": "Whether a lower or a higher value is better.",
        "bounds": "Lowest and highest possible value; a score outside of them is a `bad_score`.",
        "noise": '`"measured"`: several seeds prove a gain. `"none"`: the metric is exact, and one score proves. '
        '`"items"`: the metric is a mean over items of fixed data, which prove a gain in pairs. See '
        "[which noise to take](../selection.md#which-noise-to-take).",
        "also": 'Other numbers of a score, shown beside the metric; with `"stdout"` those behind their printed names.',
        "constraints": 'What numbers of a score must be: `p95_ms = "<= 50"`, with `<=`, `<`, `>=`, `>` or `==`. A '
        "candidate that violates one is infeasible: it is never promoted, and ranks by how much it violates.",
    },
    "ArtifactSpec": {
        "editable": "Files, folders (`src/`) or patterns (`rules/*.json`, `extra/**`) that proposals may change. A "
        "folder or a pattern also allows new files, but never programs that score, hidden files and what is left out. "
        "All other files are protected. "
        "Of a file with lines `EVOLVE-BLOCK-START` and `EVOLVE-BLOCK-END` only the lines between them may change.",
        "hidden": "Files or patterns (`*`, `**`, a folder) that no trial, predictor or model sees; only `prepare` and "
        "the score program find them, at their own paths. They may lie in `data/`. See [the sandbox](../sandbox.md).",
        "ignore": "Patterns as in `.gitignore` of files that do not belong to the arena; `!name` takes what would be "
        "left out, such as `!results/`. They come before `.meshignore`, git and what is left out by itself "
        "([what belongs to an arena](../howto/folder.md)).",
        "leave_out": "An older list of files and patterns, in place of all that is left out without it. Use `ignore`.",
        "prepare": "Command that makes the data once, when the arena opens. Trials may read the files in "
        "`$MESH_OUT/public`; only the score program may read those in `$MESH_OUT/private`.",
        "prepared": "Files or patterns (`*`, `**`, a folder) that `prepare` writes beside itself, in the folder of the "
        "arena, and that every trial finds there. They are stored with the data. Files of more than 1 MB are links.",
        "prepare_hours": "Hours that `prepare` may take; 0: ten minutes, and longer for large sources of data.",
        "writes": "Protected files or patterns that a trial may change in its own copy, such as a harness's table of "
        "results. A trial that changes another protected file has no score.",
        "cache": "Files or patterns (`build/`, `target/`, `**/*.o`) that the build inside of a trial makes. What the "
        "accepted artifact's build leaves there is kept on each machine, and later trials begin with a copy "
        "([how to](../howto/builds.md)). They do not belong to the arena.",
    },
    "DataSpec": {
        "source": "File or folder of your own, of any size, that `artifact.prepare` reads as `MESH_SOURCE`; a relative "
        "path starts at the arena. `--data` comes before it. The data is made again when the contents change. Trials "
        "must not be able to read it.",
        "leak_audit": "What to do if private data, hidden files or the source are found in a file that every trial can "
        'read, when the data is made: `"refuse"` the arena, `"warn"`, or do not look (`"off"`).',
    },
    "TrialSpec": {
        "command": "Command that runs the artifact. Leave it out where an evaluator runs it: `score.how` is "
        '`"openevolve"`, `"shinka"` or `"coral"`.',
        "budget_s": "Budget of a trial in seconds; it reads them from `MESH_BUDGET_S`. The worker ends a trial that "
        "uses more than `budget_s` x `budget_tolerance` + `startup_s`: the run is `over_budget`.",
        "deadline_s": "Wall seconds after which the worker kills every process of the trial; at least `budget_s`.",
        "preload": "Python modules that the worker imports once, so that each trial starts warm, such as `torch`.",
        "memory_gb": "Memory limit of all processes of the trial, in GB.",
        "disk_gb": "Limit of the files that the trial writes, in GB.",
        "network": 'Network of the trial: none, `"loopback"` of its own (only in sandbox tier A), or all (`true`).',
        "budget_counts": 'Which seconds count: `"cpu"` (all processes and threads together), `"wall"`, or `"gpu"` '
        '(wall seconds while a process of the trial has the GPU open). `"auto"` is CPU time on a CPU, wall time on a '
        "GPU.",
        "budget_tolerance": "How often `budget_s` a trial may use before it is ended, for its last step.",
        "startup_s": "Seconds that a trial may use besides: to start, to import, to save its output.",
        "own_seeds": 'Seeds that a Python program gives itself, such as `np.random.seed(42)`. `"vary"`: proof runs '
        'have others instead, because a gain may be the luck of one seed; search keeps them. `"keep"`: they stay.',
        "exclusive": "Whether a run has the machine for itself, on fixed cores, for metrics that are times "
        "([how to](../howto/speed.md)).",
    },
    "ScoreSpec": {
        "how": '`"command"` runs a program of yours after the trial. `"stdout"` reads a number that the trial prints, '
        '`"file"` one that it writes. `"openevolve"`, `"shinka"` and `"coral"` call the evaluators of these '
        "systems. All but the first are self-reported.",
        "command": "Score program: it runs after the trial has ended, and its last line is a JSON object of numbers, "
        'or it prints the number of `pattern`. With `"openevolve"`, `"shinka"` or `"coral"` it is the evaluator.',
        "predict": "Command that runs the proposal's code and answers the score program (`MESH_PREDICTOR`). It runs in "
        'a second sandbox without private data. Only with `"command"`.',
        "pattern": 'Regular expression with one group around the number; the last match counts. With `"stdout"`, '
        '`"file"`, or `"command"`, whose program then prints no JSON.',
        "file": 'File that the trial writes, such as `"out/metrics.json"`, in its own folder. One that lies there '
        'before the trial is deleted and never counts. Only with `"file"`.',
        "key": 'Key of the number in a JSON file, such as `"test.f1"` or `"runs.-1.score"`; of a file with an object '
        "in each line the last one counts. The numbers beside it are kept too.",
        "column": "Column of the number in a CSV or TSV file with a header; the last row counts.",
        "row": "First cell of the row of a CSV file that counts instead of the last one.",
        "cascade": "Score that a proposal must reach to pass each stage of the evaluator (`stage1`, `stage2`, ...): a "
        "candidate of search that does not is screened out there. Empty: only `evaluate()` runs. Only with "
        '`"openevolve"`.',
        "deadline_s": "Seconds after which scoring is killed: CPU seconds of the score program on a CPU, so that a "
        "busy machine fails nobody; wall seconds on a GPU, and for an evaluator, which runs in the trial's place.",
        "predict_budget_s": "Seconds, of the trial's kind, that the process of `predict` may use; then the run is "
        "`over_budget`. 0 is `deadline_s`.",
        "stage": "Stages, cheap first, as tables `[[score.stage]]`. A candidate of search ends at the first one whose "
        "threshold it misses; the last one has none and gives the score. [Stages](../selection.md#stages). Only with "
        '`"command"` or `"stdout"`.',
    },
    "WorkerSpec": {
        "class_": 'Worker class that may run the arena, such as `cpu-x86_64` or `cuda-h200`, or `"any"`.',
        "tier": "Weakest sandbox tier that the arena accepts; A is the strongest.",
        "gpu_memory_gb": "GPU memory that a slot must have, in GB; it is also the limit of a trial.",
    },
    "KnobsSpec": {
        "literals": "Whether literals without a range are knobs: `true`, `false` (only those with a comment `mesh:` "
        'and constants in capitals), or `"auto"`: true unless a comment of an editable file gives a range.',
        "structural": "Whether explorers may rewrite code to get more knobs, such as an array as a table of numbers: "
        '`true`, `false`, or `"auto"`: where literals without a range are knobs, or where there is no knob.',
        "include": "Names of the only knobs; `*` stands for any text, `?` for one character. A name in full is a knob "
        "also if it is usually left out, such as the bound of a `range`.",
        "exclude": "Names that are not knobs, as patterns.",
        "bounds": "Ranges by name or pattern: `1e-4..1e-1 log`, `choices a b` or `fixed`.",
    },
    "EnvironmentSpec": {
        "python": "Interpreter of the task, or the folder of its environment (venv, conda, uv): an absolute path, one "
        "below `~`, one in the arena's folder, or the name of a program. Without it: the worker's own Python.",
        "requirements": "List of packages, a file of the arena, from which a worker builds the environment once: "
        "`requirements.txt`.",
        "lock": "The arena's `uv.lock`, from which a worker with uv builds the environment once.",
        "readable": "Folders and files that trials and the score program may read beside the system's, such as "
        "`~/.rustup`. Those below `~` are in the `HOME` of a trial by the same names.",
        "variables": "Names of environment variables of the worker that trials and the score program get too.",
        "keys": "Names of environment variables of the worker that the score program alone gets. Logs and facts have "
        "`***NAME***` in place of their values.",
        "network": '`"evaluator"` opens the network of the machine to the score program alone.',
    },
    **MEMBER_FIELDS,
    **COMMIT_FIELDS,
    **LIFE_FIELDS,
    **RUN_FIELDS,
    **RULE_FIELDS,
}


def meaning(struct: type, field: str) -> str:
    """Return the meaning of a field of a struct, "" if it has no sentence."""
    return FIELDS.get(struct.__name__, {}).get(field) or SHARED.get(field, "")

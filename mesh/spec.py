"""The specification of an arena: the contents of `arena.toml`, as the log stores them.

`mesh.arena` reads it from a file, and the fact `arena.opened` carries it. It only ever gains fields with defaults.
"""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mesh import bounds as b
from mesh.constraints import constraints_of
from mesh.stages import StageSpec

Direction = Literal["minimize", "maximize"]
_Gigabytes = Annotated[float, Meta(gt=0, le=1e9)]
_Command = Annotated[tuple[b.Text, ...], Meta(max_length=b.MAX_ITEMS)]
_Few = Meta(max_length=100)


class ObjectiveSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is measured. A value outside of `bounds` is a `bad_score`. With `noise = "none"` the metric is exact.

    With `"items"` it is a mean over items, which the score program writes to `MESH_ITEMS`. `also` are other numbers of
    a score that listings show. `constraints` say what numbers must be, such as `"<= 50"`.
    """

    metric: b.Word
    direction: Direction
    bounds: tuple[b.Number, b.Number] | None = None
    noise: Literal["measured", "none", "items"] = "measured"
    also: Annotated[tuple[b.Word, ...], Meta(max_length=20)] = ()
    constraints: Annotated[dict[b.Word, b.Word], _Few] = {}

    def gain(self, value: float, over: float = 0.0) -> float:
        """Return by how much `value` is better than `over`, in units of the metric; positive is better."""
        return gain(self.direction, value, over)

    def better(self, value: float, over: float) -> bool:
        """Tell whether `value` is better than `over`."""
        return self.gain(value, over) > 0


def gain(direction: Direction, value: float, over: float = 0.0) -> float:
    """Return by how much `value` is better than `over`, in units of the metric; positive is better."""
    return over - value if direction == "minimize" else value - over


class ArtifactSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The files that proposals change, those that no trial sees, and the command that makes the data at opening.

    `ignore` are patterns as in `.gitignore` of what does not belong to the arena, with `!` of what does all the same.
    `leave_out` is the older list, which stands for all that is left out without it. `prepared` are patterns of files
    that `prepare` writes beside itself and that trials find at the same place. `writes` are patterns of protected files
    that a trial may change in its own copy. `cache` are patterns of what its build makes and later trials begin with,
    such as `build/`.
    """

    editable: Annotated[tuple[b.Path, ...], Meta(max_length=b.MAX_ITEMS)]
    hidden: Annotated[tuple[b.Path, ...], Meta(max_length=b.MAX_ITEMS)] = ()
    leave_out: Annotated[tuple[b.Path, ...], Meta(max_length=b.MAX_ITEMS)] | None = None
    prepare: _Command = ()
    prepared: Annotated[tuple[b.Path, ...], Meta(max_length=b.MAX_ITEMS)] = ()
    prepare_hours: Annotated[float, Meta(ge=0, le=1000)] = 0.0
    writes: Annotated[tuple[b.Path, ...], Meta(max_length=b.MAX_ITEMS)] = ()
    cache: Annotated[tuple[b.Path, ...], _Few] = ()
    ignore: Annotated[tuple[b.Path, ...], Meta(max_length=b.MAX_ITEMS)] = ()


class DataSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The owner's data from which `artifact.prepare` makes the arena's data."""

    source: b.Path = ""
    leak_audit: Literal["refuse", "warn", "off"] = "refuse"


class TrialSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a trial runs. The worker ends it at `deadline_s` wall seconds, and when it has used more than its budget.

    The budget is `budget_s` x `budget_tolerance` + `startup_s`, in seconds of what `budget_counts` names. `command` is
    empty if the evaluator runs the program (`openevolve`, `shinka`, `coral`); such programs know of no budget.
    With `own_seeds = "vary"` proof runs have other seeds than those that a program gives itself.
    """

    command: _Command = ()
    budget_s: b.TimeLimit
    deadline_s: b.TimeLimit
    preload: Annotated[tuple[b.Word, ...], Meta(max_length=b.MAX_ITEMS)] = ()
    memory_gb: _Gigabytes = 4.0
    disk_gb: _Gigabytes = 4.0
    network: bool | Literal["loopback"] = False
    budget_counts: Literal["auto", "cpu", "wall", "gpu"] = "auto"
    budget_tolerance: Annotated[float, Meta(ge=1, le=100)] = 1.25
    startup_s: Annotated[float, Meta(ge=0, le=86_400)] = 10.0
    own_seeds: Literal["vary", "keep"] = "vary"
    exclusive: bool = False


class ScoreSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a finished trial is scored. Its seconds are CPU seconds on a CPU and wall seconds on a GPU.

    `command`: a protected program's last line is a JSON object of numbers, or it prints `pattern`; `predict` runs the
    proposal's code for it, without private data. `stdout` (`pattern`, one group), `file` (a JSON `key`, a CSV `column`
    of the last or a named `row`, or a `pattern`), `openevolve`, `shinka` and `coral` (evaluators) are self-reported.
    `stage` are cheaper scorings before the one that counts.
    """

    how: Literal["command", "stdout", "file", "openevolve", "shinka", "coral"]
    command: _Command = ()
    predict: _Command = ()
    pattern: b.Text = ""
    file: b.Path = ""
    key: b.Text = ""
    column: b.Word = ""
    row: b.Text = ""
    cascade: Annotated[tuple[b.Number, ...], _Few] = ()
    deadline_s: b.TimeLimit = 60.0
    predict_budget_s: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    stage: Annotated[tuple[StageSpec, ...], _Few] = ()


class KnobsSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which literals of the editable files are knobs.

    With `literals = "auto"` they are all that are worth a trial, unless a comment `mesh:` gives a range: then they are
    those with a range, and module-level constants in capitals. `include` keeps only the names that fit one of its
    patterns, such as `train.*`; `exclude` drops names. `bounds` gives ranges, such as
    `{"train.lr" = "1e-4..1e-1 log"}`. `structural` says whether explorers may rewrite code to get more knobs, such as
    an array as a table of numbers; with "auto" they do where literals are knobs, or where there is no knob.
    """

    literals: bool | Literal["auto"] = "auto"
    structural: bool | Literal["auto"] = "auto"
    include: Annotated[tuple[b.Word, ...], _Few] = ()
    exclude: Annotated[tuple[b.Word, ...], _Few] = ()
    bounds: Annotated[dict[b.Word, b.Word], _Few] = {}


class WorkerSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which workers may run the arena: a class (`cpu-x86_64`, `cuda-h200`) or `any`, and the weakest sandbox tier."""

    class_: b.Word = msgspec.field(default="any", name="class")
    tier: Literal["A", "B", "C", "D", "E"] = "E"
    gpu_memory_gb: Annotated[float, Meta(ge=0, le=1e9)] = 0.0


class EnvironmentSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The task's own Python and what else its processes may read.

    `python` is an interpreter or the folder of an environment, "" for the worker's own. From
    `requirements` or `lock`, files of the arena, a worker builds an environment with it. `readable` are folders and
    files beside the system's, such as `~/.rustup`; those below `~` are in the `HOME` of a trial by the same names.
    `variables` of the worker are passed on to all processes, `keys` to the score program alone. With
    `network = "evaluator"` the score program has the network of the machine.
    """

    python: b.Path = ""
    requirements: b.Path = ""
    lock: b.Path = ""
    readable: Annotated[tuple[b.Path, ...], _Few] = ()
    variables: Annotated[tuple[b.Word, ...], _Few] = ()
    keys: Annotated[tuple[b.Word, ...], _Few] = ()
    network: bool | Literal["evaluator"] = False


class JudgeSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The models that a score program may ask, through a proxy that has the key, meters, caps and caches the calls.

    The score program finds the address of the proxy, and a token in place of the key, where the usual clients look for
    them; it needs no network for that. `key` is the variable of the worker with the key. `usd` limits the dollars of
    the arena on each machine, `usd_per_run` and `calls_per_run` those of one run; a run that needs more has no score.
    """

    models: Annotated[tuple[b.Word, ...], _Few] = ()
    key: b.Word = ""
    upstream: b.Path = ""
    usd: b.Amount = 0.0
    usd_per_run: b.Amount = 0.0
    calls_per_run: b.Count = 0
    prices: Annotated[dict[b.Word, tuple[b.Amount, b.Amount]], _Few] = {}
    cache: Literal["deterministic", "all", "off"] = "deterministic"
    cache_mb: Annotated[float, Meta(ge=0, le=1e6)] = 256.0


class SelectionSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How scores become verdicts; `docs/selection.md` explains these numbers.

    `fdr` bounds the expected share of false promotions. Proof takes at most `proof_share` of the workers' time while
    search has runs. `halving` stops explore runs early by their learning curves,
    at the `rungs` (fractions of the budget): of `reduction` runs that reach a rung, one continues. A share of
    `never_killed` is spared. `sealed` scores champions on a split that no search has seen. `curve` is the direction of
    the curve, if it differs from the objective's.
    """

    baseline_seeds: Annotated[int, Meta(ge=2, le=50)] = 3
    confirm_seeds: Annotated[int, Meta(ge=2, le=100)] = 16
    fdr: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    sealed: Literal["off", "report", "gate"] = "off"
    sealed_looks: Annotated[int, Meta(ge=1, le=1000)] = 10
    proof_share: Annotated[float, Meta(gt=0, le=1)] = 0.4
    halving: bool = False
    curve: Literal["objective", "minimize", "maximize"] = "objective"
    reduction: Annotated[float, Meta(gt=1, le=10)] = 3.0
    rungs: Annotated[tuple[Annotated[float, Meta(gt=0, lt=1)], ...], _Few] = (0.25, 0.5)
    never_killed: Annotated[float, Meta(ge=0, le=1)] = 0.08


class StopSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the arena closes by itself; 0 is never. `plateau` counts scored explore runs since the last promotion."""

    plateau: b.Count = 0
    trials: b.Count = 0
    hours: b.Amount = 0.0
    usd: b.Amount = 0.0


class ArenaSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of `arena.toml`; `brief` is the operator's words about the task, read from their file at opening."""

    name: b.Word
    summary: b.Text = ""
    brief: b.Text = ""
    objective: ObjectiveSpec
    artifact: ArtifactSpec
    data: DataSpec = DataSpec()
    environment: EnvironmentSpec = EnvironmentSpec()
    judge: JudgeSpec = JudgeSpec()
    trial: TrialSpec
    score: ScoreSpec
    worker: WorkerSpec = WorkerSpec()
    knobs: KnobsSpec = KnobsSpec()
    selection: SelectionSpec = SelectionSpec()
    stop: StopSpec = StopSpec()


def as_set(spec: msgspec.Struct) -> dict[str, Any]:
    """Return a specification, or a table of it, without the fields that have their default.

    So it is written to the log: a reader of an earlier version refuses a field that it does not know, because it cannot
    do what the field asks for, and an arena that asks for nothing new stays open to it.
    """
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(spec):
        value = getattr(spec, field.name)
        has_factory = field.default_factory is not msgspec.NODEFAULT
        if field.required or value != (field.default_factory() if has_factory else field.default):
            is_table = isinstance(value, msgspec.Struct)
            found[field.encode_name] = as_set(value) if is_table else msgspec.to_builtins(value)
    return found


def unusable(spec: ArenaSpec) -> str:
    """Return why no worker can use a specification, "" if one can.

    `mesh.arena` checks more, with better sentences. This is what readers of the log rely on: a check that is added here
    would make older logs unreadable.
    """
    score, editable = spec.score, spec.artifact.editable
    try:
        constraints_of(spec.objective.constraints)
    except ValueError as error:
        return f"objective.constraints: {error}"
    for name in editable:
        if not name or name.startswith("/") or ".." in name.split("/") or "\0" in name:
            return f"artifact.editable has {name[:40]!r}, which is not a path inside of the arena"
    if not editable:
        return "artifact.editable is empty"
    if score.how in ("command", "stdout", "file") and not spec.trial.command:
        return "trial.command is empty"
    if score.how not in ("stdout", "file") and not score.command:
        return "score.command is empty"
    if score.how == "stdout":
        try:
            if re.compile(score.pattern).groups != 1:
                return "score.pattern needs one group"
        except (re.error, RecursionError, OverflowError) as error:
            return f"score.pattern is not a valid regular expression: {error}"
    return ""

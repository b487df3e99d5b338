"""Turns a run into requests to the supervisor: command, environment, sandbox and limits of its trial and its scorer."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from gpu_worker.budget import ScoreBudget, TrialBudget
from gpu_worker.environment import inherited
from gpu_worker.exclusive import pinned_cores
from gpu_worker.folders import TRIAL_WRITES
from gpu_worker.item_file import ITEM_FILE
from gpu_worker.judge.session import Session
from gpu_worker.limits import MAX_PROCESSES
from gpu_worker.machine import Slot
from gpu_worker.sandbox.tiers import Network, Sandbox, Tier
from gpu_worker.supervisor.protocol import NAMESPACES_AHEAD, SCRIPT_AHEAD, Launch, Limits, Request
from gpu_worker.task_environment import TaskEnvironment
from mesh.events import Lane, RunRequested
from mesh.foreign_tasks import REPOSITORY_OPTION
from mesh.plain_command import plain_command
from mesh.spec import ArenaSpec


class Site(msgspec.Struct, frozen=True):
    """Where a run is executed, and with what.

    Args:
        folder: the run's folder (`gpu_worker.folders`).
        data: folder of the arena's frozen data, with `public`, `private` and `hidden` in it.
        token: marks every process of the slot's supervisor.
        seed: the seed that the run's processes are told (`gpu_worker.seeds`).
        trials: how many candidates had a result before this run was requested.
        stage: the stage that the score program is told, and a trial of that stage alone; "" for none.
        environment: the interpreter of its processes, and what else they have of this machine.
        judge: what its scoring may ask of models; None for nothing.
        at: where its trial sees the artifact; "" for where it lies.
    """

    spec: ArenaSpec
    request: RunRequested
    folder: Path
    slot: Slot
    sandbox: Sandbox
    data: Path
    token: str
    seed: int
    trials: int = 0
    stage: str = ""
    environment: TaskEnvironment = TaskEnvironment()
    judge: Session | None = None
    at: str = ""

    @property
    def keys(self) -> dict[str, str]:
        """What the scoring alone has of variables: its keys, and where it finds the judge."""
        return self.environment.keys | (self.judge.variables if self.judge else {})

    @property
    def artifact(self) -> str:
        """The folder in which its trial sees the artifact."""
        return self.at or str(self.folder / "trial")

    def command(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return the command that a command line of the arena stands for."""
        return plain_command(words, self.environment.python)


SPLITS: dict[Lane, str] = {
    "explore": "search",
    "audit": "search",
    "confirm": "confirm",
    "control": "confirm",
    "sealed": "sealed",
}
"""The split of the data that the score program is told to use, by the lane of the run."""

_RUNNERS = {
    "openevolve": ("openevolve.py",),
    "shinka": ("shinka.py", "shinka_standin.py"),
    "coral": ("coral.py", "coral_standin.py", "openevolve.py"),
}


def trial_request(site: Site, budget: TrialBudget) -> Request:
    """Return how the trial runs, or in its place the evaluator of another system, which runs the program itself.

    It reads its files and the public data, and writes only its own folders. The supervisor does not count GPU time.
    """
    spec, request, run = site.spec, site.request, site.folder
    env = _environment(site)
    env |= {"MESH_BUDGET_S": f"{request.budget_s:g}", "MESH_REPORT": str(run / "report.jsonl")} | _stage(site)
    env |= {} if spec.trial.command else site.keys
    command = site.command(spec.trial.command) if spec.trial.command else _evaluation(site)
    launch = _sandboxed(
        site,
        Launch(command, env, site.artifact),
        read=[run / "trial", site.data / "public"],
        write=[run / name for name in TRIAL_WRITES],
        network=_network(spec) if spec.trial.command else _scorer_network(spec),
        asks=not spec.trial.command,
    )
    if launch.policy and site.artifact != str(run / "trial"):
        launch = replace(launch, policy=replace(launch.policy, twins=((str(run / "trial"), site.artifact),)))
    deadline_s = request.deadline_s if spec.trial.command else spec.score.deadline_s
    if budget.counts == "gpu":
        limits = _limits(spec, deadline_s)
    else:
        limits = _limits(spec, deadline_s, budget.limit_s, counts=budget.counts)
    return Request(launch, limits, watch=(str(run),))


def score_request(site: Site, budget: ScoreBudget) -> Request:
    """Return how the arena's score program runs: it reads the trial's output, and the private data that no trial sees.

    Where the arena has a predictor, the proposal's code runs beside it and answers it, with no more than a trial has.
    """
    spec, run = site.spec, site.folder
    scratch = _scratch(site.slot, run / "score-tmp")
    env = _environment(site) | scratch | {"MESH_PRIVATE": str(site.data / "private")}
    env |= {"MESH_SPLIT": SPLITS[site.request.lane], "MESH_TRIALS": str(site.trials)} | _stage(site)
    env |= site.keys
    env["MESH_ITEMS"] = str(run / "score-tmp" / ITEM_FILE)
    env |= {"MESH_PREDICTOR": "3,4"} if spec.score.predict else {}
    launch = _sandboxed(
        site,
        Launch(site.command(spec.score.command), env, str(run / "score")),
        read=[run / "score", run / "out", site.data],
        write=[run / "score-tmp"],
        network=_scorer_network(spec),
        scorer=True,
        asks=True,
    )
    deadline_s = budget.deadline_s if budget.counts == "cpu" else 0.0
    limits = _limits(spec, budget.wall_s, deadline_s, budget.predict_s, counts=budget.counts)
    return Request(launch, limits, watch=(str(run),), beside=_predictor(site) if spec.score.predict else None)


def runner(spec: ArenaSpec) -> dict[str, bytes]:
    """Return the files that run another system's evaluator, the program first; they are laid out with the trial.

    None for arenas of ours.
    """
    return {} if spec.trial.command else _runner_of(spec.score.how)


@cache
def _runner_of(how: str) -> dict[str, bytes]:
    return {f".mesh/{name}": (Path(__file__).parent / "runners" / name).read_bytes() for name in _RUNNERS[how]}


def supervisor_options(sandbox: Sandbox, spec: ArenaSpec | None = None) -> tuple[str, ...]:
    """Return the options of the supervisor of a slot with this sandbox."""
    network = "none" if spec is None else _network(spec) if spec.trial.command else _scorer_network(spec)
    uses_machine_network = network == "all"
    ahead = (NAMESPACES_AHEAD,) if sandbox.tier == "A" and not uses_machine_network else ()
    return ahead if spec is None else (*ahead, *(f"{SCRIPT_AHEAD}{name}" for name in [*runner(spec)][:1]))


def has_own_network(tier: Tier, spec: ArenaSpec) -> bool:
    """Tell whether the scoring of an arena has a network of its own in a tier, with nothing in it but the judge."""
    return tier == "A" and _scorer_network(spec) != "all"


USER = dict.fromkeys(("USER", "LOGNAME"), "mesh")
"""The name of a trial's user: its id may be in no table, and torch asks for the name when it compiles."""


def slot_environment(slot: Slot) -> dict[str, str]:
    """Return the variables that numeric libraries read when they are imported: number of threads, and the GPU."""
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MESH_THREADS")
    env = dict.fromkeys(threads, str(slot.threads)) | {"CUDA_VISIBLE_DEVICES": slot.cuda_index}
    if slot.cuda_index:
        env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # as nvidia-smi and NVML count
    if slot.gpu_share < 1:
        env["PYTORCH_CUDA_ALLOC_CONF"] = f"per_process_memory_fraction:{slot.gpu_share:.4f}"
    return env


def _environment(site: Site) -> dict[str, str]:
    """Return the environment that trial and scorer share."""
    run, slot = site.folder, site.slot
    env = USER | site.environment.variables | inherited() | slot_environment(slot) | {"PATH": site.environment.path}
    env |= _scratch(slot, run / "tmp") | {"PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"PYTHONNOUSERSITE": "1", "MESH_RUN_TOKEN": site.token}
    env |= {"MESH_SEED": str(site.seed), "MESH_DEVICE": slot.device, "MESH_DATA": str(site.data / "public")}
    return env | {"MESH_OUT": str(run / "out")}


def _scratch(slot: Slot, folder: Path) -> dict[str, str]:
    """Return the variables that name a process's own folder; compilers of GPU code write there wherever `HOME` leads.

    A command may set `HOME` to data that it reads, as those of autoresearch do.
    """
    env = {"HOME": str(folder), "TMPDIR": str(folder)}
    if slot.cuda_index:
        env |= {"TRITON_CACHE_DIR": str(folder / ".triton"), "CUDA_CACHE_PATH": str(folder / ".nv")}
    return env


def _stage(site: Site) -> dict[str, str]:
    return {"MESH_STAGE": site.stage} if site.stage else {}


def _evaluation(site: Site) -> tuple[str, ...]:
    """Return the command of another system's evaluator: our runner, the evaluator, the program.

    With the interpreter of the arena it is a script without options, which starts warm (`gpu_worker.supervisor.fork`).
    """
    spec, run = site.spec, site.folder
    program, results = f"{site.artifact}/{spec.artifact.editable[0]}", str(run / "out" / "results")
    (runner_file, *_), command = runner(spec), site.command(spec.score.command)
    if spec.score.how == "shinka":
        folders = [word.removeprefix(REPOSITORY_OPTION) for word in command if word.startswith(REPOSITORY_OPTION)]
        what = ("--repo_path", f"{site.artifact}/{folders[0]}") if folders else ("--program_path", program)
        command = tuple(word for word in command if not word.startswith(REPOSITORY_OPTION))
        return (site.environment.python, runner_file, results, *command, *what, "--results_dir", results)
    program = site.artifact if spec.score.how == "coral" else program
    words = (runner_file, command[1], program, *map(str, spec.score.cascade), *command[2:])
    return (command[0], *words) if command[0] == site.environment.python else (command[0], "-I", *words)


def _predictor(site: Site) -> Launch:
    """Return how the proposal's code runs that answers the scorer: it reads the trial's output, and writes scratch."""
    run = site.folder
    home = run / "predict-tmp"
    env = _environment(site) | _scratch(site.slot, home)
    launch = Launch(site.command(site.spec.score.predict), env, str(run / "predict"))
    made = _sandboxed(site, launch, read=[run / "predict", run / "out", site.data / "public"], write=[home])
    # A fork of what starts the score program has the keys in its memory; a program that is executed has not.
    return replace(made, warm=False) if site.keys else made


def _sandboxed(
    site: Site,
    launch: Launch,
    *,
    read: Sequence[Path],
    write: Sequence[Path],
    network: Network = "none",
    scorer: bool = False,
    asks: bool = False,
) -> Launch:
    door: tuple[str, ...] = ()
    if asks and site.judge:
        if has_own_network(site.sandbox.tier, site.spec):
            network, door = "loopback", (site.judge.door, site.judge.token, str(site.judge.port))
        else:
            network = "all"
    policy = site.sandbox.policy(
        [*read, *map(Path, site.environment.readable)],
        write,
        network=network,
        cuda=site.slot.device != "cpu",
        memory_mb=site.spec.trial.memory_gb * 1024,
        scorer=scorer,
        tmp=Path(launch.env["TMPDIR"]),
        door=door,
    )
    warm = bool(site.spec.trial.preload) or not site.spec.trial.command
    cores = pinned_cores(site.slot) if site.spec.trial.exclusive else ()
    return Launch(launch.command, launch.env, launch.cwd, policy, warm=warm, cores=cores)


def _limits(
    spec: ArenaSpec,
    deadline_s: float,
    budget_s: float = 0.0,
    beside_s: float = 0.0,
    *,
    counts: Literal["cpu", "wall"] = "cpu",
) -> Limits:
    memory_mb, disk_mb = spec.trial.memory_gb * 1024, spec.trial.disk_gb * 1024
    return Limits(deadline_s, memory_mb, disk_mb, MAX_PROCESSES, budget_s, beside_s, counts)


def _scorer_network(spec: ArenaSpec) -> Network:
    """Return the network of what scores: of an evaluator that runs in the trial's place, or of the score program."""
    if spec.environment.network == "evaluator":
        return "all"
    return "none" if spec.trial.command else _network(spec)


def _network(spec: ArenaSpec) -> Network:
    match spec.trial.network:
        case "loopback":
            return "loopback"
        case True:
            return "all"
        case False:
            return "none"

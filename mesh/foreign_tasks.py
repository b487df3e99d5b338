"""Tasks of other systems: recognises them by their files and writes an `arena.toml` for them. Pure text.

`mesh open` and `mesh up` put this `arena.toml` beside the task, where a person can read and change it. They change no
file of the task, and do not check what else it needs (packages, a GPU).
"""

import ast
import math
import re
from collections.abc import Callable, Collection, Iterable

import msgspec

from mesh.coral_task import CoralTask, read_coral
from mesh.foreign_config import TaskOptions, openevolve_options, shinka_options
from mesh.loop_reading import Loop, LoopWish, read_loop
from mesh.python_syntax import NO_PYTHON, parse_python
from mesh.task_imports import imported_modules
from mesh.task_toml import evaluated_toml, ignored_lines, string, toml_list

KNOWN = (
    "OpenEvolve (initial_program.* and evaluator.py), ShinkaEvolve (initial.* or seed_repo, and evaluate.py), "
    "CORAL (task.yaml with a grader), karpathy/autoresearch and its forks (program.md, prepare.py and train.py)"
)
EVALUATOR_OPTIONS = ("--features=", "--evaluator-args=")
"""What may follow an OpenEvolve evaluator in `score.command`: metrics that do not count in the mean, arguments."""
REPOSITORY_OPTION = "--repo_path="
"""What may follow a ShinkaEvolve evaluation in `score.command`: the folder that it scores in place of one program."""

_STEMS = ("initial_program", "init_program", "initial_prompt", "init_prompt", "initial_solution", "initial", "init")
_NO_PROGRAM = (".md", ".yaml", ".yml", ".toml", ".log", ".csv", ".tsv", ".pyc", ".ipynb", ".png", ".svg", ".lock")
_STARTS = re.compile(r"(run\w*|.*evo\w*)\.(py|ya?ml)|shinka[\w-]*\.ya?ml")
_MAX_EDITABLE = 500
_RATE_KEY = re.compile(r"""["'](\w*(?:speedup|speed_up|throughput|gflops)\w*)["']\s*:""")
"""What an evaluator that times programs gives back."""

_NO_OPTIONS = TaskOptions()
_EVALUATORS = ("evaluator.py", "evaluator/evaluator.py", "evaluate.py")
_DEFINES = re.compile(
    r"^\s*(?:async\s+)?def\s+evaluate(?:_stage1)?\b|^evaluate\s*=|import\b.*\bevaluate\b", re.MULTILINE
)
_SEEDS = re.compile(r"\b(?:manual_seed(?:_all)?|random\.seed|set_seed|seed_everything|default_rng)\(\s*\d+\s*\)")
_SCORE_KEY = re.compile(r"""["'](\w*(?:score|fitness|accuracy|reward)\w*)["']\s*:""")
_COMBINED = "combined_score"
_WHOLE = ("overall_score", "total_score", "final_score", "fitness", "score")
"""Names that evaluators without `combined_score` give the number that they mean, the clearest first."""

Read = Callable[[str], str]
"""Returns the text of a file by its name, "" where there is none."""


class Layout(msgspec.Struct, frozen=True):
    """The system that a folder belongs to, the text of an `arena.toml` for it, and sentences about what to know."""

    system: str
    toml: str
    notes: tuple[str, ...] = ()


class ForeignTask(msgspec.Struct, frozen=True):
    """A program and its evaluator, by their paths in the task's folder, with the configurations that may apply.

    `ignore` are patterns of files beside them that do not belong to the task. `editable` are the files of a program
    that is a whole folder; `program` is that folder then.
    """

    name: str
    program: str
    evaluator: str
    configs: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    editable: tuple[str, ...] = ()


def recognise(
    name: str,
    files: Collection[str],
    read: Read = lambda name: "",
    ignore: Iterable[str] = (),
    wish: LoopWish | None = None,
    machine_gb: float = math.inf,
) -> Layout | None:
    """Return the layout of a folder, None if it is none of `KNOWN`.

    Args:
        name: name of the folder, which becomes the name of the arena.
        files: names of the files in it.
        read: returns the text of one of them.
        ignore: patterns of files that do not belong to the task.
        wish: what the user says about the metric of an autoresearch loop.
        machine_gb: memory of this machine, more than which no trial is to have.

    Raises:
        ValueError: the configuration is not valid YAML, several files may be the program, or the files disagree about
            the metric.
    """
    if coral := read_coral(files, read, lambda folder: editable_in(folder, files)):
        return _coral(token_of(name), coral, files, read, tuple(ignore))
    configs = configurations(files)
    for evaluator in _EVALUATORS:
        if evaluator not in files:
            continue
        text = read(evaluator)
        is_shinka = evaluator == "evaluate.py" and ("results_dir" in text or not _DEFINES.search(text))
        if not is_shinka and text and not _DEFINES.search(text):
            continue
        if is_shinka and (repository := repository_of(files, read)):
            inside = editable_in(repository, files, _shinka(files, read))
            if not inside:
                raise ValueError(
                    f"{evaluator} scores a folder (--repo_path), and {repository} is none that has a program: name the "
                    "folder to start from as seed_repo, or as evo.seed_repo_path in shinka.yaml"
                )
            task = ForeignTask(name, repository, evaluator, (), tuple(ignore), inside)
            return layout_of(task, files, read)
        options = _shinka(files, read) if is_shinka else _options(configs, read)
        program = options.program if options.program in files else _program(files, read, options.suffix)
        if program:
            return layout_of(ForeignTask(name, program, evaluator, configs, tuple(ignore)), files, read)
    if loop := read_loop(files, read, wish):
        return _autoresearch(token_of(name), loop, read, tuple(ignore), machine_gb)
    return None


def layout_of(task: ForeignTask, files: Collection[str], read: Read) -> Layout:
    """Return the layout of a program and an evaluator that are known; the arguments and errors are as in `recognise`.

    An evaluator is ShinkaEvolve's if it takes a folder for its results; every other one is OpenEvolve's.
    """
    text = read(task.evaluator)
    modules = imported_modules((text, *map(read, task.editable or (task.program,))), files)
    defines = _DEFINES.search(text)
    if "results_dir" in text or ("argparse" in text and not defines) or (task.evaluator == "evaluate.py" and not text):
        return Layout("ShinkaEvolve", _toml(task, _shinka(files, read), modules, "shinka"))
    options = _options(task.configs, read)
    notes: tuple[str, ...] = ()
    if len(task.configs) > 1:
        notes = (f"read {task.configs[0]}, the first of {len(task.configs)} configurations: --config names another",)
    metric, told = _metric(task, text, options)
    notes += (told,) if told else ()
    if options.cascade and _is_scored_as_a_whole(text):
        notes += (
            f"the stages of {task.evaluator} give no {_COMBINED}: the score is the mean of all their numbers, as in "
            "OpenEvolve, be they times or counts; score.cascade = [] calls evaluate(), which gives one",
        )
    if rate := _RATE_KEY.search(text):
        notes += (
            f"{task.evaluator} measures a speed ({rate[1]}), which depends on what else runs: with exclusive = true in "
            "[trial], runs are measured one at a time",
        )
    return Layout("OpenEvolve", _toml(task, options, modules, "openevolve", metric), notes)


def _metric(task: ForeignTask, text: str, options: TaskOptions) -> tuple[str, str]:
    """Return the metric of an OpenEvolve task by its evaluator's text, and what to know of it.

    OpenEvolve ranks by the mean of all numbers where there is no `combined_score`: run times and counts would raise it.
    """
    if "combined_score" in text or not re.search(r"^\s*(?:async\s+)?def\s+evaluate\b", text, re.MULTILINE):
        return _COMBINED, ""
    names = [name for name in dict.fromkeys(_SCORE_KEY.findall(text)) if name not in options.features]
    mean = "the mean of all its numbers, as in OpenEvolve, be they times or counts"
    begun = f"{task.evaluator} names no {_COMBINED}: "
    if whole := next((name for name in _WHOLE if name in names), ""):
        return whole, f"{begun}{whole} is the score (objective.metric; {_COMBINED} is {mean})"
    which = f" ({', '.join(names[:5])})" if names else ""
    return _COMBINED, f"{begun}the score is {mean}; write the number that matters as objective.metric{which}"


def _is_scored_as_a_whole(text: str) -> bool:
    """Tell whether `evaluate` gives a combined score, and no stage of the cascade does, nor what it calls."""
    try:
        body = parse_python(text).body
    except NO_PYTHON:
        return False
    functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    stages = {name for name in functions if name.startswith("evaluate_stage")}
    words = {
        name: {getattr(each, "id", getattr(each, "value", None)) for each in ast.walk(node) if _is_word(each)}
        for name, node in functions.items()
    }
    telling = {name for name, said in words.items() if _COMBINED in said}
    while more := {name for name, said in words.items() if name not in telling and said & (telling - stages)}:
        telling |= more
    return bool(stages) and "evaluate" in telling and not stages & telling


def _is_word(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def repository_of(files: Collection[str], read: Read) -> str:
    """Return the folder that ShinkaEvolve starts from, "" if its evaluation scores one program and not a folder."""
    if "evaluate.py" not in files or not scores_a_folder(read("evaluate.py")):
        return ""
    return _shinka(files, read).repository or "seed_repo"


def scores_a_folder(text: str) -> bool:
    """Tell whether the text of a ShinkaEvolve evaluation takes a folder in place of a program."""
    return "repo_path" in text and "program_path" not in text


def editable_in(repository: str, files: Iterable[str], options: TaskOptions = _NO_OPTIONS) -> tuple[str, ...]:
    """Return the source files in the folder that ShinkaEvolve starts from that may change, by their paths."""
    found = []
    for name in sorted(files):
        inside = name.removeprefix(f"{repository}/")
        parts = inside.split("/")
        if inside == name or name.endswith(_NO_PROGRAM) or any(part.startswith((".", "__pycache__")) for part in parts):
            continue
        heads = {"/".join(parts[:end]) for end in range(1, len(parts) + 1)}
        if (not options.mutable or heads & set(options.mutable)) and not heads & set(options.immutable):
            found.append(name)
    return tuple(found[:_MAX_EDITABLE])


def configurations(files: Collection[str]) -> tuple[str, ...]:
    """Return the configurations of OpenEvolve among these files, the first of them in force."""
    for name in ("config.yaml", "config.yml"):
        if name in files:
            return (name,)
    return tuple(sorted(name for name in files if re.fullmatch(r"config[\w.-]*\.ya?ml", name)))


def token_of(name: str) -> str:
    """Return a name for an arena made of the name of a folder."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:64] or "task"


def _shinka(files: Iterable[str], read: Read) -> TaskOptions:
    return shinka_options((name, read(name)) for name in sorted(files) if _STARTS.fullmatch(name))


def _options(configs: tuple[str, ...], read: Read) -> TaskOptions:
    return openevolve_options(read(configs[0]), configs[0]) if configs else TaskOptions()


def _program(files: Collection[str], read: Read, suffix: str) -> str:
    """Return the program among the files, "" if there is none.

    A file that only names another file is a link that has become text: the file that it names is the program.

    Raises:
        ValueError: several files may be the program.
    """
    likely = sorted(name for name in files if "/" not in name and not name.endswith(_NO_PROGRAM))
    for stem in (*(rf"{stem}\.\w+" for stem in _STEMS), r"(?:initial|init)_[\w-]+\.\w+"):
        found = [_followed(name, files, read) for name in likely if re.fullmatch(stem, name)]
        found = [name for name in dict.fromkeys(found) if name]
        for wanted in (suffix, ".py"):
            if len(found) > 1 and wanted:
                found = [name for name in found if name.endswith(wanted)] or found
        if len(found) > 1:
            raise ValueError(
                f"{' and '.join(found[:4])} may each be the program: name it and its evaluator, as in "
                "`mesh up PROGRAM EVALUATOR`"
            )
        if found:
            return found[0]
    return ""


def _followed(name: str, files: Collection[str], read: Read) -> str:
    text = read(name).strip()
    if re.fullmatch(r"[\w./-]{1,200}\.\w{1,10}", text):
        target = text.removeprefix("./")
        return target if target in files else ""
    return name


def _toml(task: ForeignTask, options: TaskOptions, modules: tuple[str, ...], how: str, metric: str = _COMBINED) -> str:
    command = ["python", task.evaluator]
    if task.editable:
        command.append(REPOSITORY_OPTION + task.program)
    if how == "openevolve":
        command += [f"--features={','.join(options.features)}"] if options.features else []
        command += [f"--evaluator-args={options.arguments}"] if options.arguments else []
    cascade = "\n# Thresholds after evaluate_stage1, 2, ...; [] calls only evaluate()."
    cascade += f"\ncascade = {list(options.cascade)}"
    mean = f"# {_COMBINED}, if the evaluator returns none: the mean of the numbers that it returns.\n"
    is_openevolve = how == "openevolve"
    return evaluated_toml(
        token_of(task.name),
        "an OpenEvolve task" if is_openevolve else "a ShinkaEvolve task",
        options,
        objective=f'{mean if is_openevolve else ""}metric = {string(metric)}\ndirection = "maximize"',
        editable=task.editable or (task.program,),
        ignore=task.ignore,
        modules=modules,
        score=f'how = "{how}"\ncommand = {toml_list(command)}{cascade if is_openevolve else ""}',
    )


def _coral(name: str, task: CoralTask, files: Collection[str], read: Read, ignore: tuple[str, ...]) -> Layout:
    modules = imported_modules((read(task.grader), *map(read, task.editable)), files)
    text = evaluated_toml(
        name,
        "a CORAL task",
        TaskOptions(timeout_s=task.timeout_s, brief=task.brief),
        objective=f'metric = "score"\ndirection = "{task.direction}"',
        editable=task.editable,
        ignore=ignore,
        modules=tuple(module for module in modules if module != "coral"),
        score=f'how = "coral"\ncommand = {toml_list(task.command())}',
    )
    hidden = ", ".join(task.private)
    notes = (f"{hidden}: CORAL shows it to the grader alone; here the judged program can read it too",)
    return Layout("CORAL", text, notes if task.private else ())


def _autoresearch(name: str, loop: Loop, read: Read, ignore: tuple[str, ...], machine_gb: float) -> Layout:
    start = "import os, sys; os.environ['HOME'] = {home}; {more}os.execv(sys.executable, [sys.executable, {words}])"
    prepare_words, words = (", ".join(f"'{word}'" for word in each) for each in (loop.prepare, loop.command))
    prepare = start.format(home="os.environ['MESH_OUT'] + '/public'", more="", words=prepare_words)
    cache = "os.environ.setdefault('HF_HOME', os.environ['TMPDIR']); "
    run = start.format(home="os.environ['MESH_DATA']", more=cache, words=words)
    if not loop.prepare:
        run = f"import os, sys; os.execv(sys.executable, [sys.executable, {words}])"
    startup_s = 300 - 0.25 * min(loop.budget_s, 300.0)  # compiling and evaluating take about as long at any budget
    deadline_s = math.ceil(loop.budget_s * 1.25 + startup_s)
    notes = list(loop.reasons)
    for file in loop.editable:
        seeds = [number for number, line in enumerate(read(file).splitlines(), 1) if _SEEDS.search(line)]
        if seeds:
            notes.append(
                f"{file} sets its own seed in line {seeds[0]}, so runs on fresh seeds repeat each other: "
                "read the environment variable MESH_SEED there"
            )
    way = "Lower" if loop.direction == "minimize" else "Raise"
    data = f"""# What prepare.py keeps in ~/.cache, and what it writes beside itself, is frozen once for all workers.
# Words may follow 'prepare.py', such as '--num-shards', '4' for less data.
prepare = ["python", "-c", "{prepare}"]
prepared = ["**"]                   # of the files that it writes beside itself, those that trials find there
prepare_hours = 6.0
"""
    text = f"""# The mesh wrote this file for a checkout of karpathy/autoresearch; change what you like.
[arena]
name = "{name}"
summary = "{way} {loop.metric} in {loop.budget_s:g} seconds"
brief = "program.md"

[objective]
metric = {string(loop.metric)}
direction = "{loop.direction}"

[artifact]
editable = {toml_list(loop.editable)}             # everything else is protected
{data if loop.prepare else ""}{ignored_lines(ignore)}
[trial]                             # `uv run` is not needed: python is the one that runs the worker
command = ["python", "-c", "{run}"]
budget_s = {loop.budget_s:.1f}                    # TIME_BUDGET, which counts wall time after compiling
budget_counts = "wall"
startup_s = {startup_s:.1f}                   # to compile and to evaluate
deadline_s = {deadline_s:.1f}                  # the worker kills the whole process tree then
memory_gb = {max(1.0, min(32.0, machine_gb // 1)):.1f}
network = false                     # true lets a trial download kernels from a hub while it runs

[score]
how = "stdout"                      # the trial prints its score, so scores are marked as self-reported
pattern = '^{re.escape(loop.metric)}\\s*[:=]\\s*([^\\s,%]+)'
"""
    return Layout("karpathy/autoresearch", text, tuple(notes))

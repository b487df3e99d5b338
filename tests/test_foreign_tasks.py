"""Tasks of other systems: recognised, described in an arena.toml, and run for real by a worker to a score."""

import datetime as dt
import shutil
import tomllib
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest

from gpu_worker.worker import run_worker
from mesh import arena
from mesh.code import CodeStore
from mesh.errors import BadArena
from mesh.events import Failed, RunFinished, RunRequested, Scored, ScreenedOut
from mesh.foreign_folder import describe
from mesh.foreign_tasks import recognise
from mesh.knobs import find_knobs
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from mesh.wire import Post

TASKS = Path(__file__).parent / "tasks"


def task(name: str, tmp_path: Path, *changes: tuple[str, str, str]) -> Path:
    """A copy of a task, with text replaced in its files."""
    folder = tmp_path / name
    shutil.copytree(TASKS / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file, old, new in changes:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new))
    return folder


def text_of(config: str) -> Callable[[str], str]:
    """Read a folder in which only the configuration has a text."""
    return lambda name: config if name == "config.yaml" else ""


async def run(folder: Path, tmp_path: Path, *, proof: bool = False, **proposed: str) -> RunFinished:
    """Open a task and run a proposal of it, by a worker, in processes of their own."""
    [done] = await run_all(folder, tmp_path, 1, proof=proof, **proposed)
    return done


def in_block(base: str, text: str) -> bytes:
    """The text where the base has its evolve block; what is around the block is protected."""
    start, end = "# EVOLVE-BLOCK-START\n", "# EVOLVE-BLOCK-END"
    if start not in base or start in text:
        return text.encode()
    return f"{base.partition(start)[0]}{start}{text}\n{end}{base.partition(end)[2]}".encode()


async def run_all(
    folder: Path, tmp_path: Path, count: int, *, proof: bool = False, **proposed: str
) -> list[RunFinished]:
    """Open a task and run a proposal of it so many times, by one slot of a worker."""
    home = tmp_path / "home"
    describe(folder)
    bus, opened = await open_arena(MemoryHub(), folder, home=home)
    code = CodeStore(tmp_path / "author.git", bus)
    files = await code.files(opened.base_commit)
    files |= {f"{name}.py": in_block(files.get(f"{name}.py", b"").decode(), text) for name, text in proposed.items()}
    at = dt.datetime.now(dt.UTC)
    made = code.commit(files, parents=[opened.base_commit], message="m", author="ann", at=at)
    await code.push(made.commit, base=opened.base_commit)
    trial = opened.spec.trial
    for number in range(count):
        asked = RunRequested(
            run=f"r{number}",
            lane="confirm" if proof else "explore",
            proposal=made.tree,
            commit=made.commit,
            seed=1 + number,
            budget_s=trial.budget_s,
            deadline_s=trial.deadline_s,
        )
        await bus.post(Post.new("ann", asked))
    ended: list[RunFinished] = []
    with anyio.fail_after(200):
        async with anyio.create_task_group() as tasks:

            async def work() -> None:
                await run_worker(bus, name="w", slots=1, device="cpu", home=home)

            tasks.start_soon(work)
            async with aclosing(bus.read(follow=True)) as batches:
                async for batch in batches:
                    events = [entry.post.event for entry in batch if entry.post]
                    ended += [event for event in events if isinstance(event, RunFinished)]
                    if len(ended) == count:
                        tasks.cancel_scope.cancel()
                        return ended
    raise AssertionError("the log ended")


async def failure(folder: Path, tmp_path: Path, **proposed: str) -> tuple[str, str]:
    outcome = (await run(folder, tmp_path, proof=False, **proposed)).outcome
    assert isinstance(outcome, Failed), outcome
    return outcome.reason, outcome.message


@pytest.mark.parametrize(
    ("files", "system"),
    [
        (["initial_program.py", "evaluator.py"], "OpenEvolve"),
        (["initial_program.rs", "evaluator.py", "config.yaml", "requirements.txt"], "OpenEvolve"),
        (["initial.py", "evaluate.py", "run_evo.py"], "ShinkaEvolve"),
        (["program.md", "prepare.py", "train.py", "uv.lock"], "karpathy/autoresearch"),
        (["train.py", "prepare.py"], None),
        (["evaluate.py"], None),
        ([], None),
    ],
)
def test_a_task_is_recognised_by_its_files(files: list[str], system: str | None) -> None:
    found = recognise("a task", files)
    assert (found.system if found else None) == system
    if found:
        spec = arena.parse_arena(tomllib.loads(found.toml), "arena.toml")
        assert spec.name == "a-task"
        assert spec.artifact.editable[0] in files


@pytest.mark.parametrize(
    ("config", "timeout_s", "cascade"),
    [
        ("", 300, (0.5, 0.75, 0.9)),
        ("evaluator:\n", 300, (0.5, 0.75, 0.9)),
        ("evaluator: {timeout: 60, cascade_thresholds: [0.2]}", 60, (0.2,)),
        ("evaluator:\n  cascade_evaluation: false\n  timeout: soon\n", 300, ()),
        ("evaluator: {timeout: .inf, cascade_thresholds: [.nan, x, 1]}", 300, (1,)),
        ("- no\n- mapping", 300, (0.5, 0.75, 0.9)),
    ],
)
def test_of_the_configuration_of_openevolve_what_decides_a_score_is_kept(
    config: str, timeout_s: float, cascade: tuple[float, ...]
) -> None:
    found = recognise("t", ["initial_program.py", "evaluator.py", "config.yaml"], text_of(config))
    assert found is not None
    spec = arena.parse_arena(tomllib.loads(found.toml), "arena.toml")
    assert (spec.score.deadline_s, spec.score.cascade) == (timeout_s, cascade)


def test_a_configuration_that_cannot_be_read_is_refused_in_one_sentence(tmp_path: Path) -> None:
    folder = task("openevolve", tmp_path, ("config.yaml", "evaluator:", "evaluator: ["))
    with pytest.raises(BadArena, match=r"^\S+: config.yaml is not valid YAML: [^\n]+$"):
        describe(folder)


@pytest.mark.parametrize("name", ["openevolve", "shinka", "autoresearch"])
def test_a_task_is_described_once_and_the_description_is_a_good_arena(name: str, tmp_path: Path) -> None:
    folder = task(name, tmp_path)
    said = describe(folder)
    assert f": wrote {folder / 'arena.toml'}, in which you can change its budget and other limits" in said
    spec = arena.load_arena(folder)
    assert spec.name.endswith(name)
    assert find_knobs(spec.artifact.editable[0], (folder / spec.artifact.editable[0]).read_text())
    assert describe(folder) == ""


def test_an_evaluator_that_measures_a_speed_is_told_how_runs_are_measured_alone(tmp_path: Path) -> None:
    assert "speed" not in describe(task("openevolve", tmp_path / "a"))
    folder = task("openevolve", tmp_path / "b")
    (folder / "evaluator.py").write_text(
        "def evaluate(path):\n    return {'combined_score': 1.0, 'speedup_score': 2.0}\n"
    )
    said = describe(folder)
    assert (
        "evaluator.py measures a speed (speedup_score), which depends on what else runs: with exclusive = true" in said
    )
    text = (folder / "arena.toml").read_text()
    (folder / "arena.toml").write_text(text.replace("network = false", "network = false\nexclusive = true"))
    assert arena.load_arena(folder).trial.exclusive


def test_what_is_not_recognised_or_not_there_is_left_alone(tmp_path: Path) -> None:
    assert describe(tmp_path) == ""
    assert describe(tmp_path / "nowhere") == ""
    assert list(tmp_path.iterdir()) == []


async def test_an_openevolve_task_runs_through_both_stages_to_a_score(tmp_path: Path) -> None:
    done = await run(task("openevolve", tmp_path), tmp_path)
    assert isinstance(done.outcome, Scored), done.outcome
    metrics = done.outcome.metrics
    assert metrics.keys() == {"easy", "hard", "cascade_stage", "combined_score"}
    assert metrics["cascade_stage"] == 2
    assert done.outcome.value == pytest.approx((metrics["easy"] + metrics["hard"]) / 2)
    assert done.outcome.self_reported
    assert "stage: second" in done.log_tail
    assert done.trial_s > 0


async def test_a_program_below_the_threshold_of_a_cascade_is_screened_out_at_that_stage(tmp_path: Path) -> None:
    folder = task("openevolve", tmp_path)
    worse = (TASKS / "openevolve" / "initial_program.py").read_text().replace("return guess", "return -guess")
    done = await run(folder, tmp_path, initial_program=worse)
    assert isinstance(done.outcome, ScreenedOut), done.outcome
    value = done.outcome.metrics["easy"]
    threshold = arena.load_arena(folder).score.cascade[0]
    text = f"stopped at stage stage1: combined_score is {value:g}, but must be at least {threshold:g}"
    assert (done.outcome.message, done.outcome.value, done.outcome.left) == (text, value, 1)
    assert done.outcome.self_reported
    assert [(end.stage, end.value) for end in done.stages] == [("stage1", value)]


async def test_no_threshold_of_a_cascade_ends_the_baseline_or_a_run_of_proof(tmp_path: Path) -> None:
    worse = (TASKS / "openevolve" / "initial_program.py").read_text().replace("return guess", "return -guess")
    for proof in (False, True):
        folder = task("openevolve", tmp_path / str(proof))
        if not proof:
            (folder / "initial_program.py").write_text(worse)
        done = await run(folder, tmp_path / str(proof), proof=proof, initial_program=worse)
        assert isinstance(done.outcome, Scored), done.outcome
        assert [end.stage for end in done.stages] == ["stage1", "stage2"]
        assert done.outcome.value < 0.4


async def test_without_a_cascade_the_evaluator_is_called_once_and_its_combined_score_counts(tmp_path: Path) -> None:
    folder = task("openevolve", tmp_path, ("config.yaml", "cascade_evaluation: true", "cascade_evaluation: false"))
    done = await run(folder, tmp_path)
    assert isinstance(done.outcome, Scored), done.outcome
    assert done.outcome.metrics == {"combined_score": done.outcome.value, "steps": 1}
    assert done.outcome.value < 1


async def test_numbers_may_lie_one_level_deeper_as_in_many_public_evaluators(tmp_path: Path) -> None:
    flat = 'return {"combined_score": nearness(path, ROOTS), "steps": 1, "passed": True, "note": "all"}'
    deep = 'return {"metrics": {"combined_score": nearness(path, ROOTS)}, "artifacts": {"note": "all"}}'
    off = ("config.yaml", "cascade_evaluation: true", "cascade_evaluation: false")
    done = await run(task("openevolve", tmp_path, off, ("evaluator.py", flat, deep)), tmp_path)
    assert isinstance(done.outcome, Scored), done.outcome
    assert done.outcome.metrics == {"combined_score": done.outcome.value}


@pytest.mark.parametrize(
    ("program", "reason", "words"),
    [
        ("def root(x): raise ValueError('no root')", "no_score", "ValueError: no root"),
        ("import sys; sys.exit(0)", "no_score", "SystemExit: 0"),
        ("import os; os._exit(0)", "no_score", "the evaluation ended without a result: it printed no error"),
        ("import os; os._exit(3)", "crash", "the evaluation ended with exit code 3"),
        ("def root(x): return float('nan')", "bad_score", "combined_score is not a finite number"),
        ("import time; time.sleep(60)", "timeout", "the evaluation exceeded its 2 s deadline"),
        ("def root(x: return", "no_score", "SyntaxError"),
    ],
)
async def test_a_program_that_breaks_its_evaluation_fails_in_one_sentence(
    program: str, reason: str, words: str, tmp_path: Path
) -> None:
    folder = task(
        "openevolve", tmp_path, ("config.yaml", "timeout: 40", "timeout: 2" if "sleep" in program else "timeout: 40")
    )
    found, message = await failure(folder, tmp_path, initial_program=program)
    assert (found, words in message) == (reason, True), message


async def test_the_evaluator_never_comes_from_the_proposal(tmp_path: Path) -> None:
    lie = "def evaluate(path):\n    return {'combined_score': 1000}\nevaluate_stage1 = evaluate_stage2 = evaluate\n"
    done = await run(task("openevolve", tmp_path), tmp_path, evaluator=lie, known="ROOTS = [(1, 1)]", json=lie)
    assert isinstance(done.outcome, Scored)
    assert done.outcome.metrics.keys() == {"easy", "hard", "cascade_stage", "combined_score"}


async def test_a_shinka_task_runs_to_a_score(tmp_path: Path) -> None:
    done = await run(task("shinka", tmp_path), tmp_path)
    metrics = {"combined_score": pytest.approx(0.6), "public.widths": 3, "private.largest": 0.2}
    assert isinstance(done.outcome, Scored), done.outcome
    assert done.outcome.metrics == metrics
    assert done.outcome.value == pytest.approx(0.6)
    assert done.outcome.self_reported
    assert "done" in done.log_tail


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("def pack(seed): return [0.9, 0.9]", "the program is not correct: the widths come to 1.80, more than 1"),
        ("def pack(seed): raise ValueError('full')", "exit code 1 and no result"),
        (
            "import os; os.mkfifo(os.environ['MESH_OUT'] + '/results/correct.json'); os._exit(0)",
            "is not a file of at most",
        ),
    ],
)
async def test_a_program_that_is_not_correct_has_no_score(program: str, words: str, tmp_path: Path) -> None:
    reason, message = await failure(task("shinka", tmp_path), tmp_path, initial=program)
    assert (reason, words in message) == ("no_score", True), message


async def test_a_checkout_of_autoresearch_runs_as_it_is(tmp_path: Path) -> None:
    done = await run(task("autoresearch", tmp_path), tmp_path)
    printed = {"val_bpb": 0.92, "training_seconds": 1.0}
    assert done.outcome == Scored(value=0.92, metrics=printed, self_reported=True), done.log_tail

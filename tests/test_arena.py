"""Arenas on disk: a bad one is refused in one sentence that names the cure, and what decides a score has one hash."""

import re
from pathlib import Path
from typing import Any

import anyio
import msgspec
import psutil
import pytest

from mesh import arena, arena_files
from mesh.code import CodeStore
from mesh.errors import BadArena, MeshError
from mesh.events import ArenaClosed, ArenaOpened
from mesh.file_trees import delete
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from mesh.spec import ArenaSpec, ArtifactSpec, KnobsSpec, ObjectiveSpec, ScoreSpec, TrialSpec
from mesh.stated_costs import BY_RESERVE
from mesh.wire import Post
from tests.support.arenas import ARENA, write
from tests.test_file_trees import nest

TOML = (
    ARENA.replace("half a second of sleep, then a parabola", "A tiny arena")
    .replace('"minimize"', '"minimize"\nbounds = [0.0, 10.0]')
    .replace('["train.py"]', '["train.py"]\nprepare = ["python", "prepare.py"]')
    .replace("deadline_s = 30.0", "deadline_s = 2.0")
)
PREPARE = "import os\nos.makedirs(os.environ['MESH_OUT'] + '/public')\n"
PREPARE += "open(os.environ['MESH_OUT'] + '/public/x', 'w').write('1')\nprint('made', os.environ.get('SECRET'))\n"
FILES = {
    "arena.toml": TOML,
    "train.py": "LR = 1\n",
    "score.py": "print({})\n",
    "prepare.py": PREPARE,
    "README.md": "# Tiny\n",
}
SPEC = ArenaSpec(
    name="tiny",
    summary="A tiny arena",
    objective=ObjectiveSpec(metric="loss", direction="minimize", bounds=(0.0, 10.0)),
    artifact=ArtifactSpec(editable=("train.py",), prepare=("python", "prepare.py")),
    trial=TrialSpec(command=("python", "train.py"), budget_s=1.0, deadline_s=2.0),
    score=ScoreSpec(how="command", command=("python", "score.py")),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "tiny", FILES)


def refused(folder: Path) -> str:
    """The one sentence with which the arena is refused, without the place it names."""
    with pytest.raises(BadArena) as found:
        arena.load_arena(folder)
    sentence = str(found.value)
    assert isinstance(found.value, MeshError)
    assert "\n" not in sentence
    assert sentence.startswith(str(folder / "arena.toml"))
    assert found.value.__suppress_context__ or found.value.__context__ is None
    return sentence.removeprefix(str(folder / "arena.toml")).removeprefix(": ").replace(str(folder), "FOLDER")


def test_a_good_arena_is_read_as_it_is_written(folder: Path) -> None:
    assert arena.load_arena(folder) == SPEC


@pytest.mark.parametrize("name", ["digits", "nanolm"])
def test_the_arenas_that_come_with_the_mesh_are_good(name: str) -> None:
    home = Path(__file__).parents[1] / "arenas" / name
    spec = arena.load_arena(home)
    assert spec.name == name
    assert set(spec.artifact.editable) < set(arena_files.read_files(home))


def test_a_folder_without_an_arena_is_refused(tmp_path: Path) -> None:
    sentence = (
        " does not exist: an arena is a folder with an arena.toml: `mesh init FOLDER` writes it "
        "(`mesh up digits` runs one); "
        "the mesh also reads tasks of OpenEvolve (initial_program.* and evaluator.py), "
        "ShinkaEvolve (initial.* or seed_repo, and evaluate.py), "
        "CORAL (task.yaml with a grader), karpathy/autoresearch and its forks (program.md, prepare.py and train.py)"
    )
    assert refused(tmp_path / "nowhere") == sentence
    assert refused(tmp_path) == sentence
    (tmp_path / "arena.toml").mkdir()
    assert refused(tmp_path) == sentence


def test_a_file_that_is_no_toml_is_refused(folder: Path) -> None:
    write(folder, {"arena.toml": "[arena\n"})
    assert refused(folder).startswith(" is not valid TOML: ")
    (folder / "arena.toml").write_bytes(b"\xff\xfe")
    assert refused(folder).startswith(" is not valid TOML: ")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[trial]", "[trail]", "unknown table or key 'trail'; use [arena], [objective], [artifact], [knobs], [data], "
                               "[environment], [judge], [trial], [score], [worker], [selection], [stop]"),
        ("\n[arena]", "seed = 1\n[arena]", "unknown table or key 'seed'; use [arena], [objective], [artifact], "
                                           "[knobs], [data], [environment], [judge], [trial], [score], [worker], "
                                           "[selection], [stop]"),
        ("budget_s", "bugdet_s", "unknown key 'bugdet_s' in [trial]; use command, budget_s, deadline_s, preload, "
                                 "memory_gb, disk_gb, network, budget_counts, budget_tolerance, startup_s, "
                                 "own_seeds, exclusive"),
        ("[artifact]", "[artifact]\ncache = ['build/', '*.py']",
         "artifact.cache matches 'train.py', a file of the arena: name only what the build makes, as `build/`"),
        ("[artifact]", "[artifact]\ncache = ['../build']",
         "artifact.cache: '../build' must be a relative path or pattern inside the arena"),
        ("summary", "sumary", "unknown key 'sumary' in [arena]; use name, summary, brief"),
        ('how = "command"\ncommand = ["python", "score.py"]\n', "[worker]\nclass_ = 'any'\n",
         "unknown key 'class_' in [worker]; use class, tier, gpu_memory_gb"),
        ('[arena]\nname = "tiny"\nsummary = "A tiny arena"', "arena = 'tiny'",
         "'arena' must be a table: write its keys under [arena]"),
        ('[objective]\nmetric = "loss"\ndirection = "minimize"\nbounds = [0.0, 10.0]', "",
         "table [objective] is missing; its keys are metric, direction, bounds, noise, also, constraints"),
        ('name = "tiny"', "", "arena: Object missing required field `name`"),
        ("budget_s = 1.0", "", "trial: Object missing required field `budget_s`"),
        ('"tiny"', "3", "arena.name: Expected `str`, got `int`"),
        ('"tiny"', '"a b"', "arena.name is 'a b'; use 1 to 128 letters, digits, '_' and '-'"),
        ('["python", "train.py"]', '"python train.py"', "trial.command: Expected `array`, got `str`"),
        ('["python", "train.py"]', "[]",
         'trial.command is empty: write the command that starts a trial, such as ["python", "train.py"]'),
        ("budget_s = 1.0", "budget_s = 'soon'", "trial.budget_s: Expected `float`, got `str`"),
        ("budget_s = 1.0", "budget_s = true", "trial.budget_s: Expected `float`, got `bool`"),
        ("budget_s = 1.0", "budget_s = -1", "trial.budget_s: Expected `float` > 0.0"),
        ("budget_s = 1.0", "budget_s = nan", "trial.budget_s: Expected `float` > 0.0"),
        ("deadline_s = 2.0", "deadline_s = inf", "trial.deadline_s: Expected `float` <= 1000000000.0"),
        ("deadline_s = 2.0", "deadline_s = 0.5", "trial.deadline_s (0.5) is below trial.budget_s (1)"),
        ('"minimize"', '"down"', "objective.direction: Invalid enum value 'down'"),
        ("[0.0, 10.0]", "[10.0, 0.0]", "objective.bounds is [10.0, 0.0]: use two numbers, the lower one first"),
        ("[0.0, 10.0]", "[0.0, inf]", "objective.bounds[1]: Expected `float` <= 1e+100"),
        ("[0.0, 10.0]", "[0.0]", "objective.bounds: Expected `array` of length 2, got 1"),
        ('["train.py"]', "[]", "artifact.editable is empty: list at least one file that proposals may change"),
        ('["train.py"]', '["gone.py"]', "artifact.editable: 'gone.py' does not exist in FOLDER"),
        *(
            ('["train.py"]', f'["{name}"]',
             f"artifact.editable: '{name}' must be a relative path inside the arena, and not arena.toml")
            for name in ("../train.py", "lib/../train.py", "/etc/passwd", "arena.toml", "")
        ),
        ('["train.py"]', '["./train.py"]', "artifact.editable: write './train.py' as 'train.py'"),
        ('["python", "score.py"]', "[]",
         'score.command is missing: score.how = "command" needs the program that scores a finished trial'),
        ('"score.py"', '"train.py"',
         "score.command runs 'train.py', which proposals may change: score with a file that is not editable"),
        ('"score.py"', '"gone.py"', "score.command: 'gone.py' does not exist in FOLDER"),
        ('["python", "train.py"]', '["no-such-program"]',
         "trial.command: command 'no-such-program' was not found on this machine"),
        ('["python", "train.py"]', '["./run.sh"]',
         "trial.command: './run.sh' cannot be executed directly: write its interpreter before it"),
        ('how = "command"', "how = 'stdout'\npattern = '('",
         "score.pattern is not a valid regular expression: missing ), unterminated subpattern at position 0"),
        ('how = "command"', "how = 'stdout'", "score.pattern has 0 groups: it needs exactly one, around the number"),
        ('how = "command"', "how = 'oracle'", "score.how: Invalid enum value 'oracle'"),
    ],
)  # fmt: skip
def test_a_bad_arena_is_refused_in_one_sentence(folder: Path, old: str, new: str, sentence: str) -> None:
    assert TOML.count(old) == 1
    write(folder, {"arena.toml": TOML.replace(old, new)})
    assert refused(folder) == sentence


def test_an_editable_file_must_be_the_arenas_own(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", {"train.py": ""})
    (folder / "link.py").symlink_to(tmp_path / "elsewhere" / "train.py")
    (folder / "lib").symlink_to(tmp_path / "elsewhere")
    write(folder, {"out/train.py": ""})
    for name in ("link.py", "lib/train.py"):
        write(folder, {"arena.toml": TOML.replace('["train.py"]', f'["{name}"]')})
        assert refused(folder) == f"artifact.editable: the path '{name}' contains a link: copy the file instead"
    write(folder, {"arena.toml": TOML.replace('["train.py"]', '["out/train.py"]')})
    sentence = (
        "artifact.editable: 'out/train.py' is in 'out', which is made anew: "
        'move the file, or write "!out/" into artifact.ignore'
    )
    assert refused(folder) == sentence


def test_caches_and_what_is_too_large_are_no_part_of_an_artifact(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, {"__pycache__/x.pyc": "", ".git/config": "", "out/x": "", "lib/a.py": "", "lib/b.pyc": ""})
    assert arena_files.read_files(folder) == {name: text.encode() for name, text in FILES.items()} | {"lib/a.py": b""}
    monkeypatch.setattr(arena_files, "MAX_FILE_BYTES", 100)
    with pytest.raises(
        BadArena,
        match=r"^.* has \d+ bytes, but a file of an arena may have 100: if .* name it in artifact.ignore or .meshignore"
        r"; if it does, keep it out of the artifact and let source = .* under \[data\] give it to artifact.prepare",
    ):
        arena_files.read_files(folder)


def hashed(files: dict[str, str], spec: ArenaSpec = SPEC) -> str:
    return arena.evaluator_hash(spec, {name: text.encode() for name, text in files.items()})


def spec_with(section: str, **changes: Any) -> ArenaSpec:
    part = msgspec.structs.replace(getattr(SPEC, section), **changes)
    return msgspec.structs.replace(SPEC, **{section: part})


@pytest.mark.parametrize(
    ("files", "spec"),
    [
        (FILES | {"score.py": "print({ })\n"}, SPEC),
        (FILES | {"prepare.py": "pass\n"}, SPEC),
        (FILES | {"new.py": ""}, SPEC),
        ({name: text for name, text in FILES.items() if name != "prepare.py"}, SPEC),
        (FILES | {"score.py": FILES["prepare.py"], "prepare.py": FILES["score.py"]}, SPEC),
        (FILES, spec_with("score", command=("python", "score.py", "--strict"))),
        (FILES, spec_with("score", deadline_s=61.0)),
        (FILES, spec_with("objective", bounds=(0.0, 11.0))),
        (FILES, spec_with("trial", budget_s=1.5)),
        (FILES, spec_with("artifact", editable=("train.py", "score.py"))),
    ],
)
def test_the_evaluator_is_another_when_what_decides_a_score_changes(files: dict[str, str], spec: ArenaSpec) -> None:
    assert hashed(files, spec) != hashed(FILES)


@pytest.mark.parametrize(
    ("files", "spec"),
    [
        (FILES | {"train.py": "LR = 2\n"}, SPEC),
        (FILES | {"README.md": "# Other words\n"}, SPEC),
        (FILES | {"arena.toml": TOML + "# a comment\n"}, SPEC),
        (FILES, msgspec.structs.replace(SPEC, summary="Other words")),
        (FILES, msgspec.structs.replace(SPEC, knobs=KnobsSpec(exclude=("LR",)))),
        (dict(reversed(FILES.items())), SPEC),
    ],
)
def test_the_evaluator_is_the_same_when_only_proposals_and_words_change(files: dict[str, str], spec: ArenaSpec) -> None:
    assert hashed(files, spec) == hashed(FILES)


def test_a_proposal_runs_with_the_protected_files_of_the_arena() -> None:
    base = {"train.py": b"1", "score.py": b"1", "lib.py": b"1"}
    assert arena.overlay(SPEC, base, {"train.py": b"2", "score.py": b"2", "sitecustomize.py": b"2"}) == {
        "train.py": b"2",
        "score.py": b"1",
        "lib.py": b"1",
    }
    assert arena.overlay(SPEC, base, {}) == {"score.py": b"1", "lib.py": b"1"}


def test_a_folder_that_is_nested_too_deep_is_refused_in_a_sentence(folder: Path) -> None:
    (folder / "data").mkdir()
    artifact = arena.load_arena(folder).artifact
    nest(folder / "data", 140)
    before = arena_files.read_files(folder, artifact)  # what is no part of the artifact is not entered
    nest(folder, 140)
    with pytest.raises(BadArena, match=r"deeper than 128: nest them less, or name the folder in artifact.ignore$"):
        arena_files.read_files(folder, artifact)
    delete(folder / "d")
    assert arena_files.read_files(folder, artifact) == before


async def test_an_arena_opens_once_and_again_when_it_changed_or_was_closed(
    folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "s")
    hub = MemoryHub()
    bus, first = await open_arena(hub, folder, home=home)
    files = arena_files.read_files(folder)
    assert first == ArenaOpened(
        version=1,
        spec=SPEC,
        base_commit=first.base_commit,
        base_tree=CodeStore(home / "x.git", bus).tree_of(files),
        evaluator=arena.evaluator_hash(SPEC, files),
        data=first.data,
        rules=BY_RESERVE,
    )
    assert await CodeStore(home / "y.git", bus).files(first.base_commit) == files
    assert (await open_arena(hub, folder, home=home))[1] == first
    assert await bus.head() == 1
    write(folder, {"train.py": "LR = 2\n"})
    second = (await open_arena(hub, folder, home=home))[1]
    assert (second.version, second.reason, second.evaluator) == (2, "changed: train.py changed", first.evaluator)
    assert second.base_commit != first.base_commit
    await bus.post(Post.new("ann", ArenaClosed(version=2, reason="operator")))
    third = (await open_arena(hub, folder, home=home))[1]
    assert third == msgspec.structs.replace(second, version=3, reason="reopened")


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (
            "print('on'); raise SystemExit('no room')",
            "artifact.prepare ended with exit code 1: no room (its whole output: HOME/logs/prepare-tiny.log)",
        ),
        (
            "import os; os._exit(3)",
            "artifact.prepare ended with exit code 3: no output (its whole output: HOME/logs/prepare-tiny.log)",
        ),
        (
            "import atexit, sys; atexit.register(lambda: print('pool\\nbye', file=sys.stderr)); {}['a']",
            "artifact.prepare ended with exit code 1: KeyError: 'a' (its whole output: HOME/logs/prepare-tiny.log)",
        ),
        (
            "import os; open(os.environ['MESH_OUT'] + '/x', 'w')",
            "artifact.prepare wrote 'x': write only regular files, and only into public/ and private/",
        ),
    ],
)
async def test_an_arena_whose_data_cannot_be_made_does_not_open(
    folder: Path, home: Path, prepare: str, sentence: str
) -> None:
    hub = MemoryHub()
    with pytest.raises(BadArena, match=f"^{re.escape(sentence.replace('HOME', str(home)))}$"):
        await open_arena(hub, write(folder, {"prepare.py": prepare}), home=home)
    if "/logs/" in sentence:
        assert await hub.arenas() == []  # no log without an arena
        assert (home / "logs" / "prepare-tiny.log").exists()
    else:
        assert await (await hub.arena("tiny")).head() == 0


async def test_data_that_takes_too_long_is_given_up_with_every_process_that_makes_it(
    folder: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = tmp_path / "pids"
    making = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
time.sleep(300)
"""
    for within_s in (2, 8, 32):  # on a busy machine it may take longer until there are two processes
        monkeypatch.setattr("mesh.preparation.PREPARE_WITHIN_S", within_s)
        sentence = rf"^artifact.prepare did not end within {within_s} s: make less data, or set artifact"
        with anyio.fail_after(100), pytest.raises(BadArena, match=sentence):
            await open_arena(MemoryHub(), write(folder, {"prepare.py": making}), home=home)
        if pids.exists() and pids.read_text():
            break
    with anyio.fail_after(100):
        while any(map(running, map(int, pids.read_text().split()))):
            await anyio.sleep(0.01)


def running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_what_a_build_makes_is_no_part_of_an_arena_and_does_not_change_its_evaluator(folder: Path) -> None:
    path = folder / "arena.toml"
    without = arena.load_arena(folder)
    (folder / "build").mkdir()
    (folder / "build/a.o").write_bytes(b"mine")
    path.write_text(path.read_text(encoding="utf-8").replace("[artifact]", "[artifact]\ncache = ['build/']"))
    spec = arena.load_arena(folder)
    assert spec.artifact.cache == ("build/",)
    files = arena_files.read_files(folder, spec.artifact)
    assert "build/a.o" not in files
    assert arena.evaluator_hash(spec, files) == arena.evaluator_hash(without, files)

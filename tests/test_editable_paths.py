"""`artifact.editable` with folders, patterns and new files: what it allows everywhere, by a real worker too."""

import datetime as dt
from pathlib import Path

import pytest
from msgspec.structs import replace

from agents.critic import judge
from agents.critique.earlier import Earlier
from agents.llm.patch import Flaw, Patch, parse_answer
from mesh import arena
from mesh.code import CodeStore
from mesh.editable_paths import MAX_NEW_BYTES, MAX_NEW_FILES, editable_paths, too_many_new
from mesh.errors import BadArena
from mesh.events import Scored
from mesh.knobs import knobs_of
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from mesh.spec import ArtifactSpec
from mesh.testing import SPEC, git_hash
from mesh_cli.proposals.apply_files import files_to_write
from mesh_cli.setup.check_runs import Artifact, run_artifacts

TOML = """
[arena]
name = "wide"
[objective]
metric = "loss"
direction = "minimize"
[artifact]
editable = ["src/", "rules/*.json", "extra/**", "run.py"]
hidden = ["src/secret.py"]
[trial]
command = ["python", "run.py"]
budget_s = 20
deadline_s = 20
[score]
how = "command"
command = ["python", "src/score.py"]
"""
FILES = {
    "arena.toml": TOML,
    "run.py": "import os, sys\nsys.path.insert(0, 'src')\nfrom model import value\n"
    "open(os.environ['MESH_OUT'] + '/x', 'w').write(str(value()))\n",
    "src/model.py": "RATE = 0.5\n\n\ndef value():\n    return RATE\n",
    "src/score.py": "import json, os, sys\nout = os.environ['MESH_OUT']\n"
    "print(json.dumps({'loss': float(open(out + '/x').read())}))\n",
    "src/secret.py": "ANSWER = 42\n",
    "src/logo.bin": "\0\1",
    "rules/a.json": "{}",
    "rules/deep/b.json": "{}",
    "README.md": "words",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "wide" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "wide"


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("src/model.py", True),
        ("src/new.py", True),
        ("src/a/b/c.txt", True),
        ("rules/new.json", True),
        ("extra/x/y", True),
        ("extra/x", True),
        ("run.py", True),
        ("rules/deep/b.json", False),
        ("rules/a.toml", False),
        ("src/score.py", False),
        ("src/secret.py", False),
        ("src", False),
        ("other.py", False),
        ("arena.toml", False),
        ("src/../other.py", False),
        ("/src/x.py", False),
        ("src//x.py", False),
        ("src/./x.py", False),
        ("src/__pycache__/x.pyc", False),
        ("src/.git/hooks/post-checkout", False),
        ("extra/.GIT/x", False),
        ("src/x\n.py", False),
        ("src/a\\b.py", False),
        ("src/" + "x" * 300, False),
        ("", False),
    ],
)
def test_a_folder_and_a_pattern_allow_files_below_them_and_nothing_that_scores(
    name: str, allowed: bool, folder: Path
) -> None:
    spec = arena.load_arena(folder)
    assert (name in editable_paths(spec, FILES)) is allowed


def test_plain_paths_stay_what_they_were(folder: Path) -> None:
    spec = replace(SPEC, artifact=ArtifactSpec(editable=("a.py", "b.py")))
    paths = editable_paths(spec, ["c.py"])
    assert (tuple(paths), "b.py" in paths, "c.py" in paths) == (("a.py", "b.py"), True, False)
    found = tuple(editable_paths(arena.load_arena(folder), FILES, ["extra/new"]))
    assert found == ("run.py", "rules/a.json", "src/logo.bin", "src/model.py", "extra/new")
    assert [knob.file for knob in knobs_of({n: t.encode() for n, t in FILES.items()}, found)] == ["src/model.py"]


@pytest.mark.parametrize("entry", ["../src/", "/src/", "src//", "./src/"])
def test_a_folder_outside_of_the_arena_is_refused(entry: str, folder: Path) -> None:
    (folder / "arena.toml").write_text(TOML.replace('"src/"', f'"{entry}"'))
    with pytest.raises(BadArena, match=r"artifact\.editable: "):
        arena.load_arena(folder)


def test_a_proposal_may_not_add_too_much() -> None:
    base = {"a": b""}
    assert too_many_new(base, {"a": b"x" * 2 * MAX_NEW_BYTES}) == ""
    assert "adds files of" in too_many_new(base, {"b": b"x" * (MAX_NEW_BYTES + 1)})
    assert f"adds {MAX_NEW_FILES + 1} files" in too_many_new(base, {f"n{i}": b"" for i in range(MAX_NEW_FILES + 1)})


def test_the_critic_and_a_models_answer_keep_to_it(folder: Path) -> None:
    spec = arena.load_arena(folder)
    base = {name: text.encode() for name, text in FILES.items()}

    def verdict(**changes: bytes) -> tuple[str, str]:
        files = base | {name.replace("__", "/"): data for name, data in changes.items()}
        critique = judge(spec, git_hash("t"), files, base, Earlier())
        return critique.verdict, critique.rule

    assert verdict(src__new=b"x") == ("endorse", "sound")
    assert verdict(other=b"x") == ("block", "protected")
    assert verdict(**{"src__score.py": b"print('{\"loss\": 0}')"}) == ("block", "protected")
    assert verdict(**{"src__new.py": b"def ("}) == ("block", "syntax")
    assert verdict(**{"src__big": b"x" * (MAX_NEW_BYTES + 1)}) == ("block", "protected")

    def answered(name: str) -> Patch | Flaw:
        return parse_answer(f"TITLE: t\nFILE: {name}\n```python\nX = 1\n```\n", base, editable_paths(spec, base))

    made = answered("src/helper.py")
    assert isinstance(made, Patch), made
    assert made.files == {"src/helper.py": b"X = 1\n"}
    for name in ("src/score.py", "other.py", "../src/x.py"):
        assert isinstance(answered(name), Flaw), name


def test_apply_writes_new_files_and_only_inside(folder: Path) -> None:
    spec = arena.load_arena(folder)
    base = {name: text.encode() for name, text in FILES.items()}
    chosen = base | {"extra/n.txt": b"n", "other.py": b"o", "src/model.py": b"RATE = 1\n"}
    wanted = files_to_write(folder, editable_paths(spec, chosen), chosen, [base])
    assert [(file.name, file.before is None) for file in wanted] == [("extra/n.txt", True), ("src/model.py", False)]


def test_new_files_that_hide_protected_ones_are_left_out(folder: Path) -> None:
    spec = replace(SPEC, artifact=ArtifactSpec(editable=("**",)))
    base = {"train.py": b"", "lib/score.py": b"s"}
    spec = replace(spec, artifact=replace(spec.artifact, editable=("*", "x/**"), hidden=("lib/",)))
    files = arena.overlay(spec, base, {"train.py": b"1", "lib": b"cheat", "x/y": b"2", "lib/score.py": b"cheat"})
    assert files == {"train.py": b"1", "lib/score.py": b"s", "x/y": b"2"}


async def test_a_worker_runs_new_files_and_changes_in_a_folder_and_nothing_outside(folder: Path, home: Path) -> None:
    cheat = b"import json\nprint(json.dumps({'loss': -9}))\nraise SystemExit\n"
    artifacts = [
        Artifact("base", {}),
        Artifact("new", {"src/model.py": b"from helper import LESS\n\n\ndef value():\n    return LESS\n",
                         "src/helper.py": b"LESS = 0.25\n"}),
        Artifact("outside", {"run.py": FILES["run.py"].encode(), "json.py": cheat}),
        Artifact("scorer", {"src/score.py": cheat}),
        Artifact("hides", {"src/json.py": b"def dumps(x):\n    return '{\"loss\": -9}'\n"}),
    ]  # fmt: skip
    ended = await run_artifacts(folder, artifacts, device="cpu", slots=1)
    values = {name: getattr(done[0].outcome, "value", done[0].outcome) for name, done in ended.items()}
    assert values == {"base": 0.5, "new": 0.25, "outside": 0.5, "scorer": 0.5, "hides": 0.5}
    assert all(isinstance(done[0].outcome, Scored) for done in ended.values())


async def test_commits_with_new_files_keep_binary_files_unchanged(folder: Path, home: Path) -> None:
    bus, opened = await open_arena(MemoryHub(), folder, home=home)
    code = CodeStore(home / "c.git", bus)
    files = await code.files(opened.base_commit)
    assert files["src/logo.bin"] == b"\0\1"
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made = code.commit({**files, "extra/n": b"\xff\0"}, message="m", author="a", at=at)
    assert arena.overlay(opened.spec, files, await code.files(made.commit))["extra/n"] == b"\xff\0"

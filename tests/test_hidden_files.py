"""Hidden files of an arena: `prepare` and the score program have them, trials and predictors never do."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
import pytest

from gpu_worker.machine import Slot
from gpu_worker.run import RunInputs, execute
from gpu_worker.sandbox.tiers import Sandbox, Tier
from gpu_worker.sandbox_choice import try_tier
from gpu_worker.supervisor.client import start_supervisor
from mesh import arena, arena_files, frozen_data
from mesh.errors import BadArena
from mesh.events import ArenaOpened, RunRequested, Scored
from mesh.follow import Follower
from mesh.hidden_files import is_hidden, split_hidden
from mesh.jetstream import connect
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from mesh.server import EmbeddedServer
from mesh.spec import ArtifactSpec
from mesh.testing import git_hash
from tests.support.arenas import ARENA, write
from tests.support.swarm import swarm_of
from tests.test_arena import refused
from tests.test_take_part import mesh

SECRET = "the answer is 5408112"
TOML = (
    ARENA.replace('["train.py"]', '["train.py"]\nhidden = ["world.py", "data/*.tsv"]')
    .replace("[trial]", 'prepare = ["python", "prepare.py"]\n[trial]')
    .replace("[score]", '[score]\npredict = ["python", "predict.py"]')
    .replace("deadline_s = 30.0", "deadline_s = 60.0")
)
SPY = """
import os, pathlib
SECRET = "the answer is " + str(5408111 + 1)
def found():
    data, here = pathlib.Path(os.environ["MESH_DATA"]), pathlib.Path.cwd()
    hits = []
    tops = here, here.parent, here / ".." / "score", data, data.parent, data.parent / "hidden", data.parent.parent
    for top in tops:
        for folder, _, names in os.walk(top):
            for name in names:
                path = pathlib.Path(folder, name)
                hits += [str(path)] if name in ("world.py", "qrels.tsv") else []
                try:
                    hits += [str(path)] if SECRET.encode() in path.read_bytes() else []
                except OSError:
                    pass
    return hits
"""
FILES = {
    "arena.toml": TOML,
    "spy.py": SPY,
    "train.py": "import json, os, pathlib, spy\n"
    "pathlib.Path(os.environ['MESH_OUT'], 'found.json').write_text(json.dumps(spy.found()))\n",
    "predict.py": "import json, spy\ninput()\nprint(json.dumps(spy.found()), flush=True)\n",
    "score.py": "import json, os, pathlib, world\n"
    "assert world.ANSWER in pathlib.Path('data/qrels.tsv').read_text()\n"
    "assert pathlib.Path(os.environ['MESH_PRIVATE'], 'copy').read_text() == world.ANSWER\n"
    "os.write(3, b'go\\n')\n"
    "answer = b''\n"
    "while not answer.endswith(b'\\n'): answer += os.read(4, 65536)\n"
    "trial = json.loads(pathlib.Path(os.environ['MESH_OUT'], 'found.json').read_text())\n"
    "print(json.dumps({'loss': len(trial), 'predictor': len(json.loads(answer))}))\n",
    "prepare.py": "import os, world\nos.mkdir(os.environ['MESH_OUT'] + '/private')\n"
    "open(os.environ['MESH_OUT'] + '/private/copy', 'w').write(world.ANSWER)\n",
    "world.py": f"ANSWER = {SECRET!r}\n",
    "data/qrels.tsv": f"1\t{SECRET}\n",
    "data/not-named.txt": "x",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "arena", FILES)


async def test_neither_a_trial_nor_a_predictor_finds_a_hidden_file(
    folder: Path, home: Path, server: EmbeddedServer
) -> None:
    for words in (["open", str(folder)], ["propose", str(folder), "--title", "a remark", "--name", "ann"]):
        with (folder / "train.py").open("a") as program:
            program.write("# a remark\n" if words[0] == "propose" else "")
        done = await anyio.to_thread.run_sync(partial(mesh, *words, home=home, url=server.url))
        known = "left out: data/not-named.txt (made by", "in the queue"
        told = [line for line in done.stderr.splitlines() if not any(words in line for words in known)]
        assert (done.returncode, told) == (0, [])
    async with connect(server.url) as hub, swarm_of(home, server.url) as swarm:
        follower = Follower(await hub.arena("tiny"))
        await follower.catch_up()
        await swarm.start("curator", "worker")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follower.follow)
            with anyio.fail_after(200):
                await follower.until(lambda board: any(run.finished for run in board.runs.values()))
            tasks.cancel_scope.cancel()
        [run, *_] = [run.finished for run in follower.board.runs.values() if run.finished]
        assert isinstance(run.outcome, Scored), run.outcome
        assert run.tier in ("A", "B", "C")
        assert run.outcome.metrics == {"loss": 0, "predictor": 0}
        assert follower.board.opened
        assert run.evaluator == follower.board.opened.evaluator


def test_the_spy_of_these_tests_finds_what_is_there(tmp_path: Path) -> None:
    folder = write(tmp_path / "within" / "arena", FILES)
    env = {**os.environ, "MESH_DATA": str(folder), "MESH_OUT": str(tmp_path)}
    subprocess.run([sys.executable, "train.py"], cwd=folder, env=env, check=True, timeout=100)
    found = json.loads((tmp_path / "found.json").read_text())
    assert {Path(path).name for path in found} >= {"world.py", "qrels.tsv"}


@pytest.mark.parametrize(("tier", "hides"), [("A", True), ("C", True), ("E", False)])
async def test_the_tiers_that_close_files_close_hidden_ones(
    folder: Path, tmp_path: Path, tier: Tier, hides: bool
) -> None:
    if not (await try_tier(tier, tmp_path / "probe")).holds:
        pytest.skip(f"REPORTED: tier {tier} does not hold here")
    spec = arena.load_arena(folder)
    shown, hidden = split_hidden(spec.artifact.hidden, arena_files.read_files(folder, spec.artifact))
    data = tmp_path / "data"
    write(data, {f"hidden/{name}": text.decode() for name, text in hidden.items()} | {"private/copy": SECRET})
    (data / "public").mkdir()
    opened = ArenaOpened(version=1, spec=spec, base_commit=git_hash("c"), base_tree=git_hash("t"), evaluator="")
    request = RunRequested(
        run="r1", lane="explore", proposal=git_hash("t"), commit=git_hash("c"), seed=1, budget_s=5, deadline_s=30
    )
    begun = anyio.Event()
    begun.set()

    async def tell(line: bytes) -> None:
        pass

    async with start_supervisor() as supervisor:
        measured = await execute(
            RunInputs(request, opened, shown, shown, data, hidden),
            Slot(0, "cpu", 1),
            supervisor,
            Sandbox(tier),
            tmp_path / "runs" / "r1",
            begun=begun,
            tell=tell,
            killed=lambda: False,
        )
        result = await measured.judge()
    assert isinstance(result.outcome, Scored), result.outcome
    assert result.evaluator == arena.evaluator_hash(spec, shown | hidden)
    found = result.outcome.metrics
    assert (found == {"loss": 0, "predictor": 0}) if hides else min(found.values()) > 0


async def opened_in(hub: MemoryHub, folder: Path, home: Path) -> ArenaOpened:
    return (await open_arena(hub, folder, home=home))[1]


async def test_hidden_files_are_no_part_of_the_artifact_and_decide_the_version(folder: Path, tmp_path: Path) -> None:
    hub, home = MemoryHub(), tmp_path / "home"
    first = await opened_in(hub, folder, home)
    assert await opened_in(hub, folder, home) == first
    data = await frozen_data.thaw(first.data, await hub.arena("tiny"), tmp_path / "thawed")
    assert {path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file()} == {
        "hidden/world.py",
        "hidden/data/qrels.tsv",
        "private/copy",
    }
    assert frozen_data.hidden_in(data) == {name: FILES[name].encode() for name in ("world.py", "data/qrels.tsv")}
    write(folder, {"data/qrels.tsv": "2\tother\n"})
    second = await opened_in(hub, folder, home)
    assert (second.version, second.base_tree) == (2, first.base_tree)
    assert second.evaluator != first.evaluator
    assert second.data != first.data


def test_a_hidden_text_decides_scores_as_any_other_file(folder: Path) -> None:
    write(folder, {"arena.toml": TOML.replace('"world.py"', '"world.py", "notes.md"'), "notes.md": "1"})
    spec = arena.load_arena(folder)
    files = arena_files.read_files(folder, spec.artifact)
    assert "data/not-named.txt" not in files
    assert arena.evaluator_hash(spec, files) != arena.evaluator_hash(spec, files | {"notes.md": b"2"})


@pytest.mark.parametrize(
    ("pattern", "hides", "shows"),
    [
        ("world.py", ["world.py"], ["a/world.py", "world.pyx", "worldapy"]),
        ("data/*.gz", ["data/a.gz", "data/.gz"], ["data/a/b.gz", "data/a.gz2", "a.gz"]),
        ("labels", ["labels", "labels/a", "labels/a/b"], ["labels2", "a/labels"]),
        ("labels/", ["labels/a"], ["labels2"]),
        ("**/*.tsv", ["a.tsv", "a/b/c.tsv"], ["a.tsv.py"]),
        ("a/**", ["a/b", "a/b/c"], ["ab", "b/a"]),
        ("a?.py", ["ab.py"], ["a.py", "a/.py", "abc.py"]),
        ("x[1].py", ["x[1].py"], ["x1.py"]),
        ("a\n.py", ["a\n.py"], ["a"]),
    ],
)
def test_patterns(pattern: str, hides: list[str], shows: list[str]) -> None:
    assert [name for name in hides + shows if is_hidden([pattern], name)] == hides


@pytest.mark.parametrize(
    ("hidden", "sentence"),
    [
        ('["train.py"]', "artifact.hidden hides 'train.py', which artifact.editable lets proposals change: "
         "take it off one list"),
        ('["t*.py"]', "artifact.hidden hides 'train.py', which artifact.editable lets proposals change: "
         "take it off one list"),
        ('["*.toml"]', "artifact.hidden: '*.toml' hides arena.toml, which every worker reads: name the files to hide"),
        ('["../x"]', "artifact.hidden: '../x' must be a relative path or pattern inside the arena"),
        ('["/etc/x"]', "artifact.hidden: '/etc/x' must be a relative path or pattern inside the arena"),
        ('[""]', "artifact.hidden: '' must be a relative path or pattern inside the arena"),
        ('["./world.py"]', "artifact.hidden: write './world.py' as 'world.py'"),
        ('["predict.py"]', "score.predict runs 'predict.py', which artifact.hidden keeps from trials: "
         "take it off one of the two"),
    ],
)  # fmt: skip
def test_what_cannot_be_hidden_is_refused_in_one_sentence(folder: Path, hidden: str, sentence: str) -> None:
    write(folder, {"arena.toml": TOML.replace('["world.py", "data/*.tsv"]', hidden)})
    assert refused(folder) == sentence


def hiding(*patterns: str) -> ArtifactSpec:
    return ArtifactSpec(editable=(), hidden=patterns)


def test_a_pattern_without_a_file_and_a_link_to_a_hidden_file_are_refused(folder: Path) -> None:
    with pytest.raises(BadArena, match=r"arena.toml: artifact.hidden: 'qrels.tsv' matches no file in "):
        arena_files.read_files(folder, hiding("world.py", "qrels.tsv"))
    with pytest.raises(BadArena, match=r"'.git/config' matches no file"):
        arena_files.read_files(write(folder, {".git/config": ""}), hiding(".git/config"))
    (folder / "mine.py").symlink_to(folder / "world.py")
    sentence = "mine.py is a link to 'world.py', which artifact.hidden keeps from trials: hide the link too"
    with pytest.raises(BadArena, match=sentence):
        arena_files.read_files(folder, hiding("world.py"))
    assert arena_files.read_files(folder, hiding("world.py", "mine.py"))["mine.py"] == FILES["world.py"].encode()


def test_what_prepare_writes_cannot_pass_for_a_hidden_file(folder: Path, tmp_path: Path) -> None:
    write(folder, {"prepare.py": "import os\nos.mkdir(os.environ['MESH_OUT'] + '/hidden')\n"
                   "open(os.environ['MESH_OUT'] + '/hidden/world.py', 'w')\n"})  # fmt: skip
    with pytest.raises(BadArena, match=r"wrote 'hidden/world.py': write only regular files, and only into public/"):
        anyio.run(opened_in, MemoryHub(), folder, tmp_path / "home")


def test_an_arena_without_hidden_files_has_the_hash_it_always_had() -> None:
    plain = msgspec.convert({"editable": ["train.py"]}, ArtifactSpec)
    assert json.dumps(arena._stated(plain)) == '{"editable": ["train.py"]}'
    assert json.loads(msgspec.json.encode(plain))["hidden"] == []

"""What of a folder is the artifact: people's folders hold environments, logs, data, links, and what git ignores."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from mesh import arena
from mesh.arena_files import read_arena, read_files
from mesh.errors import BadArena
from mesh.folder_report import FolderRead, folder_lines
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from mesh.spec import ArenaSpec, ArtifactSpec
from mesh.testing import SPEC
from tests.support.arenas import write, write_arena

TASK = {"arena.toml": "", "score.py": "print(1)\n", "train.py": "LR = 1\n"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "task", TASK)


def git(folder: Path, *words: str) -> str:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    named = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "protocol.file.allow=always"]
    done = subprocess.run(
        ["git", *named, *words], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def spec(*ignore: str, prepare: bool = False, source: str = "", hidden: tuple[str, ...] = ()) -> ArenaSpec:
    command = ("python", "prepare.py") if prepare else ()
    artifact = ArtifactSpec(editable=("train.py",), ignore=ignore, prepare=command, hidden=hidden)
    return ArenaSpec(
        name="tiny",
        summary="",
        objective=SPEC.objective,
        artifact=artifact,
        trial=SPEC.trial,
        score=SPEC.score,
        data=type(SPEC.data)(source=source),
    )


def taken(folder: Path, *ignore: str, prepare: bool = False) -> set[str]:
    return read_arena(folder, spec(*ignore, prepare=prepare)).files.keys() - TASK.keys()


def why(read: FolderRead) -> dict[str, str]:
    return {each.path: each.why for each in read.left}


LEAVINGS = {
    "env/pyvenv.cfg": "env",
    "my env/conda-meta/history": "my env",
    "home/server/nats.conf": "home",
    ".venv/bin/x": ".venv",
    ".tox/py311/x": ".tox",
    "node_modules/a/index.js": "node_modules",
    "sub/node_modules/a.js": "sub/node_modules",
    ".mypy_cache/3.11/a.json": ".mypy_cache",
    ".ipynb_checkpoints/a.ipynb": ".ipynb_checkpoints",
    "native/target/CACHEDIR.TAG": "native/target",
    "openevolve_output/best/x.json": "openevolve_output",
    "results_20260101/x.txt": "results_20260101",
    "results.tsv": "results.tsv",
    "programs.sqlite": "programs.sqlite",
    "evolution_db.sqlite-wal": "evolution_db.sqlite-wal",
    "state.db": "state.db",
    "wandb/run-1/x": "wandb",
    "mlruns/0/meta.yaml": "mlruns",
    "checkpoints/a.pt": "checkpoints",
    "logs/a.txt": "logs",
    "run.log": "run.log",
    "nohup.out": "nohup.out",
    ".env": ".env",
    ".env.local": ".env.local",
    "id_rsa": "id_rsa",
}


def test_what_tools_and_other_systems_leave_is_no_part_of_it_and_is_listed(folder: Path) -> None:
    write(folder, dict.fromkeys(LEAVINGS, "x"))
    write(folder, {"__pycache__/train.pyc": "x", ".git/config": "", "results_parser.py": "A = 1\n", ".env.example": ""})
    read = read_arena(folder, spec())
    assert read.files.keys() - TASK.keys() == {"results_parser.py", ".env.example"}
    assert why(read).keys() == set(LEAVINGS.values())
    line, *more = folder_lines(read)
    assert line.startswith("the arena has 5 files (22 bytes); left out: .env (may hold keys, 1 byte), ")
    assert f"and {len(LEAVINGS) - 3} more; {len(LEAVINGS)} files, {len(LEAVINGS)} bytes in all." in line
    assert more == []


def test_a_clean_folder_is_opened_without_a_word(folder: Path) -> None:
    write(folder, {"lib/a.py": "", "data/rows.csv": "1", ".mypy_cache/x": "", "__pycache__/a.pyc": ""})
    read = read_arena(folder, spec())
    assert read.files.keys() - TASK.keys() == {"lib/a.py", "data/rows.csv"}
    assert folder_lines(read) == []


def test_the_users_own_patterns_are_those_of_gitignore_and_come_first(folder: Path) -> None:
    files = [
        "a.tmp",
        "keep.tmp",
        "big/x",
        "big/in/y",
        "#odd",
        "end ",
        "results/a.csv",
        "results/b.csv",
        "sub/top",
        "top",
    ]
    write(folder, dict.fromkeys(files, "x"))
    write(folder, {".meshignore": "# mine\n*.tmp\n!keep.tmp\n\\#odd\nend\\ \n/top\n"})
    assert taken(folder, "big/", "!results/a.csv") == {"keep.tmp", "sub/top", "results/a.csv", ".meshignore"}
    assert taken(folder, "!results/", "!*.tmp", "big/*", "!big/in/") == {
        *(".meshignore", "a.tmp", "keep.tmp", "big/in/y", "sub/top", "results/a.csv", "results/b.csv"),
    }


@pytest.mark.parametrize("is_repository", [True, False])
def test_what_git_ignores_is_left_out_but_for_what_programs_name(folder: Path, is_repository: bool) -> None:
    rules = (
        "data/*\n!data/.gitkeep\n*.bin\n!kept.bin\nbuild/\n# a comment\n\\#hash\ntrailing   \nmodel.pt\nweights.pt\n"
    )
    write(folder, {".gitignore": rules, "sub/.gitignore": "/only-here\n"})
    write(folder, dict.fromkeys(["data/.gitkeep", "data/rows.csv", "a.bin", "kept.bin", "build/x", "#hash"], "x"))
    write(
        folder, dict.fromkeys(["trailing", "sub/only-here", "only-here", "model.pt", "weights.pt", "sub/build/x"], "x")
    )
    text = "ROWS = open('data/rows.csv')\ntorch.save(model, 'model.pt')\nW = torch.load('weights.pt')\n"
    write(folder, {"train.py": text})
    if is_repository:
        git(folder, "init", "-q")
    read = read_arena(folder, spec())
    named = {"data/rows.csv", "weights.pt"}
    assert read.files.keys() - TASK.keys() == {
        *(".gitignore", "sub/.gitignore", "data/.gitkeep", "kept.bin", "only-here"),
        *named,
    }
    assert set(read.taken_anyway) == named
    assert any(
        line.startswith("taken although git ignores it, because a program names it") for line in folder_lines(read)
    )
    if is_repository:
        ignored = set(git(folder, "ls-files", "-o", "-i", "--exclude-standard").splitlines())
        assert set(why(read)) == {name.split("/x")[0] for name in ignored} - named


def test_what_git_tracks_belongs_to_it_whatever_its_name_is(folder: Path) -> None:
    write(folder, dict.fromkeys(["results/base.csv", "out/known.txt", "logs/a.log", "data/rows.csv", "wandb/x"], "x"))
    git(folder, "init", "-q")
    git(folder, "add", "-f", "results", "out", "logs", "data")
    write(folder, dict.fromkeys(["results/new.csv", "logs/b.log", "out/b", "data/b.csv", "new.py"], "x"))
    assert taken(folder, prepare=True) == {
        *("results/base.csv", "out/known.txt", "logs/a.log", "data/rows.csv", "new.py"),
    }


def test_a_worktree_a_submodule_and_a_folder_of_a_larger_repository_are_read_as_git_does(
    tmp_path: Path, folder: Path
) -> None:
    other = write(tmp_path / "other", {"lib.py": "", "a.tmp": "", ".gitignore": "*.tmp\n"})
    git(other, "init", "-q")
    git(other, "add", ".")
    git(other, "commit", "-qm", "one")
    write(folder, {".gitignore": "*.tmp\n"})
    git(folder, "init", "-q")
    git(folder, "submodule", "add", "-q", str(other), "vendor")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    git(folder, "worktree", "add", "-q", str(tmp_path / "tree"))
    write(folder, {"x.tmp": "", "nested/.git/config": "", "nested/a.py": ""})
    assert taken(folder) == {".gitignore", ".gitmodules", "vendor/.gitignore", "vendor/lib.py", "nested/a.py"}
    tree = write(tmp_path / "tree", {"x.tmp": ""})
    read = read_arena(tree, spec())
    assert read.files.keys() - TASK.keys() == {".gitignore", ".gitmodules"}
    assert "warning: vendor is a submodule without files" in folder_lines(read)[-1]
    inner = write(folder / "tasks" / "one", {**TASK, "y.tmp": "", "z.py": ""})
    assert taken(inner) == {"z.py"}


def test_a_pointer_of_git_lfs_and_a_sparse_checkout_are_said(folder: Path) -> None:
    write(folder, {"model.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "far/a.csv": "1"})
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    git(folder, "sparse-checkout", "set", "near")
    assert folder_lines(read_arena(folder, spec())) == [
        "warning: model.bin is a pointer of git LFS, not the file itself: `git lfs pull` gets it",
        "git tracks files that are not in this sparse checkout: far/a.csv",
    ]


def test_links_inside_are_followed_and_others_are_named(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", {"a.csv": "1"})
    write(folder, {"lib/a.py": "A = 1\n", "lib/deep/b.py": "", "run.log": ""})
    links = {
        "alias.py": "lib/a.py",
        "again": "lib",
        "lib/up": "..",
        "lib/self": "self",
        "gone": "nowhere",
        "far": str(tmp_path / "elsewhere"),
        "lib/deep/loop": "../../again",
        "last.txt": "run.log",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    read = read_arena(folder, spec())
    assert read.files.keys() - TASK.keys() == {
        *("lib/a.py", "lib/deep/b.py", "alias.py", "again/a.py", "again/deep/b.py")
    }
    odd = {each.path: each.why for each in read.left if each.is_odd}
    assert (
        odd["far"]
        == f"is a link that leaves the arena, to {tmp_path / 'elsewhere'}: copy it into the folder if trials need it"
    )
    assert odd["lib/up"] == "is a link to a folder that it is in"
    assert odd["gone"] == "is a link to 'nowhere', which does not exist or leads in a circle"
    assert odd["last.txt"] == "is a link to 'run.log', which is left out"
    assert {"lib/self", "lib/deep/loop"} < odd.keys()


def test_a_link_out_of_the_folder_that_a_program_names_is_refused_with_the_cure(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", {"a.csv": "1"})
    (folder / "data").symlink_to(tmp_path / "elsewhere")
    write(folder, {"train.py": "ROWS = open('data/a.csv')\n"})
    with pytest.raises(
        BadArena, match=r"data is a link that leaves the arena, to .*elsewhere, and a program names it: copy"
    ):
        read_arena(folder, spec())
    assert taken(folder, "/data") == set()


def test_what_is_no_file_has_no_readable_name_or_vanishes_is_left_out_and_named(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    (folder / "a\nb.txt").write_text("x")
    write(folder, {"Case.py": "A = 1\n", "case.py": "A = 2\n", "naïve.py": ""})
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "socket"))
        read = read_arena(folder, spec())
    assert read.files.keys() - TASK.keys() == {"Case.py", "case.py", "naïve.py"}
    assert sorted(why(read).values()) == [
        "has a control character in its name",
        "has a name that is not UTF-8",
        *["is a socket, a pipe or a device"] * 2,
    ]
    assert all(line.isprintable() for line in folder_lines(read))


READ_AS_OWNER = """
import sys
from pathlib import Path

from gpu_worker.sandbox import kernel

kernel.drop_capabilities()  # root by name, who may read what an owner may
from tests.test_folder import read_arena, spec, why

print(why(read_arena(Path(sys.argv[1]), spec())))
"""


def test_what_the_user_cannot_read_is_left_out_and_named(folder: Path) -> None:
    write(folder, {"closed.txt": "", "pg/x": ""})
    (folder / "closed.txt").chmod(0)
    (folder / "pg").chmod(0)
    words = [sys.executable, "-c", READ_AS_OWNER, str(folder)]
    done = subprocess.run(words, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=200)
    assert (done.stdout, done.stderr) == (f"{dict.fromkeys(('closed.txt', 'pg'), 'cannot be read by you')}\n", "")
    (folder / "pg").chmod(0o700)


def test_what_is_too_large_or_too_much_is_refused_with_the_names_and_the_cure(folder: Path) -> None:
    for name, size in (("a.bin", 9), ("data/b.bin", 200)):
        write(folder, {name: ""})
        os.truncate(folder / name, size * 1_000_000)
    with pytest.raises(BadArena) as refused:
        read_arena(folder, spec())
    told = str(refused.value)
    assert told.startswith(f"{folder}/data/b.bin has 200,000,000 bytes, but a file of an arena may have 8,388,608: ")
    assert "name it in artifact.ignore or .meshignore" in told
    assert f'let source = "{folder}/data/b.bin" under [data]' in told
    assert f'readable = ["{folder}/data/b.bin"] under [environment], and that path in the program' in told
    assert told.endswith("(also too large: a.bin (9 MB))")
    assert taken(folder, "*.bin") == set()
    write(folder, {f"many/{n}.json": "" for n in range(2010)})
    with pytest.raises(BadArena, match=r"more than 2,000 files \(of those read, many/ 1,99\d, the folder itself "):
        read_arena(folder, spec("*.bin"))


def test_folders_of_data_are_left_out_where_prepare_makes_them_and_it_is_said(folder: Path) -> None:
    write(folder, {"data/rows.csv": "1", "out/x": "1", "src/data/loader.py": "", "src/out/a.py": ""})
    assert taken(folder) == {"data/rows.csv", "src/data/loader.py", "src/out/a.py"}
    read = read_arena(folder, spec(prepare=True))
    assert why(read) == {"data": "made by prepare", "out": "made by trials"}
    assert (
        "left out: data (made by prepare, 1 byte), out (made by trials, 1 byte). To take one: " in folder_lines(read)[0]
    )
    assert taken(folder, "!/data/", "!/out/", prepare=True) == {
        *("data/rows.csv", "out/x", "src/data/loader.py", "src/out/a.py"),
    }
    git(folder, "init", "-q")
    git(folder, "add", "data")
    assert why(read_arena(folder, spec(prepare=True, source="data")))["data"] == "the source of the data"


def test_results_that_a_program_reads_are_left_out_with_a_warning_that_has_the_cure(folder: Path) -> None:
    write(
        folder, {"results/base.csv": "1", "logs/run.txt": "", "score.py": "B = open('results/base.csv')\nL = 'logs'\n"}
    )
    lines = folder_lines(read_arena(folder, spec()))
    assert lines[1:] == [
        "warning: programs name results, which is left out: they may write there; if they read it, write "
        'ignore = ["!results"] under [artifact] in arena.toml'
    ]
    assert "results/base.csv" in taken(folder, "!results")


def test_hidden_files_are_read_wherever_they_lie(folder: Path) -> None:
    write(folder, {"data/labels.csv": "1", "data/raw.csv": "", "results/gold.csv": "", ".gitignore": "results/\n"})
    read = read_arena(folder, spec(prepare=True, hidden=("data/labels.csv", "results/gold.csv")))
    assert read.files.keys() - TASK.keys() == {".gitignore", "data/labels.csv", "results/gold.csv"}


def test_a_list_of_what_is_left_out_in_an_older_arena_means_what_it_meant(folder: Path) -> None:
    write(folder, dict.fromkeys(["results/a.csv", "logs/a", "x/old.txt", "env/pyvenv.cfg", "cache.bin"], "x"))
    write(folder, {".gitignore": "cache.bin\n"})
    older = ArtifactSpec(editable=("train.py",), leave_out=("logs", "x/*"))
    assert read_files(folder, older).keys() - TASK.keys() == {".gitignore", "results/a.csv", "cache.bin"}


def test_a_pattern_that_is_none_is_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = write_arena(tmp_path / "arena")
    path = folder / "arena.toml"
    path.write_text(path.read_text().replace("[artifact]", '[artifact]\nignore = ["!"]'))
    with pytest.raises(BadArena, match=r"artifact.ignore: '!' is not a pattern of .gitignore: use a name, `folder/`, "):
        arena.load_arena(folder)


async def test_what_appears_beside_a_task_does_not_touch_its_scores(tmp_path: Path, home: Path) -> None:
    folder, hub = write_arena(tmp_path / "arena"), MemoryHub()
    first = (await open_arena(hub, folder, home=home))[1]
    write(folder, dict.fromkeys(LEAVINGS, "x"))
    write(folder, {"out/metrics.json": "{}", "README.md": "# Tiny\n"})
    assert (await open_arena(hub, folder, home=home))[1] == first


def test_a_folder_with_many_files_is_judged_once(folder: Path) -> None:
    write(
        folder, {"train.py": "x = list(Path('data').iterdir())", ".gitignore": "data/*\n!data/a.csv", "data/a.csv": ""}
    )
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    for number in range(8000):
        (folder / "data" / f"{number}.png").touch()
    begun = time.process_time()
    assert taken(folder) == {".gitignore", "data/a.csv"}
    assert time.process_time() - begun < 8  # 30 s where each file reads its folder again


def test_a_line_for_a_shell_names_files(folder: Path) -> None:
    write(folder, {".gitignore": "*.csv", "a.csv": "1", "b.csv": "2"})
    command = ("sh", "-c", "python train.py <a.csv")
    read = read_arena(folder, replace(spec(), trial=replace(SPEC.trial, command=command)))
    assert "a.csv" in read.files
    assert "b.csv" not in read.files


def test_keys_are_not_taken_because_a_program_names_them(folder: Path) -> None:
    keys = ("secrets.json", "credentials.json", "api_keys.yaml", "server.pem", "prod.env")
    others = ("tokens.json", "keys.csv")
    write(folder, dict.fromkeys((*keys, *others), "x") | {".gitignore": "\n".join((*keys, *others))})
    write(folder, {"train.py": f"FILES = {[*keys, *others]}"})
    assert taken(folder) == {".gitignore", *others}
    assert taken(folder, "!secrets.json") == {".gitignore", "secrets.json", *others}
    assert any("programs name api_keys.yaml" in line for line in folder_lines(read_arena(folder, spec())))


def test_folders_and_files_of_keys_are_never_taken(folder: Path) -> None:
    keys = ("id_ecdsa", "id_dsa", "id_ed25519_sk", ".envrc", ".npmrc", ".ssh/mine", ".aws/credentials", ".kube/config")
    write(folder, dict.fromkeys(keys, "x"))
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    assert taken(folder) == set()

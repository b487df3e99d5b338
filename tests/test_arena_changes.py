"""A new version of an arena says what it changes, and whether scores of the one before count."""

from pathlib import Path

import msgspec
import pytest

from mesh.arena import evaluator_hash, load_arena
from mesh.arena_changes import arena_changes
from mesh.arena_files import read_files
from mesh.code import CodeStore
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from mesh.testing import SPEC
from tests.support.arenas import write_arena

KEPT, FILES = {"train.py": b"LR = 1\n"}, {"train.py": b"LR = 1\n", "a.txt": b"a", "b.txt": b"b"}
SIX = "0.txt, 1.txt, 2.txt, 3.txt, 4.txt, 5.txt"
SLOW = msgspec.structs.replace(SPEC, trial=msgspec.structs.replace(SPEC.trial, budget_s=SPEC.trial.budget_s + 1))


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (KEPT, KEPT | {"run.log": b"x"}, "run.log is new"),
        (FILES, KEPT, "a.txt and b.txt are gone"),
        (FILES, {**FILES, "b.txt": b"c", "train.py": b""}, "b.txt and train.py changed"),
        (
            KEPT,
            {f"{n}.txt": b"" for n in range(9)},
            "0.txt, 1.txt, 2.txt, 3.txt, 4.txt, 5.txt and 3 more are new; train.py is gone",
        ),
    ],
)
def test_files_are_named(before: dict[str, bytes], after: dict[str, bytes], told: str) -> None:
    assert arena_changes(before, after, SPEC, SPEC, is_evaluator_new=False) == told


def test_rules_of_arena_toml_and_what_is_hidden_are_named() -> None:
    assert arena_changes(KEPT, KEPT, SPEC, SLOW, is_evaluator_new=True) == "trial.budget_s changed"
    assert arena_changes(KEPT, KEPT, SPEC, SPEC, is_evaluator_new=True) == "a hidden file or the data's source changed"
    assert arena_changes(KEPT, KEPT, SPEC, SPEC, is_evaluator_new=False) == "arena.toml changed"


async def test_opening_says_what_changed_and_whether_scores_count(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, hub = write_arena(tmp_path / "arena"), MemoryHub()
    await open_arena(hub, folder, home=home)
    (folder / "Makefile").write_text("all:\n")
    await open_arena(hub, folder, home=home)
    (folder / "score.py").write_text((folder / "score.py").read_text() + "\n# a comment\n")
    await open_arena(hub, folder, home=home)
    (folder / "train.py").write_text((folder / "train.py").read_text() + "\n# a comment\n")
    await open_arena(hub, folder, home=home)
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mesh: version")]
    assert told == [
        "mesh: version 2 of tiny: Makefile is new; scores are measured again",
        "mesh: version 3 of tiny: score.py changed; scores are measured again",
        "mesh: version 4 of tiny: train.py changed; scores of version 3 still count",
    ]


async def test_a_note_a_log_and_a_comment_in_arena_toml_make_no_version(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, hub = write_arena(tmp_path / "arena"), MemoryHub()
    (folder / "README.md").write_text("# Tiny\n")
    first = (await open_arena(hub, folder, home=home))[1]
    for name in ("README.md", "NOTES.txt", "LICENSE", ".gitignore", "run.log", "docs/a.rst", "arena.toml"):
        (folder / name).parent.mkdir(exist_ok=True)
        with (folder / name).open("a") as file:
            file.write("\n# more\n")
        assert (await open_arena(hub, folder, home=home))[1] == first, name
    assert "version" not in capsys.readouterr().err


async def test_a_note_that_a_program_reads_decides_scores(tmp_path: Path, home: Path) -> None:
    folder, hub = write_arena(tmp_path / "arena"), MemoryHub()
    score = folder / "score.py"
    score.write_text(score.read_text() + "\nRUBRIC = 'prompts/rubric.md'\n")
    (folder / "prompts").mkdir()
    (folder / "prompts" / "rubric.md").write_text("Be strict.\n")
    first = (await open_arena(hub, folder, home=home))[1]
    (folder / "prompts" / "rubric.md").write_text("Be mild.\n")
    second = (await open_arena(hub, folder, home=home))[1]
    assert (second.version, second.reason) == (2, "changed: prompts/rubric.md changed")
    assert second.evaluator != first.evaluator


STRAYS = (
    "out.txt",
    "thoughts.txt",
    "history.jsonl",
    "plot.png",
    "train.py.bak",
    "scratch.py",
    "Untitled.ipynb",
    "runs/a.csv",
)
"""What people and their tools leave in a folder."""


async def test_files_that_nothing_names_make_no_version_also_when_they_change(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, hub = write_arena(tmp_path / "arena"), MemoryHub()
    (folder / "before.txt").write_text("there from the beginning")
    first = (await open_arena(hub, folder, home=home))[1]
    for name in (*STRAYS, "before.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        for text in ("a", "b"):
            (folder / name).write_text(text)
            assert (await open_arena(hub, folder, home=home))[1] == first, name
    assert capsys.readouterr().err.splitlines()[0] == (
        "mesh: out.txt is new, but no program or command of the arena names it: this makes no new version. "
        'If a program reads it, write "!out.txt" into artifact.ignore'
    )
    (folder / "train.py").write_text((folder / "train.py").read_text() + "\n# a comment\n")
    second = (await open_arena(hub, folder, home=home))[1]
    assert (second.version, second.evaluator, second.reason) == (2, first.evaluator, "changed: train.py changed")
    (folder / "before.txt").unlink()
    assert (await open_arena(hub, folder, home=home))[1] == second
    arena_toml = folder / "arena.toml"
    arena_toml.write_text(arena_toml.read_text().replace("[trial]", 'ignore = ["!out.txt"]\n[trial]'))
    third = (await open_arena(hub, folder, home=home))[1]
    assert "out.txt is new" in third.reason
    assert third.evaluator != second.evaluator


LOADERS = {
    "by its path": "spec = importlib.util.spec_from_file_location('program', sys.argv[1])",
    "by its path in a word": "spec = __import__('importlib.util').util.spec_from_file_location('program', path)",
    "in a temporary file": "script = tempfile.NamedTemporaryFile('w', suffix='.py', delete=False)",
    "by its name": "import importlib\nfrom train import HEIGHT",
}
"""How evaluators of other systems load the program that they score."""


@pytest.mark.parametrize("how", LOADERS)
async def test_an_evaluator_that_loads_the_program_does_not_make_every_file_count(
    how: str, tmp_path: Path, home: Path
) -> None:
    folder, hub = write_arena(tmp_path / "arena"), MemoryHub()
    (folder / "evaluator.py").write_text(f"import importlib.util, sys, tempfile\n{LOADERS[how]}\n")
    first = (await open_arena(hub, folder, home=home))[1]
    for name in ("notes.txt", "train.py.bak", "scratch.py"):
        (folder / name).write_text("a")
        assert (await open_arena(hub, folder, home=home))[1] == first, name


COUNTED = {
    "a program imports by a name that it makes": ("scratch.py", "__import__(NAME)"),
    "a program reads what lies in its package": ("scratch.py", "importlib.resources.files('x')"),
    "a program has the suffix of a path": ("scratch.py", "print(path.suffix == '.py')"),
    "a program names it": ("table.csv", "print(open('table.csv').read())"),
    "a program names its folder": ("points/table.csv", "print(sum(map(len, os.listdir('points'))))"),
    "a program lists a folder": ("table.csv", "print(sorted(p.name for p in Path('.').iterdir()))"),
    "a program walks": ("table.csv", "for here, below, names in os.walk('.'):\n    print(names)"),
    "a program has a pattern": ("table.csv", "print(glob.glob('*.csv'))"),
    "a program takes every file": ("table.csv", "print(glob.glob('data/*'))"),
    "a program has its suffix": ("table.csv", "print(open(NAME + '.csv').read())"),
    "a program has its suffix without the point": ("table.csv", "print(open(f'{NAME}.{KIND}', KIND == 'csv'))"),
    "a program formats its name": ("table_3.csv", "print(open('table_%d.csv' % 3).read())"),
    "a program imports it": ("scratch.py", "from scratch import LR"),
    "a program imports what it finds": ("scratch.py", "importlib.import_module(NAME)"),
    "it is a test": ("test_more.py", "print(1)"),
    "a tool reads it": ("requirements-dev.txt", "print(1)"),
    "a shell script lists": ("table.csv", "#!/bin/sh\ncat *\n"),
}


@pytest.mark.parametrize("case", COUNTED)
async def test_a_file_counts_however_a_program_may_find_it(case: str, tmp_path: Path, home: Path) -> None:
    name, line = COUNTED[case]
    folder, hub = write_arena(tmp_path / "arena"), MemoryHub()
    (folder / "read.py").write_text(line)
    await open_arena(hub, folder, home=home)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("1,2\n")
    assert (await open_arena(hub, folder, home=home))[1].version == 2


async def test_a_file_that_programs_only_write_is_their_output(tmp_path: Path, home: Path) -> None:
    folder, hub = write_arena(tmp_path / "arena"), MemoryHub()
    (folder / "train.py").write_text((folder / "train.py").read_text() + "\nopen('curve.csv', 'w').write('1')\n")
    first = (await open_arena(hub, folder, home=home))[1]
    (folder / "curve.csv").write_text("1")
    assert (await open_arena(hub, folder, home=home))[1] == first


async def test_a_list_that_is_named_names_files_too(tmp_path: Path, home: Path) -> None:
    folder, hub = write_arena(tmp_path / "arena"), MemoryHub()
    (folder / "read.py").write_text("for name in open('list.txt'):\n    print(open(name.strip()).read())\n")
    await open_arena(hub, folder, home=home)
    (folder / "list.txt").write_text("points.tsv\n")
    (folder / "points.tsv").write_text("1\n")
    second = (await open_arena(hub, folder, home=home))[1]
    assert second.reason == "changed: list.txt and points.tsv are new"


async def test_a_file_that_is_hidden_now_is_no_longer_shown(tmp_path: Path, home: Path) -> None:
    folder, hub = write_arena(tmp_path / "arena"), MemoryHub()
    (folder / "answers.csv").write_text("1\n")
    await open_arena(hub, folder, home=home)
    arena_toml = folder / "arena.toml"
    arena_toml.write_text(arena_toml.read_text().replace("[trial]", 'hidden = ["answers.csv"]\n[trial]'))
    bus, second = await open_arena(hub, folder, home=home)
    assert second.version == 2
    files = await CodeStore(tmp_path / "code.git", bus).files(second.base_commit)
    assert "answers.csv" not in files


READERS = {
    "a command names it": ("prompt.md", "", {}),
    "a program has its name but for a part": ("prompts/rubric.md", 'print(open(f"prompts/{NAME}.md").read())', {}),
    "a program lists its folder": ("corpus/a.md", 'print([p.read_text() for p in Path("corpus").iterdir()])', {}),
    "a program has its suffix": ("words/a.md", 'print(open(NAME + ".md").read())', {}),
    "a file of settings names it": ("a/rubric.md", 'print(open("a.yaml").read())', {"a.yaml": "rubric: a/rubric.md\n"}),
}


@pytest.mark.parametrize("case", READERS)
def test_a_note_decides_scores_however_it_is_named(case: str, tmp_path: Path) -> None:
    name, line, more = READERS[case]
    folder = write_arena(tmp_path / "arena")
    spec = load_arena(folder)
    if not line:
        spec = msgspec.structs.replace(
            spec, trial=msgspec.structs.replace(spec.trial, command=("sh", "-c", f"python train.py <{name}"))
        )
    files = {**read_files(folder), "read.py": line.encode(), name: b"Be strict."}
    files |= {other: text.encode() for other, text in more.items()}
    assert evaluator_hash(spec, files) != evaluator_hash(spec, {**files, name: b"Be mild."})
    assert evaluator_hash(spec, files) == evaluator_hash(spec, {**files, "other/README.rst": b"Read me."})

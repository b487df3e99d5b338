"""An old champion comes home into a folder that has had a new version since: the folder's own edits stay."""

import sys
from pathlib import Path

import anyio
import pytest

from mesh_cli.proposals.merge_text import merge_texts
from tests.test_versions import PYTHON, study

PLAIN = "SIZE = 400\nRATE = 0.1\nprint(SIZE, RATE)\n"
MARKED = "SIZE = 400  # mesh: fixed\nRATE = 0.1  # mesh: 1e-4..1e-1 log\nprint(SIZE, RATE)\n"
C_PLAIN = "#define N 400\n#define RATE 0.1\nint main(void) { return N; }\n"
C_MARKED = "#define N 400  // mesh: fixed\n#define RATE 0.1  // mesh: 0.01..0.1\nint main(void) { return N; }\n"


async def apply(*words: object, code: int = 0) -> tuple[str, str]:
    """Run `mesh apply` and return what it prints, and what it says."""
    done = await anyio.run_process([sys.executable, "-m", "mesh_cli", "apply", *map(str, words)], check=False)
    assert done.returncode == code, done.stderr.decode()
    return done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize(
    ("name", "plain", "marked", "is_measured"), [("train.py", PLAIN, MARKED, True), ("sim.c", C_PLAIN, C_MARKED, False)]
)
async def test_comments_that_the_folder_has_now_stay_when_an_old_champion_is_applied(
    name: str, plain: str, marked: str, is_measured: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with study(tmp_path, name, plain) as it:
        monkeypatch.setenv("MESH_NATS", it.url)
        monkeypatch.setenv("MESH_HOME", str(it.home))
        await it.open()
        better = plain.replace("0.1", "0.05")
        _, champion = await it.crowned((better, 5.0))
        file = it.folder / name
        after = marked.replace(
            "RATE 0.1" if name == "sim.c" else "RATE = 0.1", "RATE 0.05" if name == "sim.c" else "RATE = 0.05"
        )
        for is_opened in (False, True):  # the comments stand in the folder, and then in the version in force
            file.write_text(marked)
            if is_opened:
                board = await it.open(marked)
                assert board.champion == champion
            shown, said = await apply("champion", "--arena", "tiny")
            assert file.read_text() == after
            assert [line for line in shown.splitlines()[3:] if line[:1] in "+-"] == [
                "-" + next(line for line in marked.splitlines() if "RATE" in line),
                "+" + next(line for line in after.splitlines() if "RATE" in line),
            ]
            kept = "your comments are kept, and the code is the proposal's" if is_measured else "your changes are kept"
            assert f"{name} in {it.folder} changed since proposal {champion[:10]} was made; {kept}" in said
            assert "nothing to write" in (await apply("champion", "--arena", "tiny"))[1]


async def test_an_edit_of_the_code_in_a_later_version_stays_or_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with study(tmp_path, "train.py", PYTHON) as it:
        monkeypatch.setenv("MESH_NATS", it.url)
        monkeypatch.setenv("MESH_HOME", str(it.home))
        await it.open()
        _, champion = await it.crowned((PYTHON.replace("0.1 ", "0.2 "), 5.0))
        file = it.folder / "train.py"
        await it.open(PYTHON.replace("print(SIZE, RATE)", "print(SIZE, RATE, 3)"))
        said = (await apply(champion, "--arena", "tiny"))[1]
        assert file.read_text() == PYTHON.replace("0.1 ", "0.2 ").replace("RATE)", "RATE, 3)")
        assert "your changes are kept, and nobody has measured them together with the proposal's" in said
        mine = PYTHON.replace("0.1 ", "0.3 ")
        await it.open(mine)
        said = (await apply(champion, "--arena", "tiny", code=2))[1]
        assert f"train.py (line 2) in {it.folder} changed since the arena was opened" in said
        assert file.read_text() == mine


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "joined"),
    [
        ("a = 1\n", "a = 1  # mine\n", "a = 2\n", "a = 2  # mine\n"),
        ("a = 1\nb = 2\n", "a = 3\nb = 2\n", "a = 1\nb = 4\n", "a = 3\nb = 4\n"),
        ("a\nb\n", "b\n", "a\nb\nc\n", "b\nc\n"),
        ("a\n", "a", "a\nb\n", "a\nb"),
        ("a = 1\nb = 2\n", "a = 1\r\nb = 2\r\n", "a = 9\nb = 2\n", "a = 9\r\nb = 2\r\n"),
        ("f(x=1)  // old\n", "f(x=1)  /* new */\n", "f(x=5)  // old\n", "f(x=5)  /* new */\n"),
        ("f(x=1, y=2)\n", "f(x=1, y=3)\n", "f(x=5, y=2)\n", None),
        ("a = 1\n", "a = 2\n", "a = 3\n", None),
        ("x\n", "x\nmine\n", "x\ntheirs\n", None),
        ("x\ny\n", "y\n", "z\ny\n", None),
    ],
)
def test_two_sides_of_a_text_are_joined_unless_both_changed_one_place(
    base: str, ours: str, theirs: str, joined: str | None
) -> None:
    assert merge_texts(base, ours, theirs).text == joined
    other = merge_texts(base, theirs, ours).text
    assert (other is None) == (joined is None)
    assert merge_texts(base, ours, base).text == ours
    assert merge_texts(base, ours, ours).text == ours

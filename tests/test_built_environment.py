"""A worker builds the environment of a task from its list of packages: once, whole, and never half of it."""

import base64
import hashlib
import os
import shutil
import signal
import socket
import sys
import zipfile
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from mesh import settings
from mesh.built_environment import build_environment, trouble_in_build
from mesh.errors import BadArena, BadInput
from mesh.events import Scored
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from mesh.spec import EnvironmentSpec
from tests.test_environment import task
from tests.test_foreign_tasks import run_all

SPEC = EnvironmentSpec(requirements="requirements.txt")
EVALUATOR = "import tinywheel\n\ndef evaluate(path):\n    return {'combined_score': tinywheel.VALUE}\n"


def wheel(folder: Path, version: str, value: float) -> None:
    """Write a wheel of one module."""
    folder.mkdir(exist_ok=True)
    about = f"tinywheel-{version}.dist-info"
    files = {
        "tinywheel.py": f"VALUE = {value}\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: tinywheel\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(text)}")
    files[f"{about}/RECORD"] = "\n".join([*lines, f"{about}/RECORD,,", ""])
    with zipfile.ZipFile(folder / f"tinywheel-{version}-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two versions of a wheel; the cache is the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    wheel(tmp_path / "wheels", "1.0", 0.25)
    wheel(tmp_path / "wheels", "2.0", 0.5)
    return tmp_path / "wheels"


def listed(wheels: Path, wanted: str) -> str:
    return f"--no-index\n--find-links {wheels}\n{wanted}\n"


async def test_runs_use_what_was_built_and_their_facts_say_what_that_is(wheels: Path, tmp_path: Path) -> None:
    folder = task(tmp_path / "task", EVALUATOR, 'requirements = "requirements.txt"')
    (folder / "requirements.txt").write_text(listed(wheels, "-r more/pins.txt"))
    (folder / "more").mkdir()
    (folder / "more" / "pins.txt").write_text("tinywheel<2\n")
    first, second = await run_all(folder, tmp_path, 2)
    for each in (first, second):
        assert isinstance(each.outcome, Scored), each
        assert (each.outcome.value, each.packages) == (0.25, "tinywheel==1.0")
    [built] = [path for path in settings.environments_dir().iterdir() if path.is_symlink()]
    assert (first.built, second.built) == (built.name, built.name)


async def test_an_environment_is_built_once_and_again_when_its_list_changes(wheels: Path, tmp_path: Path) -> None:
    cache, said = tmp_path / "environments", list[str]()

    async def say(what: str) -> None:
        said.append(what)

    files = {"requirements.txt": listed(wheels, "tinywheel<2").encode()}
    found = list[tuple[str, str]]()

    async def build() -> None:
        interpreter, key = await build_environment(SPEC, files, cache, say)
        found.append((interpreter.python, key))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(build)
        tasks.start_soon(build)
    assert found[0] == found[1]
    assert len(said) == 1
    assert said[0].startswith("builds the environment of the task from requirements.txt (")
    files["requirements.txt"] = listed(wheels, "tinywheel>=2").encode()
    await build()
    assert len({key for _, key in found}) == len(said) == 2
    values = [
        await anyio.run_process([python, "-c", "import tinywheel as t; print(t.VALUE)"]) for python, _ in found[1:]
    ]
    assert [each.stdout for each in values] == [b"0.25\n", b"0.5\n"]
    Path(found[2][0]).unlink()  # as if the interpreter that it was made with was removed
    await build()
    assert (found[3][1], len(said)) == (found[2][1], 3)
    assert os.access(found[3][0], os.X_OK)


KILLED = """
import sys, anyio
from pathlib import Path
from mesh.built_environment import build_environment
from mesh.spec import EnvironmentSpec
async def say(what): pass
files = {"requirements.txt": Path(sys.argv[1]).read_bytes()}
anyio.run(build_environment, EnvironmentSpec(requirements="requirements.txt"), files, Path(sys.argv[2]), say)
"""


async def test_an_installer_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """It waits for an index that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as index:
        url = f"http://127.0.0.1:{index.getsockname()[1]}/simple/"
        (tmp_path / "requirements.txt").write_text(f"--index-url {url}\ntinywheel\n")
        command = [sys.executable, "-c", KILLED, str(tmp_path / "requirements.txt"), str(tmp_path / "environments")]
        patient = {**os.environ, "PIP_DEFAULT_TIMEOUT": "600", "UV_HTTP_TIMEOUT": "600"}
        async with await anyio.open_process(command, env=patient) as builder:
            with anyio.fail_after(150):
                asked, _ = await anyio.to_thread.run_sync(index.accept, abandon_on_cancel=True)
            builder.send_signal(signal.SIGKILL)
        with asked:
            asked.settimeout(100)  # an installer that lives on waits longer for its answer
            while asked.recv(4096):
                pass


async def test_a_build_that_is_killed_in_the_middle_is_done_again(wheels: Path, tmp_path: Path) -> None:
    cache, text = tmp_path / "environments", listed(wheels, "tinywheel")
    (tmp_path / "requirements.txt").write_text(text)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "requirements.txt"), str(cache)]
    for _ in range(9):  # on a busy machine it may be over before it is killed
        shutil.rmtree(cache, ignore_errors=True)
        async with await anyio.open_process(command, start_new_session=True) as builder:
            with anyio.fail_after(100):
                while not list(cache.glob("*-*/bin/python")):
                    await anyio.sleep(0.001)
            os.killpg(builder.pid, signal.SIGKILL)
        if not any(path.is_symlink() for path in cache.iterdir()):
            break
    left = [path.name for path in cache.iterdir() if path.is_dir()]
    assert len(left) == 1
    assert not [path for path in cache.iterdir() if path.is_symlink()]

    async def say(what: str) -> None:
        return None

    interpreter, key = await build_environment(SPEC, {"requirements.txt": text.encode()}, cache, say)
    assert interpreter.packages == ("tinywheel-2.0.dist-info",)
    assert {path.name for path in cache.iterdir() if path.is_dir()} == {key, (cache / key).resolve().name}
    assert left[0] not in os.listdir(cache)


async def test_a_build_that_fails_refuses_the_runs_in_one_sentence(wheels: Path, tmp_path: Path) -> None:
    folder = task(tmp_path / "task", EVALUATOR, 'requirements = "requirements.txt"')
    (folder / "requirements.txt").write_text(listed(wheels, "--find-links /nowhere/at/all\ntinywheel==7"))
    with pytest.raises(BaseExceptionGroup) as error:
        await run_all(folder, tmp_path, 1)
    trouble: BaseException = error.value
    while isinstance(trouble, BaseExceptionGroup):
        trouble = trouble.exceptions[0]
    assert isinstance(trouble, BadInput)  # starting the worker again is of no use
    words = str(trouble)
    assert "cannot run here: the environment of the task cannot be built from requirements.txt: " in words
    assert "tinywheel==7" in words
    assert "WARNING" not in words
    assert "from versions" not in words
    assert not [path for path in settings.environments_dir().iterdir() if path.is_dir()]


async def test_prepare_runs_in_what_was_built(wheels: Path, tmp_path: Path) -> None:
    folder = task(tmp_path / "task", EVALUATOR, 'requirements = "requirements.txt"')
    (folder / "requirements.txt").write_text(listed(wheels, "tinywheel"))
    toml = folder / "arena.toml"
    prepare = '[artifact]\nprepare = ["python", "-c", "import tinywheel; assert tinywheel.VALUE == 0.5"]\n'
    toml.write_text(toml.read_text().replace("[artifact]\n", prepare))
    await open_arena(MemoryHub(), folder, home=tmp_path / "home")
    (folder / "requirements.txt").write_text("-e .\n")
    with pytest.raises(BadArena, match="changes with proposals: list packages alone"):
        await open_arena(MemoryHub(), folder, home=tmp_path / "home")


@pytest.mark.parametrize(
    ("spec", "files", "words"),
    [
        (EnvironmentSpec(requirements="a", lock="uv.lock"), {}, "exclude each other"),
        (SPEC, {}, "'requirements.txt' is not a file of the arena"),
        (SPEC, {"requirements.txt": b"numpy\n-e .\n"}, "requirements.txt has '-e .', which changes with proposals"),
        (SPEC, {"requirements.txt": b".\n"}, "has '.', which changes"),
        (SPEC, {"requirements.txt": b"./lib\n"}, "has './lib', which changes"),
        (SPEC, {"requirements.txt": b"-r b.txt", "b.txt": b"--editable=./x"}, "b.txt has '--editable=./x'"),
        (SPEC, {"requirements.txt": b"-c train.py", "train.py": b""}, "proposals may change 'train.py'"),
        (EnvironmentSpec(lock="poetry.lock"), {"poetry.lock": b""}, "'poetry.lock' is not a uv.lock"),
        (EnvironmentSpec(lock="uv.lock"), {"uv.lock": b""}, "needs its pyproject.toml beside it"),
    ],
)
def test_what_cannot_be_built_is_refused_at_opening(spec: EnvironmentSpec, files: dict[str, bytes], words: str) -> None:
    assert words in trouble_in_build(spec, files, ["train.py"])


def test_plain_lists_and_wheels_of_the_arena_can_be_built() -> None:
    text = b"numpy>=2 # -e .\n./wheels/x-1-py3-none-any.whl\nfile-magic\n.5\n"
    assert trouble_in_build(SPEC, {"requirements.txt": text.replace(b".5\n", b"")}, []) == ""


async def test_a_lock_without_uv_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    files = {"uv.lock": b"", "pyproject.toml": b""}

    async def say(what: str) -> None:
        raise AssertionError(what)

    with pytest.raises(BadInput, match=r"environment\.lock needs uv, which is not on PATH here"):
        await build_environment(EnvironmentSpec(lock="uv.lock"), files, tmp_path, say)


async def test_every_user_may_read_what_is_built_whatever_the_umask_is(wheels: Path, tmp_path: Path) -> None:
    async def say(what: str) -> None:
        return None

    old = os.umask(0o077)
    try:
        files = {"requirements.txt": listed(wheels, "tinywheel<2").encode()}
        interpreter, _ = await build_environment(SPEC, files, tmp_path / "new" / "environments", say)
    finally:
        os.umask(old)
    [module] = Path(interpreter.prefix).rglob("tinywheel.py")
    above = [path for path in module.parents if path.is_relative_to(interpreter.prefix)]
    assert [path for path in above if path.stat().st_mode & 0o055 != 0o055] == []
    assert module.stat().st_mode & 0o044 == 0o044
    if os.geteuid() == 0:
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o755

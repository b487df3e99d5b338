"""Builds the environment of a task from its `requirements.txt` or `uv.lock`: once per machine and contents, then kept.

Packages come as wheels alone, so that nothing of them runs while they are installed. The network is used here and
nowhere else. An environment is built in a folder of its own, to which a link then points: a build that is killed leaves
a folder without a link, which the next build deletes. A lock lets one process build at a time.
"""

import fcntl
import hashlib
import os
import platform
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path, PurePosixPath

import anyio
import anyio.to_thread

from mesh import settings
from mesh.errors import BadInput
from mesh.file_trees import delete
from mesh.interpreter import Interpreter, find_interpreter
from mesh.spec import EnvironmentSpec

BUILD_WITHIN_S = 3600.0
_LOOK_AGAIN_S = 0.2
_LAST_LINES, _MOST_WORDS = 3, 600
_ASIDE = ("WARNING:", "DEPRECATION:", "warning:", "[notice]")
_VERSIONS = re.compile(r" \(from versions: [^()]*\)")
_REFERS = re.compile(rb"^\s*(?:-r|-c|--requirement|--constraint)[ =]\s*(\S+)", re.MULTILINE)
_OF_THE_TASK = re.compile(rb"^\s*(?:-e\b|--editable\b|\.{1,2}(?:/?\s*$|/(?!.*\.whl))|file:)", re.MULTILINE)
_PIP = """
import glob, os, runpy, subprocess, sys, sysconfig
target, *words = sys.argv[1:]
recent = "import pip, sys; sys.exit(tuple(map(int, pip.__version__.split('.')[:2])) < (22, 3))"
for program in (sys.executable, os.path.join(sys.base_prefix, "bin", "python3")):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if os.path.exists(program) and subprocess.run([program, "-c", recent], **quiet).returncode == 0:
        os.execv(program, [program, "-m", "pip", "--python", target, *words])
import ensurepip
folders = [os.path.join(os.path.dirname(ensurepip.__file__), "_bundled"), "/usr/share/python-wheels"]
folders.append(sysconfig.get_config_var("WHEEL_PKG_DIR") or folders[0])
wheel = [wheel for folder in folders for wheel in glob.glob(os.path.join(folder, "pip-*.whl"))][0]
os.execv(target, [target, os.path.join(wheel, "pip"), *words])
"""
"""Runs the pip of an interpreter for an environment that was made with it, which needs no pip of its own.

Without one it runs the pip that every interpreter carries for its environments, which is slower: it is in an archive.
"""

_TIED = """
import os, signal, subprocess, sys, threading
def watch():
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
sys.exit(subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL).returncode)
"""
"""Runs a command, and ends its whole process group when the process that started it is gone: pip starts another pip."""

Say = Callable[[str], Awaitable[object]]


def trouble_in_build(spec: EnvironmentSpec, files: Mapping[str, bytes], editable: Sequence[str]) -> str:
    """Return why an environment cannot be built from these files of an arena, "" if nothing is known against it."""
    if spec.requirements and spec.lock:
        return "environment.requirements and environment.lock exclude each other: take one of them out"
    what, name = ("requirements", spec.requirements) if spec.requirements else ("lock", spec.lock)
    if not name:
        return ""
    if name not in files:
        return f"environment.{what}: {name!r} is not a file of the arena: give its path inside of the arena"
    if spec.lock and PurePosixPath(name).name != "uv.lock":
        return f"environment.lock: {name!r} is not a uv.lock: name a list of packages in environment.requirements"
    if spec.lock and str(PurePosixPath(name).with_name("pyproject.toml")) not in files:
        return f"environment.lock: {name!r} needs its pyproject.toml beside it"
    sources = _sources(spec, files)
    if own := sorted(set(sources).intersection(editable)):
        return f"environment.{what}: proposals may change {own[0]!r}: take it off artifact.editable"
    for path, data in sources.items():
        if spec.requirements and (found := _OF_THE_TASK.search(data)):
            line = data[found.start() :].strip().split(b"\n")[0].decode(errors="replace")
            return f"environment.{what}: {path} has {line[:80]!r}, which changes with proposals: list packages alone"
    return ""


async def find_task_interpreter(spec: EnvironmentSpec, files: Mapping[str, bytes], say: Say) -> Interpreter | None:
    """Return the interpreter of a task, None for our own; it is built where it is not there.

    Raises:
        BadInput: it is not there, or cannot be built.
    """
    if spec.requirements or spec.lock:
        return (await build_environment(spec, files, settings.environments_dir(), say))[0]
    return await anyio.to_thread.run_sync(find_interpreter, spec.python) if spec.python else None


async def build_environment(
    spec: EnvironmentSpec, files: Mapping[str, bytes], cache: Path, say: Say
) -> tuple[Interpreter, str]:
    """Return the interpreter of a built environment and the hash of its sources; build it if it is not there.

    Args:
        spec: the arena's `[environment]`, with requirements or a lock.
        files: the arena's files.
        cache: the folder that keeps environments.
        say: tells people that a build begins.

    Raises:
        BadInput: it cannot be built; the last lines of the installer say why.
    """
    if why := trouble_in_build(spec, files, ()):
        raise BadInput(why)
    base = await anyio.to_thread.run_sync(find_interpreter, spec.python or sys.executable)
    total = hashlib.sha256(f"{bool(spec.lock)} {base.version} {platform.platform()} {base.prefix}".encode())
    wheels = {name: data for name, data in files.items() if name.endswith(".whl")}
    for name, data in sorted((_sources(spec, files) | wheels).items()):
        total.update(f"{len(name)} {name} {len(data)} ".encode() + data)
    key = total.hexdigest()[:16]
    try:
        _make_readable(cache)
        async with _locked(cache / f"{key}.lock"):
            link = cache / key
            if not os.access(link / "bin" / "python", os.X_OK):
                await _build(spec, files, base, link, say)
            place = link.resolve()
    except OSError as error:
        raise BadInput(f"the environment of the task cannot be built in {cache}: {error.strerror}") from None
    return await anyio.to_thread.run_sync(find_interpreter, str(place)), key


def _make_readable(folder: Path) -> None:
    """Make a folder; new ones of root can be entered by the users of trials, whatever umask it has."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        for path in new:
            path.chmod(0o755)


def _sources(spec: EnvironmentSpec, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files that say what is installed: the one that is named, and those that it refers to."""
    first = spec.requirements or spec.lock
    waiting, found = [first], dict[str, bytes]()
    if spec.lock:
        waiting.append(str(PurePosixPath(first).with_name("pyproject.toml")))
    while waiting:
        name = os.path.normpath(waiting.pop())
        if name in files and name not in found:
            found[name] = files[name]
            others = _REFERS.findall(files[name]) if spec.requirements else []
            waiting += [str(PurePosixPath(name).parent / each.decode(errors="replace")) for each in others]
    return found


async def _build(spec: EnvironmentSpec, files: Mapping[str, bytes], base: Interpreter, link: Path, say: Say) -> None:
    """Build the environment that a link will lead to; the caller has its lock."""
    for left in link.parent.glob(f"{link.name}-*"):
        await anyio.to_thread.run_sync(delete, left)
    folder = link.with_name(f"{link.name}-{secrets.token_hex(4)}")
    source = folder / "source"
    python, uv = str(folder / "bin" / "python"), shutil.which("uv")
    if spec.lock and not uv:
        raise BadInput(
            "environment.lock needs uv, which is not on PATH here: install uv, or write the list of packages with "
            "`uv export --format requirements-txt` and name it in environment.requirements"
        )
    name = spec.requirements or spec.lock
    await say(f"builds the environment of the task from {name} ({'uv' if uv else 'pip'}, Python {base.version})")
    _make_readable(folder)
    for path, data in files.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(data)
    inside = (source / name).parent
    wanted = "uv-exported.txt" if spec.lock else (source / name).name
    if uv:
        steps = [[uv, "venv", "--quiet", "--no-project", "--allow-existing", "--python", base.python, str(folder)]]
        if spec.lock:
            steps.append([uv, "export", "--quiet", "--frozen", "--no-emit-project", "--no-dev", "-o", wanted])
        steps.append(
            [uv, "pip", "install", "--quiet", "--no-build", "--compile-bytecode", "--python", python, "-r", wanted]
        )
    else:
        pip = [base.python, "-c", _PIP, python, "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        steps = [
            [base.python, "-m", "venv", "--without-pip", str(folder)],
            [*pip, "--only-binary", ":all:", "-r", wanted],
        ]
    try:
        for step in steps:
            await _run(step, inside, name)
        await anyio.to_thread.run_sync(delete, source)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(delete, folder)
        raise
    beside = link.with_name(f".{folder.name}")
    beside.symlink_to(folder.name)
    beside.replace(link)


async def _run(step: Sequence[str], folder: Path, name: str) -> None:
    """Run a step of a build.

    Raises:
        BadInput: it failed, or took too long.
    """
    without = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "UV_PROJECT_ENVIRONMENT")
    env = {k: v for k, v in os.environ.items() if k not in without and not k.startswith("MESH_")}
    program = "uv" if os.path.basename(step[0]) == "uv" else "pip" if _PIP in step else "venv"
    try:
        with anyio.fail_after(BUILD_WITHIN_S):
            returncode, output = await _tied(step, folder, env)
    except TimeoutError:
        raise BadInput(f"the environment of the task was not built from {name} within {BUILD_WITHIN_S:g} s") from None
    if returncode:
        why = _reason(output.decode(errors="replace")) or f"exit code {returncode}"
        raise BadInput(f"the environment of the task cannot be built from {name}: {program} says: {why}")


async def _tied(step: Sequence[str], folder: Path, env: Mapping[str, str]) -> tuple[int, bytes]:
    """Run a command that does not outlive us, nor do its children; return its exit code and output."""
    async with await anyio.open_process(
        [sys.executable, "-I", "-S", "-c", _TIED, *step],
        cwd=folder,
        env=env,
        stdin=subprocess.PIPE,  # the kernel closes it when we end, however we end
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        umask=0o022,  # trials may run as another user
    ) as process:
        assert process.stdout
        try:
            output = b"".join([part async for part in process.stdout])
            return await process.wait(), output
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _reason(text: str) -> str:
    """Return why an installer failed: its last lines, without warnings and the list of all versions there are."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(_ASIDE)] or lines
    return _VERSIONS.sub("", "; ".join(lines[-_LAST_LINES:]))[-_MOST_WORDS:]


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    """Hold a lock between processes, which the kernel takes back when its process dies."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await anyio.sleep(_LOOK_AGAIN_S)
        yield
    finally:
        os.close(lock)

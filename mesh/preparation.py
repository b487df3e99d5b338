"""Runs the command that makes an arena's data, which may take hours, and says why it failed.

What it prints is kept whole in a file. The reason is the error at the end of its last traceback, not the line that
happens to be printed last: libraries print more while a process ends.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import anyio

from mesh.built_environment import find_task_interpreter
from mesh.data_source import DataSource
from mesh.errors import BadArena, BadInput
from mesh.file_trees import open_folder, walk
from mesh.frozen_data import PREPARED
from mesh.hidden_files import is_hidden
from mesh.plain_command import plain_command
from mesh.spec import ArenaSpec

PREPARE_WITHIN_S = 600.0
TELL_EVERY_S = 30.0
"""Seconds between two lines that say how far `prepare` is."""
_READS_PER_S = 10_000_000
"""Bytes of the source for each of which `prepare` gets a second more."""
_MAX_LOG_READ = 1024**2
_RAISED = re.compile(
    r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Warning|NotFound|Timeout|Expired)\b.*"
)
_COMPLAINS = re.compile(r"\b(?:error|fatal|failed|cannot|not found|no such file|denied|killed)\b", re.IGNORECASE)
_ERRORS = "\n--- standard error ---\n"


NO_FILES: Mapping[str, bytes] = {}


async def run_prepare(
    spec: ArenaSpec,
    folder: Path,
    out: Path,
    source: DataSource | None,
    log: Path,
    files: Mapping[str, bytes] = NO_FILES,
) -> None:
    """Run `artifact.prepare` and keep what it prints in `log`.

    Args:
        spec: the arena, with the command, its limit and its environment.
        folder: a copy of the arena, in which it runs.
        out: where it writes the data.
        source: the owner's data, None if it has none.
        log: the file that gets its output, then its errors.
        files: the arena's files, from which an environment may have to be built.

    Raises:
        BadArena: it cannot be run, ends with an error, or takes too long.
    """
    command = spec.artifact.prepare
    try:
        own = await find_task_interpreter(spec.environment, files, _say)
    except BadInput as error:
        raise BadArena(str(error)) from None
    within_s = spec.artifact.prepare_hours * 3600 or PREPARE_WITHIN_S + (source.size // _READS_PER_S if source else 0)
    kept: tuple[str, ...] = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "HOME", "TMPDIR")
    kept += tuple(name for name in spec.environment.variables if name not in (*spec.environment.keys, spec.judge.key))
    env = {k: os.environ[k] for k in kept if k in os.environ} | {"MESH_OUT": str(out), "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"MESH_SOURCE": str(source.path)} if source else {}
    env |= {"PYTHONUNBUFFERED": "1"}
    env |= {"PATH": os.pathsep.join((own.programs, env.get("PATH", os.defpath)))} if own else {}
    log.parent.mkdir(parents=True, exist_ok=True)
    errors = folder.parent / "errors"
    with log.open("wb") as printed, errors.open("wb") as complained:
        try:
            child = await anyio.open_process(
                plain_command(command, own.python if own else sys.executable),
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=complained,
                start_new_session=True,
            )
        except OSError as error:
            raise BadArena(f"artifact.prepare {command[0]!r} cannot be run: {error.strerror}") from None
        too_long = False
        async with child:
            try:
                with anyio.fail_after(within_s):
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(_tell, log, errors)
                        code = await child.wait()
                        tasks.cancel_scope.cancel()
            except TimeoutError:
                too_long, code = True, None
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                with anyio.CancelScope(shield=True):
                    await child.wait()
                with log.open("ab") as whole:
                    if errors.stat().st_size:
                        whole.write(_ERRORS.encode() + errors.read_bytes())
    if too_long:
        raise BadArena(
            f"artifact.prepare did not end within {within_s:g} s: make less data, or set artifact.prepare_hours "
            f"(its whole output: {log})"
        )
    if code != 0:
        cause = cause_of(_end_of(errors), _end_of(log).partition(_ERRORS)[0])
        if source is None and cause == "KeyError: 'MESH_SOURCE'":
            raise BadArena("artifact.prepare reads MESH_SOURCE, but no source is named: give --data or set data.source")
        raise BadArena(f"artifact.prepare {_how(code)}: {cause or 'no output'} (its whole output: {log})")


def cause_of(errors: str, printed: str = "") -> str:
    """Return the line that says why a process failed, "" if it printed nothing.

    It is the error at the end of the last traceback, else the last line with a word such as `error`, else the last one.

    Args:
        errors: what it wrote to standard error.
        printed: what it wrote to standard output.
    """
    for text in (errors, printed):
        lines = [line.rstrip() for line in text.splitlines()]
        begins = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last):")]
        for begin in reversed(begins):
            for line in lines[begin + 1 :]:
                if line and not line[0].isspace():  # the first line that is not indented ends a traceback
                    return " ".join(line.split())[:500]
    for text in (errors, printed):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        for pattern in (_RAISED, _COMPLAINS, re.compile(".")):
            if found := [line for line in lines if pattern.search(line)]:
                return " ".join(found[-1].split())[:500]
    return ""


def keep_prepared(patterns: Sequence[str], folder: Path, files: Collection[str], out: Path) -> None:
    """Move the files that `prepare` wrote beside itself to the public data, as far as `artifact.prepared` names them.

    Args:
        patterns: `artifact.prepared`.
        folder: the copy of the arena in which it ran.
        files: names of the arena's own files, the hidden ones too.
        out: the folder of the data.

    Raises:
        BadArena: one of them is a link.
        OSError: this machine cannot.
    """
    if not patterns:
        return
    found: list[str] = []
    top = open_folder(folder)
    try:
        for below, _, entries in walk(top):
            entries[:] = [entry for entry in entries if entry.name != "__pycache__"]
            for entry in entries:
                name = below + entry.name
                if entry.is_dir(follow_symlinks=False) or name in files or not is_hidden(patterns, name):
                    continue
                if not entry.is_file(follow_symlinks=False):
                    raise BadArena(
                        f"artifact.prepare wrote {name!r}, which is no regular file: leave it out of prepared"
                    )
                found.append(name)
    finally:
        os.close(top)
    for name in found:
        target = out / "public" / PREPARED / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (folder / name).replace(target)


async def _tell(log: Path, errors: Path) -> None:
    """Say from time to time that `prepare` still runs, and its last line."""
    began = time.monotonic()
    while True:
        await anyio.sleep(TELL_EVERY_S)
        lines = [line for path in (log, errors) for line in re.split(r"[\r\n]+", _end_of(path, 4096)) if line.strip()]
        last = f": {' '.join(lines[-1].split())[:120]}" if lines else ""
        sys.stderr.write(f"mesh: artifact.prepare has run for {time.monotonic() - began:.0f} s{last}\n")


def _end_of(path: Path, size: int = _MAX_LOG_READ) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _how(code: int | None) -> str:
    return (
        f"was ended by {signal.Signals(-code).name}"
        if code is not None and code < 0
        else f"ended with exit code {code}"
    )


async def _say(what: str) -> None:
    sys.stderr.write(f"mesh: {what}\n")

"""Opens an arena: commits its code as the base commit, prepares and freezes its data, and posts `arena.opened`.

An arena that is open and unchanged stays as it is. A changed or closed arena gets its next version, and so does one
whose baseline failed: it is measured again.
"""

import datetime as dt
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.to_thread
from msgspec.structs import replace

from mesh import arena, data_source, foreign_tasks, frozen_data, hidden_files, leak_audit, settings
from mesh.arena_files import read_files
from mesh.baseline import baseline_failure
from mesh.bus import ArenaBus, Hub
from mesh.code import CodeStore
from mesh.errors import AlreadyPosted, BadArena, HostTrouble
from mesh.events import ArenaOpened
from mesh.follow import Follower, post_once
from mesh.private_folder import private_folder, sweep_private
from mesh.readable import audited_paths
from mesh.spec import ArenaSpec
from mesh.wire import Post

PREPARE_WITHIN_S = 600
_MAX_SOURCE_FILES = 64
_READS_PER_S = 10_000_000
"""Bytes of the source for each of which `prepare` gets a second more."""
_MAX_CONFIG_BYTES = 256 * 1024
"""Bytes of a foreign configuration; parsing YAML takes a second for each half megabyte."""


def describe(folder: Path) -> str:
    """Write an `arena.toml` for a task of another system; return what was done, '' if nothing was.

    Raises:
        BadArena: the task's own configuration cannot be read, or the file cannot be written.
    """
    path = folder / "arena.toml"
    if path.exists() or not folder.is_dir():
        return ""
    try:
        names = [entry.name for entry in folder.iterdir() if entry.is_file()]
        config = folder / foreign_tasks.CONFIG
        text = _text_of(config) if config.is_file() else ""
        layout = foreign_tasks.recognise(folder.resolve().name, names, text)
        if layout is None:
            return ""
        path.write_text(layout.toml, encoding="utf-8")
    except ValueError as error:
        raise BadArena(f"{folder}: {error}") from None
    except OSError as error:
        raise BadArena(f"{path} cannot be written: {error.strerror}") from None
    return f"{folder} is a task of {layout.system}: wrote {path}, in which you can change its budget and other limits"


def _text_of(path: Path) -> str:
    """Return the text of a small file; raises ValueError if it is none."""
    with path.open("rb") as file:
        data = file.read(_MAX_CONFIG_BYTES + 1)
    if len(data) > _MAX_CONFIG_BYTES:
        raise ValueError(f"{path.name} has more than {_MAX_CONFIG_BYTES:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is not UTF-8 text") from None


def exactly(spec: ArenaSpec) -> str:
    """Return in one sentence what opening an arena with an exact metric means."""
    metric = spec.objective.metric
    return (
        f"--no-confirm treats {metric} as exact: the first better score is promoted, without a confirmation run on "
        "another seed"
    )


async def open_arena(
    hub: Hub,
    folder: Path,
    *,
    home: Path,
    author: str = "operator",
    exact: bool = False,
    data: Path | None = None,
) -> tuple[ArenaBus, ArenaOpened]:
    """Open the arena in `folder`; return its bus and the `arena.opened` in force.

    Args:
        hub: the server.
        folder: the arena, with its `arena.toml`.
        home: folder of caches.
        author: name of the person who opens it.
        exact: treat the metric as free of noise, whatever `arena.toml` says.
        data: the source of the data, which wins over `data.source`; None if it was not given.

    Raises:
        BadArena: the folder cannot be used, or its `prepare` fails.
        BusError: the log cannot be reached.
        HostTrouble: this machine cannot store the data.
    """
    private = settings.private_dir(home)
    await anyio.to_thread.run_sync(sweep_private, private)
    spec = arena.load_arena(folder)
    if exact:
        spec = replace(spec, objective=replace(spec.objective, noise="none"))
    files = read_files(folder, spec.artifact.hidden)
    shown, hidden = hidden_files.split_hidden(spec.artifact.hidden, files)
    source = await anyio.to_thread.run_sync(data_source.find_source, folder, spec.data.source, data, shown)
    if source:
        if not spec.artifact.prepare:
            raise BadArena(f"--data {data} needs artifact.prepare in {folder / 'arena.toml'}, which reads the source")
        digest = await anyio.to_thread.run_sync(data_source.digest_of, source, settings.sources_dir(home))
        hidden[data_source.MARK] = digest.encode()
        spec = replace(spec, data=replace(spec.data, source=source.path.name))  # where it lies is nobody's business
    bus = await hub.arena(spec.name, create=True)
    code = CodeStore(settings.code_dir(home, spec.name), bus)
    follower = Follower(bus, snapshot=settings.snapshot_file(home, spec.name))
    await follower.catch_up()
    last, closed = follower.board.opened, follower.board.closed
    tree, evaluator = code.tree_of(shown), arena.evaluator_hash(spec, shown | hidden)
    failed = baseline_failure(follower.board) is not None
    if last and not closed and not failed and (last.base_tree, last.evaluator, last.spec) == (tree, evaluator, spec):
        return bus, last
    if last and last.evaluator == evaluator:
        frozen = last.data
    else:
        frozen = await _prepare(spec, files, hidden, source, bus, private)
    if last and last.base_tree == tree:
        commit = last.base_commit
    else:
        parents = [last.base_commit] if last and code.has(last.base_commit) else []
        made = code.commit(
            shown,
            parents=parents,
            message=f"{spec.name}: the artifact as it is\n\n{spec.summary}\n",
            author=author,
            at=dt.datetime.now(dt.UTC),
        )
        commit = made.commit
        await code.push(commit)
    opened = ArenaOpened(
        version=follower.board.next_version,
        spec=spec,
        base_commit=commit,
        base_tree=tree,
        evaluator=evaluator,
        data=frozen,
        reason="reopened" if closed else "the baseline has no score" if failed else "changed" if last else "",
    )
    try:
        await post_once(bus, follower.board, Post.new(author, opened))
    except AlreadyPosted:
        await follower.catch_up()
        if follower.board.opened is not None:
            return bus, follower.board.opened
        raise
    return bus, opened


async def _prepare(
    spec: ArenaSpec,
    files: dict[str, bytes],
    hidden: dict[str, bytes],
    source: data_source.DataSource | None,
    bus: ArenaBus,
    private: Path,
) -> str:
    if not spec.artifact.prepare and not hidden:
        return ""
    try:
        with private_folder(private) as made:
            folder, out = made / "arena", made / "out"
            out.mkdir()
            for path, body in files.items():
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(body)
            if spec.artifact.prepare:
                await _run_prepare(spec.artifact.prepare, folder, out, source)
            if source:
                await anyio.to_thread.run_sync(data_source.check_unchanged, source)
            if spec.data.leak_audit != "off":
                await anyio.to_thread.run_sync(_look_for_leaks, spec, files, hidden, source, out)
            return await frozen_data.freeze(out, bus, hidden)
    except OSError as error:
        raise HostTrouble(f"the data of the arena cannot be prepared in {private}: {error.strerror}") from None


def _look_for_leaks(
    spec: ArenaSpec,
    files: dict[str, bytes],
    hidden: dict[str, bytes],
    source: data_source.DataSource | None,
    out: Path,
) -> None:
    """Refuse or warn of an arena whose private data trials can read elsewhere."""
    made = {path.relative_to(out).as_posix(): path for path in sorted(out.rglob("*")) if path.is_file()}
    public = {name: path for name, path in made.items() if name.startswith("public/")}
    private = {name: path for name, path in made.items() if name.startswith("private/")}
    asked = leak_audit.questions(public, private)
    derived: dict[str, Path | bytes] = {name: public[name] for name in asked}
    if source:
        for name, _ in source.files[:_MAX_SOURCE_FILES]:
            derived[f"the source {source.path / name}"] = source.path / name
    secrets = leak_audit.Secrets({**private, **{n: d for n, d in hidden.items() if n != data_source.MARK}}, derived)
    own = {name: data for name, data in files.items() if name not in hidden}
    readable = {name: path for name, path in public.items() if name not in asked}
    found = leak_audit.audit(secrets, {**own, **readable}, settings.leak_index_file(), roots=audited_paths())
    if found.looked_bytes < found.total_bytes:
        looked, total = found.looked_bytes / 1e6, found.total_bytes / 1e6
        sys.stderr.write(
            f"mesh: the leak audit looked through {looked:,.0f} of {total:,.0f} MB of what it found on this machine\n"
        )
    if found.leaks and spec.data.leak_audit == "refuse":
        first, more = found.leaks[0], len(found.leaks) - 1
        raise BadArena(
            f'{first}: make the private data from what is on no worker\'s disk, or set data.leak_audit to "warn"'
            + (f" ({more} more such)" if more else "")
        )
    for leak in found.leaks:
        sys.stderr.write(f"mesh: {leak}\n")


async def _run_prepare(
    command: tuple[str, ...], folder: Path, out: Path, source: data_source.DataSource | None
) -> None:
    within_s = PREPARE_WITHIN_S + (source.size // _READS_PER_S if source else 0)
    program = sys.executable if command[0] == "python" else command[0]
    kept = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "HOME", "TMPDIR")
    env = {k: os.environ[k] for k in kept if k in os.environ} | {"MESH_OUT": str(out), "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"MESH_SOURCE": str(source.path)} if source else {}
    log = folder.parent / "log"
    try:
        with log.open("wb") as output:
            child = await anyio.open_process(
                [program, *command[1:]],
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise BadArena(f"artifact.prepare {command[0]!r} cannot be run: {error.strerror}") from None
    async with child:
        try:
            with anyio.fail_after(within_s):
                code = await child.wait()
        except TimeoutError:
            raise BadArena(f"artifact.prepare did not end within {within_s} s: make less data") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    if code != 0:
        last = log.read_bytes()[-2000:].decode(errors="replace").strip().splitlines()
        if source is None and last and last[-1] == "KeyError: 'MESH_SOURCE'":
            raise BadArena("artifact.prepare reads MESH_SOURCE, but no source is named: give --data or set data.source")
        raise BadArena(f"artifact.prepare ended with exit code {code}: {last[-1] if last else 'no output'}")

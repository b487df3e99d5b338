"""Opens an arena: commits its code as the base commit, prepares and freezes its data, and posts `arena.opened`.

An arena that is open and unchanged stays as it is. A changed or closed arena gets its next version, and so does one
whose baseline failed: it is measured again.
"""

import datetime as dt
import re
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.to_thread
from msgspec.structs import replace

from mesh import arena, data_source, frozen_data, hidden_files, leak_audit, settings
from mesh.arena_changes import arena_changes, stray_words
from mesh.arena_commands import elsewhere_words, environment_words, rights_words, spec_folders
from mesh.arena_files import read_arena
from mesh.baseline import baseline_failure
from mesh.board import Board
from mesh.built_environment import trouble_in_build
from mesh.bus import ArenaBus, Hub
from mesh.code import CodeStore
from mesh.editable_paths import editable_paths
from mesh.errors import AlreadyPosted, BadArena, HostTrouble, UnknownName
from mesh.events import ArenaOpened, CritiquePosted
from mesh.folder_report import folder_lines
from mesh.folder_rules import words_of_commands
from mesh.follow import Follower, post_once
from mesh.foreign_folder import free_name, origin, remember
from mesh.git_tree import add_tree
from mesh.grants import grant_at_opening
from mesh.judge_rules import ModelPrice, judge_words, priced
from mesh.knobs import range_faults, unmatched_rules
from mesh.machine_memory import memory_gb
from mesh.named_files import score_inputs
from mesh.preparation import keep_prepared, run_prepare
from mesh.private_folder import private_folder, sweep_private
from mesh.readable import audited_paths
from mesh.rule_breaches import breaches, meaning_lines
from mesh.ruling_out import FIXED, reinstated
from mesh.spec import ArenaSpec
from mesh.stated_costs import BY_RESERVE
from mesh.stray_files import keep_strays
from mesh.version_rules import VersionRules
from mesh.wire import Post

_MAX_SOURCE_FILES = 64
_ALIKE_BYTES = 12
_USUAL = re.compile(
    rb"^(import|from|#|except|def evaluate|if __name__)|spec_from_file|module_from_spec|exec_module|add_argument"
)


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
    logs: Path | None = None,
    price_of: ModelPrice | None = None,
) -> tuple[ArenaBus, ArenaOpened]:
    """Open the arena in `folder`; return its bus and the `arena.opened` in force.

    Args:
        hub: the server.
        folder: the arena, with its `arena.toml`.
        home: folder of caches.
        author: name of the person who opens it.
        exact: treat the metric as free of noise, whatever `arena.toml` says.
        data: the source of the data, which wins over `data.source`; None if it was not given.
        logs: the home that keeps what `prepare` prints; by default `home`.
        price_of: finds the prices of the models of `[judge]` that name none; None finds none.

    Raises:
        BadArena: the folder cannot be used, or its `prepare` fails.
        BusError: the log cannot be reached.
        HostTrouble: this machine cannot store the data.
    """
    await anyio.to_thread.run_sync(sweep_private, settings.private_dir(home))
    spec = await anyio.to_thread.run_sync(arena.load_arena, folder)
    spec = replace(spec, judge=await anyio.to_thread.run_sync(priced, folder, spec.judge, price_of))
    own = spec.environment
    for words in (environment_words(own), elsewhere_words(own), rights_words(spec), judge_words(spec)):
        if words:
            sys.stderr.write(f"mesh: {words}\n")
    if exact:
        spec = replace(spec, objective=replace(spec.objective, noise="none"))
    read = await anyio.to_thread.run_sync(read_arena, folder, spec, data)
    files = read.files
    editable = editable_paths(spec, files)
    if why := trouble_in_build(spec.environment, files, editable):
        raise BadArena(f"{folder / 'arena.toml'}: {why}")
    if faults := range_faults(files, editable, spec.knobs):
        raise BadArena(f"{folder}: {faults[0]}")
    if unmatched := unmatched_rules(files, editable, spec.knobs):
        more = f" (and {len(unmatched) - 1} more such names)" if unmatched[1:] else ""
        sys.stderr.write(f"mesh: warning: {folder}: {unmatched[0]}{more}\n")
    shown, hidden = hidden_files.split_hidden(spec.artifact.hidden, files)
    source = await anyio.to_thread.run_sync(data_source.find_source, folder, spec.data.source, data, shown)
    if source:
        if not spec.artifact.prepare:
            raise BadArena(f"--data {data} needs artifact.prepare in {folder / 'arena.toml'}, which reads the source")
        digest = await anyio.to_thread.run_sync(data_source.digest_of, source, settings.sources_dir(home))
        hidden[data_source.MARK] = digest.encode()
        spec = replace(spec, data=replace(spec.data, source=source.path.name))  # where it lies is nobody's business
    board = await _board(hub, spec.name, home)
    last, closed = board.opened, board.closed
    for line in folder_lines(read):
        sys.stderr.write(f"mesh: {line}\n")
    tree, evaluator = add_tree(shown, {}), arena.evaluator_hash(spec, shown | hidden)
    before = shown
    if last and last.base_tree != tree:
        before = await CodeStore(settings.code_dir(home, spec.name), await hub.arena(spec.name)).files(last.base_commit)
        _check_related(spec, folder, home, shown, before)
        ours = {*editable, *editable_paths(spec, before)}
        shown, strays = keep_strays(before, shown, spec, ours)
        if strays:
            sys.stderr.write(f"mesh: {stray_words(before, read.files, strays)}\n")
            tree, evaluator = add_tree(shown, {}), arena.evaluator_hash(spec, shown | hidden)
    _tell_of_memory(spec)
    failed = baseline_failure(board) is not None
    is_same = bool(last) and _inputs(spec, before) == _inputs(spec, shown)
    if last and is_same and not closed and not failed and (last.evaluator, last.spec) == (evaluator, spec):
        remember(home, spec.name, folder)
        bus = await hub.arena(spec.name)
        await _grant(bus, spec, home, author)
        return bus, last
    if last and last.evaluator == evaluator:
        bus, frozen = await hub.arena(spec.name), last.data
    else:
        async with _prepared(spec, files, hidden, source, home, logs or home) as out:  # there is no log before
            bus = await hub.arena(spec.name, create=True)
            frozen = await _frozen(out, bus, hidden)
    remember(home, spec.name, folder)
    code = CodeStore(settings.code_dir(home, spec.name), bus)
    follower = Follower(bus, snapshot=settings.snapshot_file(home, spec.name))
    await follower.catch_up()
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
    changed, version = "", follower.board.next_version
    if last and not closed and not failed:
        is_evaluator_new = last.evaluator != evaluator
        changed = arena_changes(before, shown, last.spec, spec, is_evaluator_new=is_evaluator_new)
        scores = "scores are measured again" if is_evaluator_new else f"scores of version {last.version} still count"
        sys.stderr.write(f"mesh: version {version} of {spec.name}: {changed}; {scores}\n")
    rules = VersionRules(version, spec, shown)
    opened = ArenaOpened(
        version=version,
        spec=spec,
        base_commit=commit,
        base_tree=tree,
        evaluator=evaluator,
        data=frozen,
        reason="reopened"
        if closed
        else "the baseline has no score"
        if failed
        else f"changed: {changed}"
        if last
        else "",
        ruled_out=await breaches(follower.board, rules, code, tree),
        rules=BY_RESERVE,
    )
    known, champion = follower.board.seq, follower.board.champion
    try:
        await post_once(bus, follower.board, Post.new(author, opened))
    except AlreadyPosted:
        await follower.catch_up()
        if follower.board.opened is not None:
            return bus, follower.board.opened
        raise
    await follower.catch_up()
    await _settle(bus, follower.board, code, rules, author, known, champion)
    await grant_at_opening(bus, follower, author=author)
    return bus, opened


async def _settle(
    bus: ArenaBus, board: Board, code: CodeStore, rules: VersionRules, author: str, known: int, champion: str
) -> None:
    """Rule out what others proposed while the version was opened, after entry `known`; say what the version means.

    `champion` is that of the version before.
    """
    assert board.opened is not None
    for line in meaning_lines(board, champion):
        sys.stderr.write(f"mesh: {line}\n")
    late = {tree for tree, proposal in board.proposals.items() if proposal.seq > known}
    for group in await breaches(board, rules, code, board.opened.base_tree, only=late) if late else ():
        for tree in group.proposals:
            block = CritiquePosted(target=tree, verdict="block", rule=FIXED, text=group.text, confidence=1.0)
            await _post_anyway(bus, board, Post.new(author, block))
    if again := reinstated(board):
        await _post_anyway(bus, board, Post.new(author, again))


async def _post_anyway(bus: ArenaBus, board: Board, post: Post) -> None:
    """Post a fact, or find that somebody has posted it."""
    with suppress(AlreadyPosted):
        await post_once(bus, board, post)


async def _grant(bus: ArenaBus, spec: ArenaSpec, home: Path, author: str) -> None:
    """Grant what `[stop] usd` says beyond earlier grants, for an arena that stays as it is."""
    if spec.stop.usd:
        follower = Follower(bus, snapshot=settings.snapshot_file(home, spec.name))
        await follower.catch_up()
        await grant_at_opening(bus, follower, author=author)


async def _board(hub: Hub, name: str, home: Path) -> Board:
    """Return what is known of an arena, an empty board where it has no log."""
    try:
        bus = await hub.arena(name)
    except UnknownName:
        return Board(arena=name)
    follower = Follower(bus, snapshot=settings.snapshot_file(home, name))
    await follower.catch_up()
    return follower.board


def _inputs(spec: ArenaSpec, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the visible files that a score may depend on: a change of others makes no version."""
    return score_inputs(files, editable_paths(spec, files), spec.artifact.hidden, words_of_commands(spec))


def _tell_of_memory(spec: ArenaSpec) -> None:
    """Say that this machine has less memory than a trial may use."""
    total_gb = memory_gb()
    if spec.trial.memory_gb > total_gb:
        sys.stderr.write(
            f"mesh: trial.memory_gb is {spec.trial.memory_gb:g}, but this machine has {total_gb:.1f} GB: run workers "
            "on a larger machine, or lower memory_gb and what a trial needs\n"
        )


def _check_related(
    spec: ArenaSpec, folder: Path, home: Path, files: Mapping[str, bytes], before: Mapping[str, bytes]
) -> None:
    """Refuse to make a task the next version of an arena that it has nothing to do with.

    Raises:
        BadArena: it has not.
    """
    known = origin(home, spec.name)
    if is_related(spec.name, folder, home, files, before):
        return
    where = f", which was opened from {known}" if known else ""
    raise BadArena(
        f"{folder / 'arena.toml'}: arena.name is {spec.name!r}, the name of another arena{where}: "
        f"take another name, such as {free_name(folder, home)!r}"
    )


def is_related(name: str, folder: Path, home: Path, files: Mapping[str, bytes], before: Mapping[str, bytes]) -> bool:
    """Tell whether a folder may hold the next version of an arena.

    It may where it is the folder that the arena was opened from, or where a file or a third of the lines is the same.

    Args:
        name: the name of the arena.
        folder: the folder.
        home: folder of caches.
        files: the visible files of the folder.
        before: those of the version in force.
    """
    return origin(home, name) == str(folder.resolve()) or not _differ(files, before)


def _differ(files: Mapping[str, bytes], before: Mapping[str, bytes]) -> bool:
    """Tell whether two artifacts have no file and less than a third of the lines of the smaller one in common."""
    ours, theirs = (
        {data for name, data in each.items() if len(data) > _ALIKE_BYTES and name != "arena.toml"}
        for each in (files, before)
    )
    if not ours or not theirs or ours & theirs:
        return False
    known, other = ({line for data in each for line in _telling_lines(data)} for each in (ours, theirs))
    return len(known & other) < max(1, min(len(known), len(other)) / 3)


def _telling_lines(data: bytes) -> Iterator[bytes]:
    """Yield the lines of a file that say something about its task: without imports, comments and what loads a file."""
    for line in map(bytes.strip, data.splitlines()):
        if len(line) > _ALIKE_BYTES and not _USUAL.search(line):
            yield line


@asynccontextmanager
async def _prepared(
    spec: ArenaSpec,
    files: dict[str, bytes],
    hidden: dict[str, bytes],
    source: data_source.DataSource | None,
    home: Path,
    logs: Path,
) -> AsyncIterator[Path | None]:
    """Make the arena's data and yield their folder, None if it has none."""
    private = settings.private_dir(home)
    if not spec.artifact.prepare and not hidden:
        yield None
        return
    try:
        with private_folder(private) as made:
            folder, out = made / "arena", made / "out"
            out.mkdir()
            for path, body in files.items():
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(body)
            if spec.artifact.prepare:
                log = settings.prepare_log(logs, spec.name)
                await run_prepare(spec, folder, out, source, log, files)
                await anyio.to_thread.run_sync(keep_prepared, spec.artifact.prepared, folder, files, out)
            if source:
                await anyio.to_thread.run_sync(data_source.check_unchanged, source)
            if spec.data.leak_audit != "off":
                await anyio.to_thread.run_sync(_look_for_leaks, spec, files, hidden, source, out)
            yield out
    except OSError as error:
        raise HostTrouble(f"the data of the arena cannot be prepared in {private}: {error.strerror}") from None


async def _frozen(out: Path | None, bus: ArenaBus, hidden: dict[str, bytes]) -> str:
    return await frozen_data.freeze(out, bus, hidden) if out else ""


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
    roots = (*audited_paths(), *spec_folders(spec.environment))
    found = leak_audit.audit(secrets, {**own, **readable}, settings.leak_index_file(), roots=roots)
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

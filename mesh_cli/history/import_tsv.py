"""`mesh import`: the history in a `results.tsv` becomes a closed arena, so that views and commands work on it.

Every row is a proposal whose parent is the last that was kept before it, a run with the row's numbers, marked as
self-reported, and a verdict: a kept row is promoted, the others are retired. Keys derive from the rows alone, so that
importing again adds what is new and nothing else. The format does not say how long a run took nor which memory it
means: times are 0, and the memory stands for the process's and the GPU's.
"""

import datetime as dt
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from mesh import events as e
from mesh import settings
from mesh.agent.knob_values import knob_values
from mesh.board import Board
from mesh.bus import Hub
from mesh.code import CodeStore, Commit
from mesh.errors import BadInput
from mesh.spec import ArenaSpec, ArtifactSpec, ObjectiveSpec, ScoreSpec, TrialSpec
from mesh.wire import Post, check_token
from mesh_cli.connect import board_of
from mesh_cli.history.results_tsv import IMPORTED, METRIC, Row, imported, parse_tsv

AUTHOR = "autoresearch"
EDITABLE = ("train.py",)
"""The file that a proposal changes in karpathy/autoresearch."""
BUDGET_S, DEADLINE_S = 300.0, 600.0
"""The limits of a run in karpathy/autoresearch: five minutes, killed after ten."""
_UNKNOWN_TIME = dt.datetime.fromtimestamp(0, dt.UTC)


class Source(msgspec.Struct, frozen=True):
    """What to import; `name` defaults to the name of the folder, `metric` to the one in the header."""

    path: Path
    repository: Path | None = None
    name: str | None = None
    metric: str | None = None
    minimize: bool = True


class Imported(msgspec.Struct, frozen=True):
    """The arena, how many rows it has, how many of them are new, and how many commits the repository lacks."""

    arena: str
    rows: int
    new: int
    lacking: int


def read_rows(source: Source) -> tuple[str, list[Row]]:
    """Return the metric that the file names, and its rows.

    Raises:
        BadInput: it cannot be read, or a line is malformed.
    """
    try:
        data = source.path.read_bytes()
    except OSError as error:
        raise BadInput(f"{source.path} cannot be read: {error.strerror}") from None
    return parse_tsv(data, source.path.name)


async def import_results(hub: Hub, source: Source) -> Imported:
    """Import a file.

    Raises:
        BadInput: a line is malformed, the repository cannot be read, or the arena has another history.
    """
    header, rows = read_rows(source)
    spec = _spec(source, header)
    if spec.name in await hub.arenas():
        board = await board_of(await hub.arena(spec.name))
        _check(board, spec, rows)
        if board.closed and len(imported(board)) == len(rows):
            return Imported(spec.name, len(rows), 0, 0)
    bus = await hub.arena(spec.name, create=True)
    board = await board_of(bus)
    code = CodeStore(settings.code_dir(settings.home(), spec.name), bus)
    commits, lacking = await _commits(code, rows, source.repository)
    base = commits[rows[0].commit]
    if board.opened and board.opened.base_tree != base.code.tree:
        raise BadInput(f"arena {spec.name} was imported with other code; use the same --repo or another --name")
    await code.push(base.code.commit)
    for made in commits.values():
        await code.push(made.code.commit, base=base.code.commit)
    await bus.post_all(_posts(spec, rows, commits, board, source.path.name))
    return Imported(spec.name, len(rows), len(rows) - len(imported(board)), lacking)


def _spec(source: Source, header: str) -> ArenaSpec:
    folder = (source.repository or source.path.resolve().parent).resolve()
    name = source.name or re.sub(r"[^A-Za-z0-9_-]+", "-", folder.name).strip("-")[:64] or "results"
    metric = source.metric or header
    return ArenaSpec(
        name=check_token("arena", name),
        summary=f"The history in {source.path.name} of {folder.name}",
        objective=ObjectiveSpec(metric=metric, direction="minimize" if source.minimize else "maximize"),
        artifact=ArtifactSpec(editable=EDITABLE),
        trial=TrialSpec(command=("python", "train.py"), budget_s=BUDGET_S, deadline_s=DEADLINE_S),
        score=ScoreSpec(how="stdout", pattern=rf"^{re.escape(metric or METRIC)}:\s*([0-9.eE+-]+)"),
    )


def _check(board: Board, spec: ArenaSpec, rows: list[Row]) -> None:
    there = imported(board)
    if board.opened and (board.spec.objective != spec.objective or len(there) < board.finished):
        raise BadInput(f"another arena is called {spec.name}; use another --name")
    if there != [row.line for row in rows][: len(there)]:
        raise BadInput(f"this file does not start with the rows of arena {spec.name}; use another --name")


class _Made(msgspec.Struct, frozen=True):
    """The commit of a row, when its message says it was made, and the values of its knobs."""

    code: Commit
    at: dt.datetime | None
    values: e.KnobValues = {}


async def _commits(code: CodeStore, rows: list[Row], repository: Path | None) -> tuple[dict[str, _Made], int]:
    """Return the commit of every row by its name, and how many of them have no code."""
    adopted = await code.adopt(repository, [row.commit for row in rows]) if repository else {}
    found: dict[str, _Made] = {}
    lacking = 0
    parent = ""
    for row in rows:
        if row.commit not in found:
            made = None
            if row.commit in adopted:
                commit, at = adopted[row.commit]
                made = _Made(commit, at, knob_values(await code.files(commit.commit), EDITABLE))
            lacking += made is None
            found[row.commit] = made or _placeholder(code, row, parent)
        if row.status == "keep":
            parent = found[row.commit].code.commit
    return found, lacking if repository else 0


def _placeholder(code: CodeStore, row: Row, parent: str) -> _Made:
    text = f"The code of commit {row.commit} is not known: results.tsv was imported without it.\n"
    parents = [parent] if parent else []
    made = code.commit(
        {"README": text.encode()}, parents=parents, message=row.description, author=AUTHOR, at=_UNKNOWN_TIME
    )
    return _Made(made, None)


def _posts(spec: ArenaSpec, rows: list[Row], commits: dict[str, _Made], board: Board, name: str) -> Iterator[Post]:
    base = commits[rows[0].commit].code
    version = board.opened.version if board.opened and not board.closed else board.next_version
    boot = "import-" + hashlib.sha256(spec.name.encode()).hexdigest()[:12]
    evaluator = hashlib.sha256(f"{IMPORTED} {spec.objective.metric}".encode()).hexdigest()
    why = f"imported from {name}"
    yield Post.new(
        AUTHOR,
        e.ArenaOpened(
            version=version,
            spec=spec,
            base_commit=base.commit,
            base_tree=base.tree,
            evaluator=evaluator,
            reason=why,
        ),
    )
    yield Post.new(AUTHOR, e.AgentJoined(boot=boot, role="import"))
    yield Post.new(AUTHOR, e.WorkerJoined(boot=boot, worker_class=IMPORTED, device="unknown", slots=1))
    champion = ""
    decided: set[str] = set()
    times: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        made = commits[row.commit]
        tree = made.code.tree
        for event in _facts(number, row, made, champion, evaluator, boot, times, version):
            post = Post.new(AUTHOR, event)
            yield replace(post, at=made.at) if made.at else post
        if row.status == "keep" and tree != champion:
            yield Post.new(
                AUTHOR,
                e.ProposalPromoted(proposal=tree, round=number, met=champion, mean=row.value, seeds=(times[tree],)),
            )
            champion = tree
        elif tree not in decided and row.status != "keep":
            failed = row.status == "crash"
            retired = e.ProposalRetired(
                proposal=tree, round=number, why="failed" if failed else "not_better", met=champion, text=why
            )
            yield Post.new(AUTHOR, retired if failed else replace(retired, mean=row.value))
        decided.add(tree)
    yield Post.new(AUTHOR, e.AgentLeft(boot=boot, reason=why))
    yield Post.new(AUTHOR, e.WorkerLeft(boot=boot, reason=why))
    yield Post.new(AUTHOR, e.ArenaClosed(version=version, reason="operator", text=why))


def _facts(
    number: int,
    row: Row,
    made: _Made,
    champion: str,
    evaluator: str,
    boot: str,
    times: dict[str, int],
    version: int,
) -> Iterator[e.AnyEvent]:
    """Yield the proposal of a row, where it is its first, and its run; `times` counts the runs of a proposal."""
    tree, commit, run = made.code.tree, made.code.commit, f"row-{number}"
    seed = times[tree] = times.get(tree, 0) + 1
    if seed == 1:
        yield e.ProposalPosted(
            tree=tree,
            commit=commit,
            parents=(champion,) if champion else (),
            title=row.description,
            origin=e.Origin(how="model" if champion else "baseline", name=AUTHOR),
            values=made.values,
        )
    yield e.RunRequested(
        run=run,
        lane="explore",
        proposal=tree,
        commit=commit,
        seed=seed,
        budget_s=BUDGET_S,
        deadline_s=DEADLINE_S,
        worker_class=IMPORTED,
        evaluator=evaluator,
        version=version,
    )
    yield e.RunStarted(run=run, attempt=1, worker=boot)
    outcome: e.Scored | e.Failed = e.Scored(value=row.value, self_reported=True)
    if row.status == "crash":
        outcome = e.Failed(reason="crash", message=row.description)
    yield e.RunFinished(
        run=run,
        proposal=tree,
        outcome=outcome,
        worker=boot,
        worker_class=IMPORTED,
        peak_memory_mb=row.memory_gb * 1024,
        peak_gpu_memory_mb=row.memory_gb * 1024,
        evaluator=evaluator,
        log_tail=row.line,
    )

"""`mesh import`: the results of another loop become an arena, so that views and commands work on them.

Every row is a proposal, a run with the row's numbers, marked as self-reported, and a verdict: a kept row is promoted,
the others are retired. Its parent is what the row names, else the last that was kept before it. Keys derive from the
rows alone, so that importing again adds what is new and nothing else. The arena is closed, or the first version of one
that goes on (`--open`): there its scores are those of another evaluator, so that the best are measured again.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from mesh import events as e
from mesh import settings
from mesh.arena import load_arena
from mesh.arena_files import read_arena
from mesh.board import Board
from mesh.bus import Hub
from mesh.code import CodeStore
from mesh.editable_paths import editable_paths
from mesh.errors import BadInput
from mesh.foreign_folder import remember
from mesh.hidden_files import split_hidden
from mesh.recall import recall
from mesh.spec import ArenaSpec, ArtifactSpec, Direction, ObjectiveSpec, ScoreSpec, TrialSpec
from mesh.text import chance
from mesh.wire import Post, check_token
from mesh_cli.connect import board_of
from mesh_cli.history.history_noise import REAL_GAIN, HistoryNoise, history_noise
from mesh_cli.history.imported_code import AUTHOR, CodeOrigin, FoundCode, ImportedCode, found_code, identity
from mesh_cli.history.result_columns import AskedColumns
from mesh_cli.history.result_files import MAX_LINE
from mesh_cli.history.result_rows import Experiment, ForeignHistory, read_history
from mesh_cli.history.results_tsv import IMPORTED, IMPORTED_OTHER, imported, imported_proposals

EDITABLE = ("train.py",)
"""The file that a proposal changes in karpathy/autoresearch."""
BUDGET_S, DEADLINE_S = 300.0, 600.0
"""The limits of a run in karpathy/autoresearch: five minutes, killed after ten."""


class Source(msgspec.Struct, frozen=True):
    """What to import, and what the user says of it; `name` defaults to the name of the folder.

    `columns` are the names of all columns, where the file has no header. `live` is the folder of the arena that the
    history becomes the beginning of.
    """

    path: Path
    repository: Path | None = None
    name: str | None = None
    asked: AskedColumns = AskedColumns()
    columns: tuple[str, ...] = ()
    direction: Direction | None = None
    live: Path | None = None


class Imported(msgspec.Struct, frozen=True):
    """The arena, how many rows it has, and how many of them are new.

    `lacking` is how many commits the repository lacks, `misfits` how many diffs do not fit, and `unknown` how many new
    proposals have no code.
    """

    arena: str
    rows: int
    new: int
    lacking: int = 0
    misfits: int = 0
    unknown: int = 0


def read_import(source: Source) -> tuple[ArenaSpec, ForeignHistory]:
    """Return the specification of the arena and the experiments of the file.

    Raises:
        BadInput: the file cannot be read, does not say enough, or does not fit to the arena that goes on.
    """
    try:
        data = source.path.read_bytes()
    except OSError as error:
        raise BadInput(f"{source.path} cannot be read: {error.strerror}") from None
    asked, direction = source.asked, source.direction
    live = load_arena(source.live) if source.live else None
    if live:
        goal = live.objective
        if source.name not in (None, live.name):
            raise BadInput(f"--name is {source.name}, but {source.live} is arena {live.name}: leave --name out")
        if direction not in (None, goal.direction):
            raise BadInput(f"--direction is {direction}, but arena {live.name} wants to {goal.direction} {goal.metric}")
        direction = goal.direction
        if asked.metric is None:
            asked = replace(asked, metric=goal.metric)
    found = read_history(data, source.path.name, asked=asked, columns=source.columns, direction=direction)
    return live or _spec(source, found), found


def judged_gains(history: ForeignHistory) -> tuple[HistoryNoise, list[float | None]]:
    """Return the noise of a history, and by how much each row is better than the one kept before it."""
    goal = ObjectiveSpec(metric=history.roles.metric_name, direction=history.direction)
    gains: list[float | None] = []
    repeats: dict[tuple[str, ...], list[float]] = {}
    champion: float | None = None
    for row in history.rows:
        gains.append(None if row.value is None or champion is None else goal.gain(row.value, champion))
        if row.value is not None:
            repeats.setdefault(identity(row), []).append(row.value)
            champion = row.value if row.status == "keep" else champion
    discards = [
        gain for row, gain in zip(history.rows, gains, strict=True) if gain is not None and row.status == "discard"
    ]
    return history_noise(list(repeats.values()), discards), gains


async def import_results(hub: Hub, source: Source) -> Imported:
    """Import a file.

    Raises:
        BadInput: the file or the repository cannot be read, or the arena has another history.
    """
    spec, history = read_import(source)
    rows = history.rows
    if spec.name in await hub.arenas():
        bus = await hub.arena(spec.name)
        board = await board_of(bus)
        await recall(bus, board, imported_proposals(board))
        if _is_there(board, spec, history, is_live=source.live is not None):
            return Imported(spec.name, len(rows), 0)
    bus = await hub.arena(spec.name, create=True)
    board = await board_of(bus)
    await recall(bus, board, imported_proposals(board))
    code = CodeStore(settings.code_dir(settings.home(), spec.name), bus)
    found = await found_code(code, rows, _origin(source, spec))
    base = _first(rows, found)
    if board.opened and board.opened.base_tree != base.code.tree:
        raise BadInput(f"arena {spec.name} was imported with other code; use the same --repo or another --name")
    await code.push(base.code.commit)
    for commit in dict.fromkeys(made.code.commit for made in found.made):
        await code.push(commit, base=base.code.commit)
    if source.live:
        remember(settings.home(), spec.name, source.live)
    await bus.post_all(_posts(spec, history, found, board, source))
    unknown = len({made.code.tree for made in found.made if not made.is_known})
    return Imported(spec.name, len(rows), len(rows) - len(imported(board)), found.lacking, found.misfits, unknown)


def _origin(source: Source, spec: ArenaSpec) -> CodeOrigin:
    if source.live is None:
        return CodeOrigin(source.repository, True, None, EDITABLE)
    files = read_arena(source.live, spec).files
    shown, _ = split_hidden(spec.artifact.hidden, files)
    repository = source.repository or source.live
    return CodeOrigin(repository, source.repository is not None, shown, tuple(editable_paths(spec, files)))


def _first(rows: list[Experiment], found: FoundCode) -> ImportedCode:
    """Return the code of the baseline: the first that was kept, else the first row."""
    kept = (made for row, made in zip(rows, found.made, strict=True) if row.status == "keep" and row.value is not None)
    return next(kept, found.made[0])


def _spec(source: Source, history: ForeignHistory) -> ArenaSpec:
    folder = (source.repository or source.path.resolve().parent).resolve()
    name = source.name or re.sub(r"[^A-Za-z0-9_-]+", "-", folder.name).strip("-")[:64] or "results"
    metric = history.roles.metric_name
    return ArenaSpec(
        name=check_token("arena", name),
        summary=f"The history in {source.path.name} of {folder.name}",
        objective=ObjectiveSpec(metric=metric[:256], direction=history.direction),
        artifact=ArtifactSpec(editable=EDITABLE),
        trial=TrialSpec(command=("python", "train.py"), budget_s=BUDGET_S, deadline_s=DEADLINE_S),
        score=ScoreSpec(how="stdout", pattern=rf"^{re.escape(metric)}:\s*([0-9.eE+-]+)"),
    )


def _is_there(board: Board, spec: ArenaSpec, history: ForeignHistory, *, is_live: bool) -> bool:
    """Tell whether an arena has all rows.

    Raises:
        BadInput: it has another history, or has gone on since.
    """
    there, lines = imported(board), [row.raw[:MAX_LINE] for row in history.rows]
    is_other = board.opened is not None and board.spec.objective != spec.objective
    if there and there == lines and (is_live or board.closed) and not is_other:
        return True
    if is_other or (board.opened and (len(there) < board.finished or (is_live and not there))):
        raise BadInput(f"another arena is called {spec.name}; use another --name")
    if there != lines[: len(there)]:
        raise BadInput(f"this file does not start with the rows of arena {spec.name}; use another --name")
    return False


def _posts(spec: ArenaSpec, history: ForeignHistory, found: FoundCode, board: Board, source: Source) -> Iterator[Post]:
    base = _first(history.rows, found).code
    version = board.opened.version if board.opened and not board.closed else board.next_version
    boot = "import-" + hashlib.sha256(spec.name.encode()).hexdigest()[:12]
    evaluator = hashlib.sha256(f"{IMPORTED} {spec.objective.metric}".encode()).hexdigest()
    worker_class = IMPORTED if history.table.standard else IMPORTED_OTHER
    why = f"imported from {source.path.name}"
    opened = e.ArenaOpened(
        version=version, spec=spec, base_commit=base.commit, base_tree=base.tree, evaluator=evaluator, reason=why
    )
    yield Post.new(AUTHOR, opened)
    yield Post.new(AUTHOR, e.AgentJoined(boot=boot, role="import"))
    yield Post.new(AUTHOR, e.WorkerJoined(boot=boot, worker_class=worker_class, device="unknown", slots=1))
    facts = _Facts(spec, why, evaluator, boot, worker_class, version, is_live=source.live is not None)
    noise, gains = judged_gains(history)
    for number, (row, made, gain) in enumerate(zip(history.rows, found.made, gains, strict=True), 1):
        for event in facts.of_row(number, row, made, gain, noise):
            post = Post.new(AUTHOR, event)
            at = made.at or row.at
            yield replace(post, at=at) if at else post
    yield Post.new(AUTHOR, e.AgentLeft(boot=boot, reason=why))
    yield Post.new(AUTHOR, e.WorkerLeft(boot=boot, reason=why))
    yield Post.new(AUTHOR, e.ArenaClosed(version=version, reason="operator", text=why))


class _Facts:
    """The facts of the rows, in their order; it counts the runs of each proposal."""

    def __init__(
        self, spec: ArenaSpec, why: str, evaluator: str, boot: str, worker_class: str, version: int, *, is_live: bool
    ) -> None:
        self._spec, self._why, self._evaluator, self._boot = spec, why, evaluator, boot
        self._class, self._version, self._is_live = worker_class, version, is_live
        self._champion = ""
        self._decided: set[str] = set()
        self._times: dict[str, int] = {}

    def of_row(
        self, number: int, row: Experiment, made: ImportedCode, gain: float | None, noise: HistoryNoise
    ) -> Iterator[e.AnyEvent]:
        """Yield the proposal of a row, where it is its first, its run and its verdict."""
        tree = made.code.tree
        yield from self._run(number, row, made)
        p = None if gain is None else noise.p_better(gain)
        may_run = made.is_known or not self._is_live
        if row.status == "keep" and row.value is not None and may_run:
            if tree != self._champion and tree not in self._decided:
                yield e.ProposalPromoted(
                    proposal=tree,
                    round=number,
                    met=self._champion,
                    mean=row.value,
                    seeds=(self._times[tree],),
                    p_better=p,
                    text=self._why + _in_words(gain, p),
                )
                self._champion = tree
        elif tree not in self._decided:
            why: Literal["blocked", "failed", "not_better"] = "failed" if row.value is None else "not_better"
            why = why if may_run else "blocked"
            text = self._why if may_run else f"{self._why}; its code is not known, so that it cannot run again"
            yield e.ProposalRetired(
                proposal=tree, round=number, why=why, met=self._champion, mean=row.value, p_better=p, text=text
            )
        self._decided.add(tree)

    def _run(self, number: int, row: Experiment, made: ImportedCode) -> Iterator[e.AnyEvent]:
        tree, commit, run = made.code.tree, made.code.commit, f"row-{number}"
        seed = self._times[tree] = self._times.get(tree, 0) + 1
        if seed == 1:
            is_first = number == 1 or (not self._champion and row.status == "keep")
            yield e.ProposalPosted(
                tree=tree,
                commit=commit,
                parents=made.parents or ((self._champion,) if self._champion else ()),
                title=row.title,
                rationale=row.rationale,
                origin=e.Origin(how="baseline" if is_first else "model", name=AUTHOR),
                values=made.values,
            )
        # A live arena runs the best again by their last scores: without an evaluator, a run is not among them.
        evaluator = self._evaluator if made.is_known or not self._is_live else ""
        yield e.RunRequested(
            run=run,
            lane="explore",
            proposal=tree,
            commit=commit,
            seed=seed,
            budget_s=self._spec.trial.budget_s,
            deadline_s=self._spec.trial.deadline_s,
            worker_class=self._class,
            evaluator=evaluator,
            version=self._version,
        )
        yield e.RunStarted(run=run, attempt=1, worker=self._boot)
        outcome: e.Scored | e.Failed
        if row.value is not None:
            outcome = e.Scored(value=row.value, self_reported=True, metrics=row.metrics)
        else:
            reason: e.FailureReason = "crash" if row.status == "crash" and row.word else "no_score"
            outcome = e.Failed(reason=reason, message=row.title)
        yield e.RunFinished(
            run=run,
            proposal=tree,
            outcome=outcome,
            worker=self._boot,
            worker_class=self._class,
            trial_s=row.seconds,
            peak_memory_mb=row.memory_mb or 0.0,
            peak_gpu_memory_mb=row.memory_mb,
            evaluator=self._evaluator,
            log_tail=row.raw[:MAX_LINE],
        )


def _in_words(gain: float | None, p: float | None) -> str:
    """Return how sure the gain of a kept row is, as the end of a sentence."""
    if gain is None or p is None:
        return ""
    said = f"better by {gain:.3g}" if gain > 0 else f"worse by {-gain:.3g}" if gain < 0 else "equal"
    return f"; {said}, {'beyond' if p >= REAL_GAIN else 'within'} the noise of this history ({chance(p)})"

"""How much early stopping saves on nanolm and digits, with real trials, and how often it stops a winner.

Draws of every knob, the same for both sides, are run to their end by a real worker, in its sandbox, with real learning
curves. Then the real rule (`early_stopping.judge_curve`) decides about them, in many random orders of arrival, one run
after the other: a run that it stops costs what its curve had cost by then. `ratio` is the worker seconds until the best
of all is scored with the rule, divided by those without it; where the rule stops the best itself, all seconds count.
`wrong` is the share of stopped runs that were better than every run before them.
"""

import datetime as dt
import random
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import anyio
import msgspec

from agents.curation.early_stopping import judge_curve
from agents.explorer import apply
from benchmarks.parts.harness import Figures, Goal, say
from gpu_worker.worker import run_worker
from mesh import events as e
from mesh import settings, wire
from mesh.board import Board
from mesh.code import CodeStore
from mesh.follow import Follower
from mesh.knobs import knobs_of
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from mesh.records import at_rung
from mesh.testing import git_hash
from mesh.wire import Post

ARENAS = Path(__file__).resolve().parents[1] / "arenas"
GOALS: dict[str, Goal] = {"ratio.digits": ("<=", 0.6), "ratio.nanolm": ("<=", 0.6)}
WITHIN_S = 1800
BEGAN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Trial(msgspec.Struct, frozen=True):
    """A finished run: its score (None where it failed), what it cost (s), its curve."""

    value: float | None
    seconds: float
    curve: tuple[e.CurvePoint, ...]


async def measure(quick: bool) -> Figures:
    """Return, per arena, the ratio of worker seconds with its 95 % interval over orders, and shares of stopped runs."""
    figures: Figures = {}
    for arena, count in (("digits", 24 if quick else 80), ("nanolm", 0 if quick else 60)):
        if not count:
            continue
        opened, trials = await _run_all(arena, count)
        say(f"{arena}: {len(trials)} trials, {sum(t.value is not None for t in trials)} scored")
        orders = [random.Random(seed).sample(trials, len(trials)) for seed in range(50 if quick else 400)]
        played = [_play(opened, order) for order in orders]
        ratios = sorted(ratio for ratio, _, _ in played)
        kills = sum(killed for _, killed, _ in played)
        figures |= {
            f"ratio.{arena}": statistics.fmean(ratios),
            f"ratio_low.{arena}": ratios[int(0.025 * len(ratios))],
            f"ratio_high.{arena}": ratios[int(0.975 * len(ratios))],
            f"killed.{arena}": kills / (len(trials) * len(played)),
            f"wrong.{arena}": sum(wrong for _, _, wrong in played) / max(1, kills),
        }
    return figures


async def _run_all(arena: str, count: int) -> tuple[e.ArenaOpened, list[Trial]]:
    """Run `count` draws of the arena's knobs, each once and to its end."""
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        bus, opened = await open_arena(MemoryHub(), ARENAS / arena, home=home)
        code = CodeStore(settings.code_dir(home / "author", bus.arena), bus)
        base = await code.files(opened.base_commit)
        knobs, rng = knobs_of(base, opened.spec.artifact.editable), random.Random(arena)
        for number in range(count):
            values = {(k.file, k.name): k.sample(rng) for k in knobs}
            files = base if number == 0 else apply(base, base, knobs, values)
            made = code.commit(files, parents=[opened.base_commit], message=f"{number}", author="bench", at=BEGAN)
            await code.push(made.commit, base=opened.base_commit)
            posted = e.ProposalPosted(
                tree=made.tree, commit=made.commit, title=f"{number}", origin=e.Origin(how="sampler")
            )
            await bus.post(Post.new("bench", posted))
            await bus.post(Post.new("bench", _request(opened, made.tree, made.commit)))
        follower = Follower(bus)
        with anyio.fail_after(WITHIN_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(follower.follow)
                tasks.start_soon(_work, bus, home)
                await follower.until(lambda board: board.finished == count)
                tasks.cancel_scope.cancel()
    return opened, [_trial(run.finished) for run in follower.board.runs.values() if run.finished]


async def _work(bus: object, home: Path) -> None:
    await run_worker(bus, name="worker", device="cpu", home=home)  # type: ignore[arg-type]


def _request(opened: e.ArenaOpened, tree: str, commit: str) -> e.RunRequested:
    trial = opened.spec.trial
    return e.RunRequested(
        run=f"{tree[:16]}-explore-1",
        lane="explore",
        proposal=tree,
        commit=commit,
        seed=1,
        budget_s=trial.budget_s,
        deadline_s=trial.deadline_s,
        evaluator=opened.evaluator,
    )


def _trial(finish: e.RunFinished) -> Trial:
    value = finish.outcome.value if isinstance(finish.outcome, e.Scored) else None
    return Trial(value, finish.trial_s + finish.score_s, finish.curve)


def _play(opened: e.ArenaOpened, order: Sequence[Trial]) -> tuple[float, int, int]:
    """Return, for one order, the ratio of seconds to the best, how many runs were stopped, and how many wrongly."""
    rule = msgspec.structs.replace(opened.spec.selection, halving=True, never_killed=0.0)
    opened = msgspec.structs.replace(opened, spec=msgspec.structs.replace(opened.spec, selection=rule))
    gain = opened.spec.objective.gain
    best = max(gain(trial.value) for trial in order if trial.value is not None)
    board = Board(arena="halving")
    _fold(board, opened)
    without = spent = 0.0
    reached, kills, wrong, so_far = 0.0, 0, 0, float("-inf")
    whole = 0.0
    for number, trial in enumerate(order):
        tree = git_hash(f"p{number}")
        _fold(board, e.ProposalPosted(tree=tree, commit=tree, title=tree, origin=e.Origin(how="sampler")))
        request = _request(opened, tree, tree)
        _fold(board, request)
        seconds, curve, value = trial.seconds, trial.curve, trial.value
        for rung in sorted(rule.rungs):
            if at_rung(trial.curve, rung) is not None and judge_curve(board, request.run, trial.curve, rung):
                place = next(n for n, point in enumerate(trial.curve) if point.fraction >= rung)
                seconds, curve, value = trial.curve[place].at_s, trial.curve[: place + 1], None
                kills += 1
                wrong += trial.value is not None and gain(trial.value) > so_far
                break
        outcome: e.Scored | e.Failed = e.Failed(reason="killed", message="") if value is None else e.Scored(value=value)
        _fold(
            board,
            e.RunFinished(run=request.run, proposal=tree, outcome=outcome, worker="w", worker_class="cpu", curve=curve),
        )
        spent, whole = spent + seconds, whole + trial.seconds
        if trial.value is not None:
            so_far = max(so_far, gain(trial.value))
            if gain(trial.value) == best:
                without, reached = whole, spent if value is not None else 0.0
    return (reached or whole) / without, kills, wrong


def _fold(board: Board, event: e.AnyEvent) -> None:
    seq = board.seq + 1
    post = Post(id=f"post-{seq}", at=BEGAN, author="a", event=event)
    board.fold(wire.entry(seq, BEGAN, wire.subject_of("halving", post), wire.encode(post)))

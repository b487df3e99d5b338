"""One search of `benchmarks.search` by the real explorer, on the in-memory bus, with workers in virtual time.

The explorer is the real one in the real loop (`mesh.agent.runtime`), its edits are commits of a real code store, and a
run reads its values from the code of its commit. Two parts are stand-ins: proposals are admitted at once, in the order
of the log (no critic, no race for the championship: the functions are exact), and W workers share one loop that jumps
from the end of a run to the next.
"""

import tempfile
from collections import deque
from heapq import heappop, heappush
from pathlib import Path
from typing import ClassVar

import anyio

from agents.explorer import Explorer
from agents.search.turns import share
from benchmarks.parts.search_problems import Problem
from mesh import events as e
from mesh.agent.code_reader import CodeReader
from mesh.agent.protocol import Context
from mesh.agent.runtime import Seat, run_agents
from mesh.board import Board
from mesh.bus import ArenaBus
from mesh.code import CodeStore
from mesh.fleet import queue_depth
from mesh.follow import Follower
from mesh.knobs import find_knobs
from mesh.memory import MemoryHub
from mesh.spec import ArenaSpec, ArtifactSpec, ObjectiveSpec, ScoreSpec, TrialSpec
from mesh.wire import Post

PATIENCE_S = 20.0
"""Wall seconds after which a queue that is not full counts as all that the explorer will propose."""

TRIAL_S = 60.0
"""Budget of a run in seconds, and the meaning of a duration of 1."""


class Admit:
    """Requests one run of every proposal."""

    listens: ClassVar[tuple[str, ...]] = ("proposal.posted",)
    only_latest: ClassVar[bool] = False

    async def handle(self, post: Post, board: Board) -> list[e.AnyEvent]:
        event = post.event
        if not isinstance(event, e.ProposalPosted):
            return []
        request = e.RunRequested(
            run=f"{event.tree}-1",
            lane="explore",
            proposal=event.tree,
            commit=event.commit,
            seed=1,
            budget_s=TRIAL_S,
            deadline_s=TRIAL_S * 100,
        )
        return [request]


async def search(problem: Problem, workers: int, evaluations: int, seed: int, sampler: str = "") -> list[float]:
    """Return the values in the order in which their runs ended."""
    hub = MemoryHub()
    bus = await hub.arena("a", create=True)
    with tempfile.TemporaryDirectory(prefix="mesh-search-", ignore_cleanup_errors=True) as folder:
        code = CodeStore(Path(folder) / "code.git", bus)
        await _open(bus, code, problem)
        options = {"sampler": sampler} if sampler else {}
        explorer = Explorer(Context(f"explorer-{seed}", 0, CodeReader(code), options))
        seats = [Seat(f"explorer-{seed}", explorer), Seat("curator", Admit())]
        values: list[float] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_agents, bus, seats, code)
            await _work(bus, code, problem, workers, evaluations, seed, values)
            tasks.cancel_scope.cancel()
    return values


async def _open(bus: ArenaBus, code: CodeStore, problem: Problem) -> None:
    spec = ArenaSpec(
        name="a",
        objective=ObjectiveSpec(metric="loss", direction="minimize", noise="none"),
        artifact=ArtifactSpec(editable=("train.py",)),
        trial=TrialSpec(command=("python", "train.py"), budget_s=TRIAL_S, deadline_s=TRIAL_S * 100),
        score=ScoreSpec(how="command", command=("python", "score.py")),
    )
    post = Post.new("operator", e.NotePosted(channel="ops", text=""))
    base = code.commit({"train.py": problem.source().encode()}, message="base", author="operator", at=post.at)
    await code.push(base.commit)
    opened = e.ArenaOpened(version=1, spec=spec, base_commit=base.commit, base_tree=base.tree, evaluator="")
    await bus.post(Post.new("operator", opened))


async def _work(
    bus: ArenaBus, code: CodeStore, problem: Problem, workers: int, evaluations: int, seed: int, values: list[float]
) -> None:
    """Execute requested runs until there are `evaluations` values: always the one that ends first in virtual time."""
    follower = Follower(bus)
    await follower.catch_up()
    joined = e.WorkerJoined(boot="w", worker_class="cpu", device="virtual", slots=workers)
    await bus.post(Post.new("w", joined))
    durations = problem.durations(seed)
    begun: set[str] = set()
    running: list[tuple[float, int, str, float]] = []
    now = 0.0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follower.follow)
        while len(values) < evaluations:
            with anyio.move_on_after(PATIENCE_S) as patience:
                await follower.until(lambda board: _is_full(board, workers))
            if patience.cancelled_caught and not follower.board.unfinished:
                raise RuntimeError(f"{problem}, {workers} workers, seed {seed}: the explorer stopped: see above")
            waiting = deque(run for run in follower.board.unfinished if run not in begun)
            while waiting and len(running) < workers:
                run, lasts = waiting.popleft(), next(durations)
                begun.add(run)
                heappush(running, (now + lasts, len(begun), run, lasts))
                await bus.post(Post.new("w", e.RunStarted(run=run, attempt=1, worker="w")))
            now, _, run, lasts = heappop(running)
            requested = follower.board.runs[run].requested
            files = await code.files(requested.commit)
            result = problem.exact([k.value for k in find_knobs("train.py", files["train.py"].decode())])
            assert result is not None, "a trial crashed: use a problem without crashes"
            values.append(result)
            finished = e.RunFinished(
                run=run,
                proposal=requested.proposal,
                outcome=e.Scored(value=values[-1]),
                worker="w",
                worker_class="cpu",
                trial_s=lasts * TRIAL_S,
            )
            await follower.reached(await bus.post(Post.new("w", finished)))
        tasks.cancel_scope.cancel()


def _is_full(board: Board, workers: int) -> bool:
    """Tell whether the explorer has proposed all that it may for now; at first that is the baseline alone."""
    assert board.opened is not None
    if queue_depth(board) != 2 * workers and workers > 1:
        return False
    if not board.finished:
        return bool(board.unfinished)
    return len(board.unfinished) >= share(board)

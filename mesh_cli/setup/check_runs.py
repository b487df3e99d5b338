"""Runs artifacts of an arena for `mesh check`: with the real worker, on a log in memory that is then forgotten.

The arena is opened as `mesh open` would open it, its data is prepared, and each run has a sandbox, a trial and a score
program as in a swarm. No server, agent or folder of the user takes part.
"""

import datetime as dt
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Literal

import anyio
import msgspec

from agents.llm.judge_price import judge_price
from gpu_worker.sandbox_choice import Wish
from gpu_worker.worker import run_worker
from mesh import settings
from mesh.code import CodeStore
from mesh.errors import BadArena, HostTrouble
from mesh.events import Lane, RunFinished, RunRequested
from mesh.file_trees import delete
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from mesh.wire import Post


class Artifact(msgspec.Struct, frozen=True):
    """What to run: a name, the files that differ from the arena's, the seeds, each of which is a run, and the lane."""

    name: str
    changed: Mapping[str, bytes]
    seeds: Sequence[int] = (1,)
    lane: Lane = "explore"


async def run_artifacts(
    folder: Path,
    artifacts: Sequence[Artifact],
    *,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    slots: int | None = None,
    sandbox: Wish = "auto",
    finished: Callable[[str, RunFinished], object] = lambda name, event: None,
    opened: Callable[[float], object] = lambda seconds: None,
    more: Callable[[dict[str, list[RunFinished]]], Sequence[Artifact]] = lambda ended: (),
) -> dict[str, list[RunFinished]]:
    """Run artifacts of the arena in `folder`; return how each ended, by name, one for each seed.

    Args:
        folder: the arena.
        artifacts: what to run.
        device: where trials run.
        slots: runs at a time; by default as many as the machine has cores or GPUs.
        sandbox: whether a weaker sandbox may be used.
        finished: called with the name of an artifact as each of its runs ends.
        opened: called with the seconds that opening took, data and leak audit included.
        more: called with what has ended when all has; returns what else to run, nothing to end.

    Raises:
        BadArena: the arena cannot be opened.
        HostTrouble: no worker can run it here.
    """
    with tempfile.TemporaryDirectory(prefix="mesh-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        begun = monotonic()
        with _logs() as logs:
            bus, fact = await open_arena(MemoryHub(), folder, home=home, logs=logs, price_of=judge_price)
        opened(monotonic() - begun)
        code, now = CodeStore(settings.code_dir(home / "author", bus.arena), bus), dt.datetime.now(dt.UTC)
        base = await code.files(fact.base_commit)
        trial, wanted = fact.spec.trial, dict[str, tuple[str, int]]()

        async def ask(these: Sequence[Artifact]) -> None:
            for artifact in these:
                files = {**base, **artifact.changed}
                made = code.commit(files, parents=[fact.base_commit], message=artifact.name, author="operator", at=now)
                await code.push(made.commit, base=fact.base_commit)
                for place, seed in enumerate(artifact.seeds):
                    run = f"check-{len(wanted)}"
                    wanted[run] = artifact.name, place
                    request = RunRequested(
                        run=run,
                        lane=artifact.lane,
                        proposal=made.tree,
                        commit=made.commit,
                        seed=seed,
                        budget_s=trial.budget_s,
                        deadline_s=trial.deadline_s,
                        evaluator=fact.evaluator,
                    )
                    await bus.post(Post.new("operator", request))

        await ask(artifacts)
        ended: dict[str, RunFinished] = {}

        async def work() -> None:
            why = await run_worker(bus, name="check", slots=slots, device=device, home=home, sandbox=sandbox)
            raise HostTrouble(f"the worker ended before all runs were done: {why}")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            async with aclosing(bus.read(follow=True)) as batches:
                async for batch in batches:
                    for entry in batch:
                        if entry.post and isinstance(entry.post.event, RunFinished):
                            event = entry.post.event
                            if event.run not in ended:
                                ended[event.run] = event
                                finished(wanted[event.run][0], event)
                    if len(ended) == len(wanted):
                        if not (these := more(_by_name(wanted, ended))):
                            break
                        await ask(these)
            tasks.cancel_scope.cancel()
    return {artifact.name: [] for artifact in artifacts} | _by_name(wanted, ended)


@contextmanager
def _logs() -> Iterator[Path]:
    """Yield the home if there is one, else a folder that stays only if what is in it says why the arena is not open."""
    if settings.home().is_dir():
        yield settings.home()
        return
    folder = Path(tempfile.mkdtemp(prefix="mesh-check-"))
    try:
        yield folder
    except BadArena:
        with suppress(OSError):
            folder.rmdir()
        raise
    except BaseException:
        delete(folder)
        raise
    delete(folder)


def _by_name(wanted: Mapping[str, tuple[str, int]], ended: Mapping[str, RunFinished]) -> dict[str, list[RunFinished]]:
    result: dict[str, list[RunFinished]] = {}
    for run, (name, _) in wanted.items():
        result.setdefault(name, []).append(ended[run])
    return result

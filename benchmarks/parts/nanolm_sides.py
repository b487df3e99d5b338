"""The sides of `benchmarks.nanolm`: one search by one side, and the runs that compare their choices.

Every trial is a run of the real worker, in its sandbox, with a slot of one thread per core. The portfolio is the real
explorer in the real loop; the peers' proposals are all drawn before the first is run, because they learn nothing. `Ask`
takes the curator's place: it requests one run of each proposal, in the order of the log, and stops none early.
"""

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import anyio
import msgspec

from agents.curation.run_requests import request
from agents.explorer import Explorer, apply
from agents.search.samplers.mutate import stepped
from agents.search.samplers.protocol import Values, where
from gpu_worker.worker import run_worker
from mesh import events as e
from mesh import settings
from mesh.agent.code_reader import CodeReader
from mesh.agent.protocol import Context
from mesh.agent.runtime import Seat, run_agents
from mesh.board import Board
from mesh.bus import ArenaBus
from mesh.code import CodeStore
from mesh.follow import Follower
from mesh.knobs import Knob, knobs_of
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from mesh.wire import Post

SIDES = ("portfolio", "random", "best_of_n")
ARENA = Path(__file__).resolve().parents[2] / "arenas" / "nanolm"
WITHIN_S = 3600


class Trial(msgspec.Struct, frozen=True):
    """A finished run: its score (None where it failed), its title, what it cost (s), and the artifact."""

    value: float | None
    title: str
    wall_s: float
    cpu_s: float
    files: dict[str, bytes]


class Ask:
    """Requests one run, with one seed, of each of the first `most` proposals."""

    listens: ClassVar[tuple[str, ...]] = ("proposal.posted",)
    only_latest: ClassVar[bool] = True

    def __init__(self, most: int, seed: int) -> None:
        self._most, self._seed = most, seed

    async def handle(self, post: Post, board: Board) -> list[e.AnyEvent]:
        return await self.joined(board)

    async def joined(self, board: Board) -> list[e.AnyEvent]:
        """Request the runs of proposals that were there before it joined: those of the peers."""
        first = list(board.proposals.items())[: self._most]
        return [request(board, tree, "explore", self._seed) for tree, proposal in first if not proposal.runs]


def copied(cut: str, budget_s: float, folder: Path) -> Path:
    """Copy the arena with another cut of its text (`search` or `final`) and another budget; return the copy."""
    copy = folder / cut
    shutil.copytree(ARENA, copy, ignore=shutil.ignore_patterns("data", "out", "__pycache__"))
    shutil.copy(Path(__file__).with_name("nanolm_cut.py"), copy / "cut.py")
    text = (ARENA / "arena.toml").read_text()
    for old, new in (('"prepare.py"', f'"cut.py", "{cut}"'), ("budget_s = 4.0", f"budget_s = {budget_s}")):
        if old not in text:
            raise RuntimeError(f"{ARENA / 'arena.toml'} lacks {old}, which the benchmark replaces")
        text = text.replace(old, new)
    (copy / "arena.toml").write_text(text)
    return copy


async def search(side: str, seed: int, trials: int, arena: Path, home: Path) -> list[Trial]:
    """Return the trials of one search in the order in which they were requested."""
    bus, opened = await open_arena(MemoryHub(), arena, home=home)
    code = CodeStore(settings.code_dir(home / "author", bus.arena), bus)
    seats = [Seat("asker", Ask(trials, seed))]
    if side == "portfolio":
        name = f"explorer-{seed}"
        seats.append(Seat(name, Explorer(Context(name, 0, CodeReader(code), {}))))
    else:
        base = await code.files(opened.base_commit)
        for title, files in drawn(side, seed, trials, base, opened.spec.artifact.editable):
            await _propose(bus, code, opened, title, files)
    board = await _run(bus, trials, home, seats, code)
    return [await _trial(board, run.finished, code) for run in board.runs.values()]


def drawn(
    side: str, seed: int, trials: int, base: dict[str, bytes], editable: Sequence[str]
) -> list[tuple[str, dict[str, bytes]]]:
    """Return title and files of a peer's proposals: the baseline, then draws, none of them twice."""
    knobs, rng = knobs_of(base, editable), random.Random(f"{side} {seed}")
    found = {_spelled(base): ("baseline", base)}
    while len(found) < trials:
        values = draw(side, knobs, rng)
        files = apply(base, base, knobs, values)
        changed = [f"{knob.name} {values[where(knob)]}" for knob in knobs if values[where(knob)] != knob.value]
        found.setdefault(_spelled(files), (f"{side}: {', '.join(changed)}", files))
    return list(found.values())


def draw(side: str, knobs: Sequence[Knob], rng: random.Random) -> Values:
    """Return an even draw of every knob, or a mutation of the baseline by the explorer's own steps."""
    return {where(knob): knob.sample(rng) for knob in knobs} if side == "random" else stepped(knobs, {}, rng)


async def compare(
    chosen: Sequence[dict[str, bytes]], seeds: Sequence[int], arena: Path, home: Path
) -> list[list[Trial]]:
    """Run each of the chosen artifacts with each of the seeds in the held-out arena; return their trials by seed."""
    bus, opened = await open_arena(MemoryHub(), arena, home=home)
    code = CodeStore(settings.code_dir(home / "author", bus.arena), bus)
    await code.pull(opened.base_commit)
    trees = [await _propose(bus, code, opened, "chosen", files) for files in chosen]
    follower = Follower(bus)
    await follower.catch_up()
    different = list(dict.fromkeys(trees))
    wanted = [request(follower.board, tree, "confirm", seed) for seed in seeds for tree in different]
    await bus.post_all([Post.new("bench", event) for event in wanted])
    board = await _run(bus, len(wanted), home, [], code)
    ends = {(run.requested.proposal, run.requested.seed): run.finished for run in board.runs.values()}
    return [[await _trial(board, ends[tree, seed], code) for seed in seeds] for tree in trees]


async def _run(bus: ArenaBus, count: int, home: Path, seats: Sequence[Seat], code: CodeStore) -> Board:
    """Let a worker and the agents work until `count` runs have ended."""

    async def work() -> None:
        await run_worker(bus, name="worker", device="cpu", home=home)

    follower = Follower(bus)
    with anyio.fail_after(WITHIN_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follower.follow)
            tasks.start_soon(work)
            if seats:
                tasks.start_soon(run_agents, bus, seats, code)
            await follower.until(lambda board: board.finished >= count)
            tasks.cancel_scope.cancel()
    return follower.board


async def _propose(bus: ArenaBus, code: CodeStore, opened: e.ArenaOpened, title: str, files: dict[str, bytes]) -> str:
    """Post an artifact as a proposal, once, and return its tree."""
    at = Board(arena=bus.arena).time
    made = code.commit(files, parents=[opened.base_commit], message=title, author="bench", at=at)
    await code.push(made.commit, base=opened.base_commit)
    origin = e.Origin(how="sampler")
    posted = e.ProposalPosted(tree=made.tree, commit=made.commit, title=title[:200], origin=origin)
    await bus.post_all([Post.new("bench", posted)])
    return made.tree


async def _trial(board: Board, finish: e.RunFinished | None, code: CodeStore) -> Trial:
    assert finish is not None
    assert board.opened is not None
    event = board.proposals[finish.proposal].event
    value = finish.outcome.value if isinstance(finish.outcome, e.Scored) else None
    files = await code.files(event.commit, base=board.opened.base_commit)
    return Trial(value, event.title, finish.trial_s, finish.cpu_s, dict(files))


def _spelled(files: dict[str, bytes]) -> bytes:
    return b"\0".join(files[name] for name in sorted(files))

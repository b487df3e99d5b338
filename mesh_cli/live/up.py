"""`mesh up`: one machine's whole swarm as child processes, shown live, and nothing left running.

Starts (or adopts) the server, opens the arena, runs the projector, agents and a worker, restarts what dies, and ends
them all on Ctrl-C, at the end of the time, or when the arena is closed.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Literal

import anyio
import anyio.abc
import msgspec
import psutil
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gpu_worker.machine import survey
from mesh import arena, own_packages, settings
from mesh.board import Board
from mesh.errors import BadInput
from mesh.events import CritiquePosted, Failed
from mesh.follow import Follower
from mesh.jetstream import connect
from mesh.leaderboard import MARKED, score_of, standing
from mesh.open_arena import describe, exactly, open_arena
from mesh.safe_path import PYTHON, outside
from mesh.server import embedded
from mesh.text import printable, short
from mesh.wire import Entry
from mesh_cli.board.lines import Lines
from mesh_cli.exit import ExitCode
from mesh_cli.render.colour import Ink, is_coloured

TELL = ("proposal.promoted", "run.finished", "proposal.posted", "note.posted", "worker.joined", "agent.joined")
STOP_WITHIN_S = 8.0
SANDBOX_FLAGS = {"auto": [], "weak": ["--allow-weak-sandbox"], "none": ["--no-sandbox"]}
RECENT = 12


class Size(msgspec.Struct, frozen=True):
    """How long and how large: minutes (None: no end), explorers, trials at a time (None: what the machine has)."""

    minutes: float | None
    explorers: int
    slots: int | None


class Thinker(msgspec.Struct, frozen=True):
    """The model that a researcher asks, as words of `python -m mesh.agent`; None is left to it."""

    model: str
    api_base: str | None = None
    budget_usd: float | None = None
    budget_tokens: int | None = None

    def flags(self) -> list[str]:
        """Return it as options of a command."""
        words = msgspec.structs.asdict(self)
        return [word for name, at in words.items() if at for word in (f"--{name.replace('_', '-')}", str(at))]


async def up(
    folder: Path,
    size: Size,
    *,
    device: str,
    nats: str | None,
    sync: str,
    sandbox: Literal["auto", "weak", "none"] = "auto",
    thinker: Thinker | None = None,
    no_confirm: bool = False,
) -> None:
    """Run the swarm of the arena in `folder`; see the module."""
    home = settings.home()
    _check_installed()
    if said := describe(folder):
        print(f"mesh: {said}", file=sys.stderr)
    arena.load(folder)  # what is wrong with it should be said before anything is started
    if device == "cuda":
        survey(device, size.slots)
    async with AsyncExitStack() as stack:
        credentials = settings.credentials(nats)
        nats = settings.value("nats", nats)
        if not nats:
            nats = (await stack.enter_async_context(embedded(settings.server_dir(home), sync=sync))).url
        hub = await stack.enter_async_context(connect(nats, name="mesh-up", outage_s=600, credentials=credentials))
        bus, opened = await open_arena(hub, folder, home=home, exact=no_confirm)
        name = opened.spec.name
        follower = Follower(bus, snapshot=settings.snapshot_file(home, name))
        await follower.catch_up()
        show = _Screen(follower.board) if sys.stdout.isatty() else _Lines()
        print(f"mesh: arena {name} version {opened.version} on {hub.link.url}, home {home}", file=sys.stderr)
        if no_confirm:
            print(f"mesh: {exactly(opened.spec)}", file=sys.stderr)
        if sync != "always":
            print(f"mesh: sync is {sync}: a power cut may lose what was posted since the last sync", file=sys.stderr)
        common = ["--home", str(home)]
        env = {**os.environ, "MESH_NATS": nats, "MESH_PARENT": "stdin", "MESH_CREDENTIALS": str(credentials or "")}
        env["PYTHONPATH"] = outside(folder, env.get("PYTHONPATH", ""))
        agent = [*PYTHON, "mesh.agent"]
        worker = [*PYTHON, "gpu_worker", "--name", "worker", "--arena", name, "--device", device, "--now", *common]
        commands = {
            "projector": [*PYTHON, "analytics", *common],
            "curator": [*agent, "curator", "--name", "curator", "--arena", name, *common],
            "critic": [*agent, "critic", "--name", "critic", "--arena", name, *common],
            "worker": [*worker, *(["--slots", str(size.slots)] if size.slots else []), *SANDBOX_FLAGS[sandbox]],
        }
        here = ["--arena", name, *common]
        if size.explorers:
            commands["explorer"] = [*agent, "explorer", "--name", "explorer", "--count", str(size.explorers), *here]
        if thinker:
            commands["researcher"] = [*agent, "researcher", "--name", "researcher", *thinker.flags(), *here]
        first = follower.board.seq
        try:
            async with anyio.create_task_group() as tasks:
                for child, command in commands.items():
                    tasks.start_soon(_keep, child, command, home, env)
                tasks.start_soon(follower.follow, show.take)
                tasks.start_soon(show.draw, follower)
                with anyio.move_on_after(size.minutes * 60 if size.minutes else None):
                    await follower.until(lambda board: board.closed is not None)
                tasks.cancel_scope.cancel()
        finally:
            show.close()
            follower.save()
            _summary(follower.board, first, folder)


def _check_installed() -> None:
    """Refuse to start where a child could not: a package of ours or of the projector is not what is installed."""
    own_packages.check()
    if importlib.util.find_spec("duckdb") is None:
        raise BadInput("mesh up needs duckdb, which is not installed: pip install 'mesh-swarm[up]'")


async def _keep(name: str, command: list[str], home: Path, env: dict[str, str]) -> None:
    """Run a child; start it again when it dies, later each time; end it and all its children when cancelled.

    Only the researcher needs the keys of models: nobody else gets what is called a key, token or secret.
    """
    if name != "researcher":
        env = settings.without_secrets(env)
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    pause_s = 1.0
    while True:
        began = time.monotonic()
        with (logs / f"{name}.log").open("ab") as log:
            process = await anyio.open_process(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=env,  # with the server's address, which may hold a password
                start_new_session=True,
            )
        try:
            code = await process.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)
        if code == ExitCode.BAD_INPUT:  # the next one would be told the same, but that a file may be free by then
            if pause_s == 1.0:
                print(f"mesh: {name} cannot run{_last_line(logs / f'{name}.log')}", file=sys.stderr)
            if name != "projector":
                return
            await anyio.sleep(pause_s)
            pause_s = min(30.0, pause_s * 2)
            continue
        await anyio.sleep(pause_s)
        why = "" if code <= 0 else _last_line(logs / f"{name}.log")
        print(f"mesh: {name} ended with {code}{why}; it is started again", file=sys.stderr)
        pause_s = 1.0 if time.monotonic() - began > 60 else min(30.0, pause_s * 2)


def _last_line(log: Path) -> str:
    lines = log.read_bytes()[-4000:].decode(errors="replace").strip().splitlines()
    return f" ({printable(lines[-1])})" if lines else ""


async def _end(process: anyio.abc.Process) -> None:
    """Ask a child to end, then kill its tree."""
    if process.returncode is None:
        tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        with anyio.move_on_after(STOP_WITHIN_S):
            await process.wait()
        for member in tree:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        await process.wait()
    if process.stdin is not None:
        await process.stdin.aclose()


def _is_told(entry: Entry) -> bool:
    """Tell whether a watcher should see it; of critiques only those that object."""
    event = entry.post.event if entry.post else None
    return entry.subject.kind in TELL or (isinstance(event, CritiquePosted) and event.verdict != "endorse")


class _Lines:
    """Plain lines on standard output, for pipes and logs."""

    def __init__(self) -> None:
        self._lines = Lines(Ink(is_coloured()), screen=False)

    def take(self, entry: Entry, counts: bool) -> None:
        if counts and _is_told(entry):
            print(self._lines.line(entry), flush=True)

    async def draw(self, follower: Follower) -> None:
        await anyio.sleep_forever()

    def close(self) -> None:
        sys.stdout.flush()


class _Screen:
    """The board and the leaderboard on a terminal."""

    def __init__(self, board: Board) -> None:
        self._recent: list[str] = []
        self._lines = Lines(Ink(on=False), screen=True)
        self._live = Live(Text(""), console=Console(no_color=not is_coloured()), refresh_per_second=4)
        self._live.start()

    def take(self, entry: Entry, counts: bool) -> None:
        if counts and _is_told(entry):
            self._recent = [*self._recent, self._lines.line(entry)][-RECENT:]

    async def draw(self, follower: Follower) -> None:
        while True:
            self._live.update(self._view(follower.board))
            await anyio.sleep(0.3)

    def _view(self, board: Board) -> Group:
        metric = board.spec.objective.metric
        base = _baseline(board)
        title = f"leaderboard of {board.arena}" + ("" if base is None else f" (baseline {base:.4f})")
        rows = standing(board)[:8]
        remark = [Text(MARKED)] if any(row["self_reported"] for row in rows) else []
        table = Table("rank", metric, "state", "proposal", "author", "title", title=title)
        for row in rows:
            tree = str(row["proposal"])
            cells = (row["rank"], score_of(board, tree), row["state"], short(tree), row["author"])
            table.add_row(*(Text(str(cell)) for cell in cells), Text(printable(str(row["title"]), 60)))
        finished = len(board.runs) - len(board.unfinished)
        status = f"{len(board.proposals)} proposals, {finished} runs finished, {len(board.unfinished)} in the queue"
        return Group(
            table, *remark, Panel(Text("\n".join(self._recent), overflow="ellipsis", no_wrap=True), title=status)
        )

    def close(self) -> None:
        self._live.stop()


def _summary(board: Board, first: int, folder: Path) -> None:
    """Say what came of it: baseline against champion, runs by outcome, what to try next."""
    if board.opened is None:
        return
    outcomes: Counter[str] = Counter()
    for run in board.runs.values():
        if run.finished:
            outcome = run.finished.outcome
            outcomes[f"failed ({outcome.reason})" if isinstance(outcome, Failed) else "scored"] += 1
    metric = board.spec.objective.metric
    counts = f"{len(board.proposals)} proposals, {len(board.runs)} runs, {board.seq - first} new facts"
    print(f"\narena {board.arena}: {counts}")
    print("runs: " + (", ".join(f"{count} {name}" for name, count in outcomes.most_common()) or "none finished"))
    if (base := _baseline(board)) is not None:
        print(f"baseline {metric} {base:.4f}")
    if board.champion and board.scores(board.champion):
        champion = board.proposals[board.champion]
        title = printable(champion.event.title, 90)
        score = score_of(board, board.champion)
        print(f"champion {metric} {score}  {short(board.champion)} by {champion.author}: {title}")
    mesh = _program()
    where = f"--arena {board.arena}"
    print(f"next:\n  {mesh} leaderboard {where}\n  {mesh} lineage champion {where}")
    print(
        f"  {mesh} git export /tmp/{board.arena} {where}\n  {mesh} sql \"FROM frontier WHERE arena = '{board.arena}'\""
    )
    print(f"again, from here on: {mesh} up {folder}")


def _baseline(board: Board) -> float | None:
    """Return the mean score of the artifact as it was opened, None where it has none."""
    tree = board.opened.base_tree if board.opened else ""
    scores = board.scores(tree) if tree in board.proposals else []
    return sum(scores) / len(scores) if scores else None


def _program() -> str:
    """Return what to type for this program: its name where a shell finds it, else its path."""
    path = Path(sys.argv[0])
    if path.name == "__main__.py":
        return "python -m mesh_cli"
    if shutil.which(path.name):
        return path.name
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_absolute() and path.is_relative_to(here) else str(path)


def thinker_of(
    model: str | None, api_base: str | None, budget_usd: float | None, budget_tokens: int | None
) -> Thinker | None:
    """Return the model to ask, None where none is named.

    Raises:
        BadInput: something is said about a model that is not named.
    """
    rest = {"--api-base": api_base, "--budget-usd": budget_usd, "--budget-tokens": budget_tokens}
    if model is None and (said := [flag for flag, value in rest.items() if value is not None]):
        raise BadInput(f"{said[0]} is about a model: name it with --model provider/name")
    return Thinker(model, api_base, budget_usd, budget_tokens) if model else None


def check_minutes(minutes: float | None) -> None:
    """Refuse a duration that is no positive number.

    Raises:
        BadInput: it is zero or negative.
    """
    if minutes is not None and not minutes > 0:
        raise BadInput(f"--minutes {minutes:g} must be more than 0")

"""`mesh up`: one command runs a whole swarm of real processes, and leaves nothing but its log."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.abc
import duckdb
import psutil
import pytest
from anyio.streams.text import TextReceiveStream

from mesh import settings
from mesh.board import Board
from mesh.errors import BusUnavailable
from mesh.jetstream import connect
from mesh.server import EmbeddedServer, embedded, find_url
from mesh.sql_protocol import Query, ask
from mesh_cli.connect import board_of
from mesh_cli.exit import ExitCode
from tests.support.arenas import TRAIN, write_arena

PATIENCE_S = 240
MESH = [sys.executable, "-m", "mesh_cli"]
QUITTER = """
from mesh.errors import Leaving

class Quitter:
    listens = ()
    only_latest = True

    def __init__(self, context):
        pass

    async def handle(self, post, board):
        return []

    async def joined(self, board):
        raise Leaving("model 'nobody' is away")
"""
"""A role that leaves at once, for good."""


class Up:
    """A running `mesh up` and what it has printed."""

    def __init__(self, process: anyio.abc.Process) -> None:
        assert process.stdout is not None
        self.process, self.lines = process, list[str]()
        self._text = TextReceiveStream(process.stdout)
        self._rest = ""

    async def says(self, word: str, times: int = 1, *, within_s: float = PATIENCE_S) -> None:
        """Wait until so many lines hold the word."""
        with anyio.fail_after(within_s):
            while sum(word in line for line in self.lines) < times:
                await self._read()

    async def ends(self, how: signal.Signals) -> int:
        """Send a signal, read the rest of the output, return the exit code."""
        self.process.send_signal(how)
        with anyio.fail_after(PATIENCE_S):
            try:
                while True:
                    await self._read()
            except anyio.EndOfStream:
                return await self.process.wait()

    async def _read(self) -> None:
        *lines, self._rest = (self._rest + await self._text.receive()).split("\n")
        self.lines += lines


@asynccontextmanager
async def mesh_up(folder: Path, *options: str) -> AsyncIterator[Up]:
    process = await anyio.open_process([*MESH, "up", str(folder), *options], stderr=None, stdin=subprocess.DEVNULL)
    try:
        yield Up(process)
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.terminate()
            await process.aclose()


async def log_of(home: Path) -> Board:
    """Read the board from the log that is left."""
    async with embedded(settings.server_dir(home)) as server, connect(server.url) as hub:
        return await board_of(await hub.arena("tiny"))


def belonging_to(home: Path) -> list[psutil.Process]:
    """Return the processes that have this home in their command line or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()] if process.pid != os.getpid() else []
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if any(str(home) in word for word in words):
            found.append(process)
    return found


async def test_ctrl_c_leaves_no_process_and_the_next_run_goes_on_where_it_ended(tmp_path: Path, home: Path) -> None:
    arena = write_arena(tmp_path / "arena")
    # when a swarm has run for a while and is interrupted in the middle of trials
    async with mesh_up(arena, "--slots", "2") as up:
        await up.says("finished", 4)
        during = list[list[str]]()
        for process in belonging_to(home):
            with suppress(psutil.NoSuchProcess):  # a trial that has ended meanwhile
                during.append(process.cmdline())
        assert await up.ends(signal.SIGINT) == 0
    # then there were a server, a projector, agents and a worker, and none of them is left
    words = [" ".join(command) for command in during]
    for part in ("nats-server", "-m analytics", "-m mesh.agent curator", "-m mesh.agent explorer", "-m gpu_worker"):
        assert any(part in command for command in words)
    assert belonging_to(home) == []
    # then it said what came of it
    summary = "\n".join(up.lines[-20:])
    assert "baseline loss 0.2600" in summary
    assert "champion loss" in summary
    assert "scored" in summary
    assert f"python -m mesh_cli up {arena}" in summary
    assert "best loss " in summary
    for command in ("leaderboard", "report", "web", "show champion"):
        assert f"  python -m mesh_cli {command} --arena tiny" in summary
    before = await log_of(home)
    assert before.opened is not None
    assert before.opened.version == 1
    # when it runs again
    async with mesh_up(arena, "--slots", "2") as up:
        # then it finishes what waited
        for run in before.unfinished:
            await up.says(f"finished {run}")
        assert await up.ends(signal.SIGTERM) == 0
    # then it is the same arena, and nothing was proposed twice
    after = await log_of(home)
    assert after.opened == before.opened
    assert list(after.proposals)[: len(before.proposals)] == list(before.proposals)
    assert before.unfinished


async def test_killing_it_takes_everything_along_and_loses_nothing(tmp_path: Path, home: Path) -> None:
    async with mesh_up(write_arena(tmp_path / "arena")) as up:
        await up.says("finished", 2)
        # when it cannot even say goodbye
        await up.ends(signal.SIGKILL)
    # then its children notice, and end
    with anyio.fail_after(PATIENCE_S):
        while belonging_to(home):
            await anyio.sleep(0.05)
    said = [line.split()[0] for line in up.lines if "finished" in line]
    assert (await log_of(home)).seq >= int(said[-1])


async def test_it_ends_by_itself_when_the_arena_is_closed_from_another_terminal(tmp_path: Path, home: Path) -> None:
    async with mesh_up(write_arena(tmp_path / "arena")) as up:
        await up.says("finished", 1)
        # given a second one, which shares the server of the first
        async with mesh_up(tmp_path / "arena", "--explorers", "1", "--slots", "1") as second:
            await second.says("finished", 1)
            # when somebody closes the arena
            with anyio.fail_after(PATIENCE_S):
                done = await anyio.run_process([*MESH, "close", "--text", "good enough"])
            assert done.stdout == b"arena tiny is closed\n"
            # then both end
            with anyio.fail_after(PATIENCE_S):
                assert (await second.process.wait(), await up.process.wait()) == (0, 0)
    board = await log_of(home)
    assert board.closed is not None
    assert board.closed.text == "good enough"


async def test_another_server_is_used_and_its_password_shown_to_nobody(
    tmp_path: Path, home: Path, server: EmbeddedServer
) -> None:
    url = server.url.replace("nats://", "nats://ann:secret@")
    async with mesh_up(write_arena(tmp_path / "arena"), "--nats", url) as up:
        await up.says("finished", 1)
        words: list[str] = []
        for process in psutil.Process(up.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # trials come and go
                words += process.cmdline()
        assert await up.ends(signal.SIGINT) == 0
    assert any("gpu_worker" in word for word in words)
    assert not any("secret" in word for word in [*words, *up.lines])
    # then no server was started for this home, and the log is in the other one
    assert not (home / "server").exists()
    async with connect(server.url) as hub:
        assert (await board_of(await hub.arena("tiny"))).runs


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        (TRAIN + "\nraise SystemExit('cannot go on')\n", "crash"),
        ("import time\nWIDTH = 4\n", "no_score"),
        (TRAIN.replace('json.dumps({"loss": loss})', "'{\"other\": 1}'"), "no_score"),
        (TRAIN.replace('json.dumps({"loss": loss})', "'{\"loss\": NaN}'"), "bad_score"),
    ],
)
async def test_an_arena_whose_baseline_fails_says_why(tmp_path: Path, home: Path, train: str, reason: str) -> None:
    async with mesh_up(write_arena(tmp_path / "arena", train=train)) as up:
        await up.says(f"failed ({reason})")
        assert await up.ends(signal.SIGINT) == 0
    assert any(f"failed ({reason})" in line for line in up.lines if line.startswith("runs: "))


async def test_a_folder_that_is_no_arena_is_one_sentence(tmp_path: Path, home: Path) -> None:
    done = await anyio.run_process([*MESH, "up", str(tmp_path / "nothing")], check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().count("\n") == 1
    assert "nothing" in done.stderr.decode()
    assert not (home / "server").exists()


async def test_a_gpu_that_is_asked_for_and_not_there_is_one_sentence(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = shutil.which("git")
    assert git is not None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to(git)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))  # without nvidia-smi
    command = [*MESH, "up", str(write_arena(tmp_path / "arena")), "--device", "cuda"]
    done = await anyio.run_process(command, check=False)
    said = b"mesh: --device is cuda, but nvidia-smi shows no GPU on this machine; use cpu or auto\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", said)
    assert not (home / "server").exists()


async def test_a_swarm_that_cannot_propose_ends_and_its_last_line_says_why(tmp_path: Path, home: Path) -> None:
    (tmp_path / "quitting.py").write_text(QUITTER)
    arena = str(write_arena(tmp_path / "arena"))
    command = [*MESH, "up", arena, "--explorers", "0", "--role", "quitting:Quitter"]
    with anyio.fail_after(PATIENCE_S):
        done = await anyio.run_process(command, check=False, cwd=tmp_path)
    assert done.returncode == ExitCode.BAD_INPUT
    why = "model 'nobody' is away"
    lines = [line for line in done.stderr.decode().splitlines() if why in line]
    assert [line.partition(": model")[0] for line in lines] == [
        "mesh: quitter cannot run",
        "mesh: quitter could not run",
        "mesh: the swarm could not work without its quitter",
    ]
    assert done.stderr.decode().endswith(f"{lines[-1]}\n")
    assert belonging_to(home) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--option", "sampler=nobody"], b"mesh: option sampler=nobody is not a known sampler; use "),
        (["--option", "sampler"], b"mesh: --option is 'sampler'; use KEY=VALUE\n"),
        (["--option", "sampler=tpe", "--explorers", "0"], b"mesh: --option sets options of explorers, but --explorers"),
    ],
)
async def test_an_option_that_explorers_do_not_know_is_one_sentence(
    words: list[str], sentence: bytes, tmp_path: Path, home: Path
) -> None:
    done = await anyio.run_process([*MESH, "up", str(write_arena(tmp_path / "arena")), *words], check=False)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (ExitCode.BAD_INPUT, b"", 1)
    assert done.stderr.startswith(sentence)
    assert not (home / "server").exists()


async def test_a_child_that_refuses_among_others_is_named_after_the_summary(tmp_path: Path, home: Path) -> None:
    (tmp_path / "quitting.py").write_text(QUITTER)
    command = [*MESH, "up", str(write_arena(tmp_path / "arena")), "--role", "quitting:Quitter"]
    async with await anyio.open_process(command, stdout=None, stdin=subprocess.DEVNULL, cwd=tmp_path) as process:
        assert process.stderr is not None
        text, interrupted = "", False
        with anyio.fail_after(PATIENCE_S):
            async for part in TextReceiveStream(process.stderr):
                text += part
                if "quitter cannot run" in text and not interrupted:
                    process.send_signal(signal.SIGINT)
                    interrupted = True
            assert await process.wait() == ExitCode.OK
    assert text.splitlines()[-1].startswith("mesh: quitter could not run: model 'nobody' is away")


async def test_a_projector_begins_when_another_one_lets_go_of_the_file(tmp_path: Path, home: Path) -> None:
    folder = write_arena(tmp_path / "arena")
    home.mkdir(parents=True, exist_ok=True)
    held = duckdb.connect(settings.database(home))
    async with mesh_up(folder) as up:
        await up.says("promotes")
        async with connect(find_url(None, home)) as hub:
            bus = await hub.arena("tiny")
            with pytest.raises(BusUnavailable, match="nobody answers"):
                await ask(bus, Query("SELECT 1"))
            held.close()
            with anyio.fail_after(PATIENCE_S):
                rows: list[list[object]] = []
                while not rows:
                    with suppress(BusUnavailable):
                        rows = (await ask(bus, Query("SELECT 1"))).rows
        assert rows == [[1]]
        await up.ends(signal.SIGINT)

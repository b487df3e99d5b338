"""`mesh up` in a home that is taken away, and with a disk that fills up: it hears signals, ends, and heals."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import anyio
import psutil
import pytest
from anyio.streams.text import TextReceiveStream

from mesh import settings
from mesh.board import Board
from mesh.events import Failed
from mesh.server import embedded
from mesh_cli.exit import ExitCode
from tests.support.arenas import write_arena
from tests.support.small_disk import small_disk
from tests.test_up import MESH, log_of, mesh_up

pytestmark = pytest.mark.serial


def of_home(home: Path) -> list[str]:
    """Return the processes that work in a home."""
    found = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [" ".join(words) for words in found if any(str(home) in word for word in words)]


@pytest.mark.timeout(120)
async def test_a_home_of_any_name_that_is_deleted_under_a_swarm_ends_it_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / 'josé "日本" $X' / ".mesh"
    monkeypatch.setenv("MESH_HOME", str(home))
    command = [*MESH, "up", str(write_arena(tmp_path / "arena")), "--slots", "1", "--explorers", "1"]
    said = ""
    async with await anyio.open_process(command, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        with anyio.fail_after(90):
            async for text in TextReceiveStream(process.stdout):
                if "finished" not in said and "finished" in said + text:
                    while home.exists():
                        shutil.rmtree(home, ignore_errors=True)
                said += text
        code = await process.wait()
    assert said.splitlines()[-1].startswith(f"mesh: the folder {home}/server cannot be used for the store of a server:")
    assert (code, of_home(home)) == (ExitCode.BAD_INPUT, [])


@pytest.mark.timeout(120)
async def test_a_swarm_goes_on_by_itself_after_its_disk_was_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", 64) as disk:
        home = disk.folder / "home"
        monkeypatch.setenv("MESH_HOME", str(home))
        arena = write_arena(tmp_path / "arena")
        disk.fill()
        done = await anyio.run_process([*MESH, "up", str(arena)], check=False)
        assert (done.returncode, done.stdout) == (ExitCode.HOST, b"")
        sentence = rf"mesh: the disk of {re.escape(str(home))}/server is full: 0 bytes free; free some space\n"
        assert re.fullmatch(sentence, done.stderr.decode())
        disk.free()
        async with mesh_up(arena, "--slots", "2", "--explorers", "1") as up:
            await up.says("finished", 2)
            for _ in range(8):
                disk.fill()
                await anyio.sleep(0.5)
            before = sum("finished" in line for line in up.lines)
            disk.free()
            await up.says("finished", before + 6)
            assert await up.ends(signal.SIGINT) == ExitCode.OK
        board = await log_of(home)
        assert blamed(board) == []
        assert of_home(home) == []


def blamed(board: Board) -> list[Failed]:
    """Return the failures that say something about a proposal."""
    outcomes = [run.finished.outcome for run in board.runs.values() if run.finished]
    return [outcome for outcome in outcomes if isinstance(outcome, Failed) and outcome.reason not in ("killed", "lost")]


@pytest.mark.timeout(60)
async def test_mesh_up_beside_a_silent_server_still_hears_signals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("MESH_HOME", str(home))
    async with embedded(settings.server_dir(home)) as server:
        os.kill(server.address.pid, signal.SIGSTOP)
        async with mesh_up(write_arena(tmp_path / "arena")) as up:
            await anyio.sleep(4)
            assert up.process.returncode is None
            with anyio.fail_after(5):
                await up.ends(signal.SIGTERM)
        os.kill(server.address.pid, signal.SIGCONT)

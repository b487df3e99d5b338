"""`mesh up` in a home that is taken away, and with a disk that fills up: it hears signals, ends, and heals."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import anyio
import anyio.abc
import psutil
import pytest
from anyio.streams.text import TextReceiveStream

from mesh import settings
from mesh.server import embedded
from mesh_cli.exit import ExitCode
from tests.support.arenas import write_arena
from tests.support.small_disk import small_disk
from tests.test_up import MESH, mesh_up


def of_home(home: Path) -> list[str]:
    """Return the processes that work in a home."""
    found = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [" ".join(words) for words in found if any(str(home) in word for word in words)]


class Told:
    """What a `mesh up` has printed."""

    def __init__(self, stream: anyio.abc.ByteReceiveStream) -> None:
        self.text = ""
        self._stream = TextReceiveStream(stream)

    async def finishes(self, more: int) -> None:
        """Wait until so many more runs are finished."""
        wanted = self.text.count("finished") + more
        with anyio.fail_after(300):
            while self.text.count("finished") < wanted:
                self.text += await self._stream.receive()

    async def rest(self) -> None:
        with anyio.fail_after(300):
            async for text in self._stream:
                self.text += text


@pytest.mark.serial
async def test_a_swarm_outlives_a_full_disk_and_ends_with_a_sentence_when_its_home_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", 64) as disk:
        home = disk.folder / 'josé "日本" $X' / ".mesh"
        monkeypatch.setenv("MESH_HOME", str(home))
        command = [*MESH, "up", str(write_arena(tmp_path / "arena")), "--slots", "2", "--explorers", "1"]
        disk.fill()
        done = await anyio.run_process(command, check=False)
        assert (done.returncode, done.stdout) == (ExitCode.HOST, b"")
        full = f"mesh: the disk of {home}/server is full: 0 bytes free; free some space\n"
        assert done.stderr.decode() == full
        disk.free()
        async with await anyio.open_process(command, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            up = Told(process.stdout)
            await up.finishes(1)
            for _ in range(6):
                disk.fill()
                await anyio.sleep(0.5)
            disk.free()
            await up.finishes(5)
            while home.exists():
                shutil.rmtree(home, ignore_errors=True)
            await up.rest()
            code = await process.wait()
        assert up.text.count(full) == 1
        assert "crash" not in up.text
        last = up.text.splitlines()[-1]
        assert last.startswith(f"mesh: the folder {home}/server cannot be used for the store of a server: ")
        assert (code, of_home(home)) == (ExitCode.BAD_INPUT, [])


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
            with anyio.fail_after(100):
                await up.ends(signal.SIGTERM)
        os.kill(server.address.pid, signal.SIGCONT)
